import { hash } from 'node:crypto'
import { promisify } from 'node:util'
import { gunzip, inflate, zstdDecompress } from 'node:zlib'

import { GovernorError } from '../errors.ts'
import type { Body, Endpoint } from '../exchange.ts'
import type { HttpExchange } from './exchange.ts'

export interface BodyMaximums {
  readonly bodyBytes: number
  readonly decodedBytes: number
  readonly inFlightBytes: number
}

/** Bytes of bodies held by all requests together. */
export interface InFlight {
  bytes: number
}

const EMPTY: Body = {
  bytes: Buffer.alloc(0),
  decoded: false,
  receivedBytes: 0,
  receivedSha256: hash('sha256', ''),
}

/** RFC 9110 §8.3.1, closed: JSON in UTF-8 and nothing else. */
const JSON_TYPE = /^application\/json(?: *; *charset=(?:utf-8|"utf-8"))? *;?$/i

type Encoding = 'gzip' | 'deflate' | 'zstd'
type Decoder = (
  bytes: Buffer,
  options: { maxOutputLength: number; info: true },
) => Promise<{ buffer: Buffer; engine: { bytesWritten: number } }>

// With `info` Node hands out the engine as well, which its types do not say.
const DECODERS = {
  gzip: promisify(gunzip) as unknown as Decoder,
  deflate: promisify(inflate) as unknown as Decoder,
  zstd: promisify(zstdDecompress) as unknown as Decoder,
} satisfies Record<Encoding, Decoder>

export interface ReadOptions {
  readonly endpoint: Endpoint
  readonly maximums: BodyMaximums
  readonly timeoutMs: number
  readonly inFlight: InFlight
}

/**
 * Reads the whole body, checks its type and removes its encoding. What it held stays counted until
 * `release`. Throws CONTENT_TYPE_UNSUPPORTED, ENCODING_UNSUPPORTED (415), BODY_TOO_LARGE (413),
 * BODY_TIMEOUT (408), BODY_INVALID, ENCODING_INVALID (400), OVERLOADED (503), CLIENT_CLOSED.
 */
export async function readBody(exchange: HttpExchange, options: ReadOptions): Promise<Body> {
  const { headers } = exchange.incoming
  const declaredBytes = Number(headers['content-length'] ?? 0)
  if (options.endpoint.body === 'none') {
    if (declaredBytes > 0 || headers['transfer-encoding'] !== undefined) {
      throw new GovernorError('BODY_INVALID', { detail: 'this path takes no body' })
    }
    return EMPTY
  }
  const encoding = checkType(headers)
  if (declaredBytes > options.maximums.bodyBytes) throw tooLarge(options.maximums.bodyBytes)
  // The declared length is held at once, so that many slow uploads cannot overcommit together.
  hold(exchange, options, declaredBytes)
  // RFC 9110 §10.1.1: everything headers can tell was decided before the client is told to go on.
  if (exchange.awaitsContinue) exchange.outgoing.writeContinue()

  const received = await collect(exchange, options, declaredBytes)
  const receivedSha256 = hash('sha256', received)
  if (encoding === null) {
    return { bytes: received, decoded: false, receivedBytes: received.length, receivedSha256 }
  }
  const bytes = await decode(received, encoding, options.maximums.decodedBytes)
  hold(exchange, options, bytes.length)
  return { bytes, decoded: true, receivedBytes: received.length, receivedSha256 }
}

/** Gives back what `readBody` held. Safe to call twice. */
export function release(exchange: HttpExchange, inFlight: InFlight): void {
  inFlight.bytes -= exchange.heldBytes
  exchange.heldBytes = 0
}

function hold(exchange: HttpExchange, { maximums, inFlight }: ReadOptions, bytes: number): void {
  if (inFlight.bytes + bytes > maximums.inFlightBytes) {
    throw new GovernorError('OVERLOADED', {
      detail: 'request bodies of all callers together',
      headers: { 'retry-after': '1' },
    })
  }
  inFlight.bytes += bytes
  exchange.heldBytes += bytes
}

