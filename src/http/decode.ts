import {
  constants,
  createGunzip,
  createInflate,
  createZstdDecompress,
  type Gunzip,
  type Inflate,
  type ZstdDecompress,
} from 'node:zlib'

import { GovernorError } from '../errors.ts'

/** Content codings that are decoded (RFC 9110 §8.4.1, RFC 8878). */
export type Encoding = 'gzip' | 'deflate' | 'zstd'

/** The bounds of one decoding. */
export interface DecodeOptions {
  readonly decodedBytesMax: number
  /** Called before this many bytes more are allocated; what it throws ends the decoding. */
  hold(bytes: number): void
  /** False when nobody waits for the result any more. */
  isWanted(): boolean
}

/** A decoded body, and what of the memory it took is still taken. */
export interface Decoded {
  readonly bytes: Buffer
  /** Bytes of those held that are still in use. */
  readonly heldBytes: number
}

/** Decodes at once: a bomb of 2 KB comes to `decoded` bytes, so few may grow side by side. */
const RUNNING_MAX = 2
/** And those that may wait, some tens of milliseconds each at the very worst. */
const WAITING_MAX = 64

/** Clients send one frame; a body of very many tiny ones would be work out of proportion. */
const FRAMES_MAX = 1000

const CHUNK_BYTES = 64 * 1024

/** 8 MiB, what RFC 8878 §3.1.1.1.2 asks of every decoder; the library would go up to 128 MiB. */
const ZSTD_WINDOW_LOG_MAX = 23

const MAKE = {
  gzip: (): Gunzip => createGunzip({ chunkSize: CHUNK_BYTES }),
  deflate: (): Inflate => createInflate({ chunkSize: CHUNK_BYTES }),
  zstd: (): ZstdDecompress =>
    createZstdDecompress({
      chunkSize: CHUNK_BYTES,
      params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    }),
} satisfies Record<Encoding, () => unknown>

let running = 0
const waiting: (() => void)[] = []

/**
 * Decodes every member or frame, in turn with the other requests of this process. Node decodes all
 * members of gzip by itself, but stops after the first frame of zstd (RFC 8878 §3.1 allows several),
 * so what it left is decoded next. Throws ENCODING_INVALID (400), BODY_TOO_LARGE (413), OVERLOADED
 * (503), CLIENT_CLOSED and what `hold` throws.
 */
export async function decode(
  bytes: Buffer,
  encoding: Encoding,
  options: DecodeOptions,
): Promise<Decoded> {
  await turn()
  try {
    if (!options.isWanted()) throw new GovernorError('CLIENT_CLOSED')
    const output = new Output(options)
    let at = 0
    for (let frames = 1; ; frames++) {
      // Node ignores zero bytes after the last gzip member: how far the decoder read tells.
      const readBytes = await decodeFrame(bytes.subarray(at), encoding, output)
      at += readBytes
      if (at >= bytes.length) return output.result()
      if (encoding !== 'zstd' || readBytes === 0 || frames === FRAMES_MAX) {
        throw new GovernorError('ENCODING_INVALID', { detail: 'bytes follow the encoded body' })
      }
    }
  } finally {
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next()
  }
}

/** Resolves when this decode may run; whoever ends next hands its place on. */
async function turn(): Promise<void> {
  if (running < RUNNING_MAX) {
    running += 1
    return
  }
  if (waiting.length >= WAITING_MAX) {
    throw new GovernorError('OVERLOADED', {
      detail: `${WAITING_MAX} compressed bodies wait already`,
      headers: { 'retry-after': '1' },
    })
  }
  await new Promise<void>((resolve) => {
    waiting.push(resolve)
  })
}

/** Decodes one frame, or all members of gzip, into `output`; resolves with the bytes it read. */
function decodeFrame(bytes: Buffer, encoding: Encoding, output: Output): Promise<number> {
  return new Promise((resolve, reject) => {
    const decoder = MAKE[encoding]()
    const fail = (error: unknown): void => {
      decoder.destroy()
      reject(GovernorError.from(error))
    }
    decoder.on('data', (chunk: Buffer) => {
      try {
        output.take(chunk)
      } catch (error) {
        fail(error)
      }
    })
    decoder.on('error', (cause) => {
      fail(new GovernorError('ENCODING_INVALID', { detail: `it is not ${encoding}`, cause }))
    })
    decoder.on('end', () => {
      resolve(decoder.bytesWritten)
      decoder.destroy()
    })
    decoder.end(bytes)
  })
}

/** What was decoded so far, in one buffer that doubles. */
class Output {
  readonly #options: DecodeOptions
  #bytes = Buffer.alloc(0)
  #length = 0

  constructor(options: DecodeOptions) {
    this.#options = options
  }

  take(chunk: Buffer): void {
    const { decodedBytesMax } = this.#options
    const total = this.#length + chunk.length
    if (total > decodedBytesMax) throw tooLarge(decodedBytesMax, ' decoded')
    if (total > this.#bytes.length) {
      const capacity = Math.min(Math.max(total, this.#bytes.length * 2), decodedBytesMax)
      this.#options.hold(capacity - this.#bytes.length)
      this.#bytes = enlarged(this.#bytes, this.#length, capacity)
    }
    chunk.copy(this.#bytes, this.#length)
    this.#length = total
  }

  result(): Decoded {
    return { bytes: this.#bytes.subarray(0, this.#length), heldBytes: this.#bytes.length }
  }
}

/** A buffer of `capacity` bytes that begins with the first `length` of another. */
export function enlarged(bytes: Buffer, length: number, capacity: number): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafe(capacity)
  bytes.copy(larger, 0, 0, length)
  return larger
}

/** BODY_TOO_LARGE (413) that names the maximum. */
export function tooLarge(bytesMax: number, what = ''): GovernorError {
  return new GovernorError('BODY_TOO_LARGE', { detail: `the maximum is ${bytesMax} bytes${what}` })
}