function checkType(headers: HttpExchange['incoming']['headers']): Encoding | null {
  if (!JSON_TYPE.test(headers['content-type'] ?? '')) {
    throw new GovernorError('CONTENT_TYPE_UNSUPPORTED', { hint: 'Send application/json in UTF-8' })
  }
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (encoding === 'identity') return null
  if (encoding === 'gzip' || encoding === 'deflate' || encoding === 'zstd') return encoding
  throw new GovernorError('ENCODING_UNSUPPORTED', {
    detail: 'it must be one of gzip, deflate, zstd, or none',
    headers: { 'accept-encoding': 'gzip, deflate, zstd' },
  })
}

function collect(
  exchange: HttpExchange,
  options: ReadOptions,
  declaredBytes: number,
): Promise<Buffer> {
  const { incoming } = exchange
  const { bodyBytes } = options.maximums
  return new Promise((resolve, reject) => {
    // Chunks as small as one byte each are copied into a growing buffer: never an object per byte.
    let collected = Buffer.allocUnsafe(Math.max(declaredBytes, 1024))
    let length = 0
    const timer = setTimeout(() => {
      done(() => reject(new GovernorError('BODY_TIMEOUT')))
    }, options.timeoutMs)
    const done = (then: () => void): void => {
      clearTimeout(timer)
      incoming.removeListener('data', onData).removeListener('end', onEnd)
      exchange.onClientGone = exchange.onCut = null
      then()
    }
    const onData = (chunk: Buffer): void => {
      try {
        const total = length + chunk.length
        if (total > bodyBytes) throw tooLarge(bodyBytes)
        if (total > declaredBytes) hold(exchange, options, total - Math.max(length, declaredBytes))
        if (total > collected.length) {
          const grown = Buffer.allocUnsafe(
            Math.min(Math.max(total, collected.length * 2), bodyBytes),
          )
          collected.copy(grown, 0, 0, length)
          collected = grown
        }
        chunk.copy(collected, length)
        length = total
      } catch (error) {
        incoming.pause()
        done(() => reject(error))
      }
    }
    const onEnd = (): void => done(() => resolve(collected.subarray(0, length)))
    exchange.onClientGone = () => done(() => reject(new GovernorError('CLIENT_CLOSED')))
    exchange.onCut = (error) => done(() => reject(error))
    if (exchange.fault !== null) exchange.onCut(exchange.fault)
    incoming.on('data', onData).on('end', onEnd)
  })
}

/** Clients send one frame; a body of very many tiny ones would be work out of proportion. */
const FRAMES_MAX = 1000

/**
 * Decodes every member or frame. Node decodes all members of gzip by itself, but stops after the
 * first frame of zstd (RFC 8878 §3.1 allows several), so what it left is decoded in turn.
 */
async function decode(bytes: Buffer, encoding: Encoding, decodedMax: number): Promise<Buffer> {
  const frames: Buffer[] = []
  let decodedBytes = 0
  let at = 0
  do {
    // `info` tells how far the decoder read: Node ignores zero bytes after the last gzip member.
    const rest = bytes.subarray(at)
    const { buffer, engine } = await decodeFrame(rest, encoding, decodedMax - decodedBytes)
    frames.push(buffer)
    decodedBytes += buffer.length
    at += engine.bytesWritten
    const again = encoding === 'zstd' && engine.bytesWritten > 0 && frames.length < FRAMES_MAX
    if (at < bytes.length && !again) {
      throw new GovernorError('ENCODING_INVALID', { detail: 'bytes follow the encoded body' })
    }
  } while (at < bytes.length)
  return frames.length === 1 ? frames[0]! : Buffer.concat(frames, decodedBytes)
}

async function decodeFrame(
  bytes: Buffer,
  encoding: Encoding,
  decodedMax: number,
): ReturnType<Decoder> {
  try {
    return await DECODERS[encoding](bytes, { maxOutputLength: Math.max(decodedMax, 1), info: true })
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE') {
      throw tooLarge(decodedMax, ' decoded')
    }
    throw new GovernorError('ENCODING_INVALID', { detail: `it is not ${encoding}`, cause })
  }
}

function tooLarge(bytesMax: number, what = ''): GovernorError {
  return new GovernorError('BODY_TOO_LARGE', { detail: `the maximum is ${bytesMax} bytes${what}` })
}
