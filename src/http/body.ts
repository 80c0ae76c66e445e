import { hash } from 'node:crypto'

import { GovernorError } from '../errors.ts'
import type { Body, Endpoint, Spooled, SpooledForm } from '../exchange.ts'
import { decode, type Encoding, enlarged, tooLarge } from './decode.ts'
import type { HttpExchange } from './exchange.ts'
import { BodyReading, type Wanted } from './reading.ts'
import type { Spool } from './spool.ts'
import { spoolBody, SPOOLING_BYTES } from './spooling.ts'

/** `maximums` of the file, in bytes: of one body as sent, of one decoded, of all together. */
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

/** What AWS' clients say of a body whose type their caller did not name (RFC 2046 §4.5.1). */
const BYTES_TYPE = 'application/octet-stream'

/**
 * RFC 7578 §4.1 with the boundary of RFC 2046 §5.1.1 as clients write it: a token. Quoted, folded or
 * followed by more, it is what servers are known to read differently.
 */
const FORM_TYPE = /^multipart\/form-data *; *boundary=([A-Za-z0-9'+_.-]{1,70})$/i

/** A longer body is held as it arrives: its length is the client's word until then. */
const DECLARED_BYTES_TRUSTED = 64 * 1024

/** One caller may hold this part of `maximums.in_flight` beside its largest body. */
const SHARE_OF_ONE = 1 / 4

/** How the body of one request is read. */
export interface ReadOptions {
  readonly endpoint: Endpoint
  readonly maximums: BodyMaximums
  readonly timeoutMs: number
  readonly inFlight: InFlight
  /** Who sends it: the id of the key, or the tenant of a pod. */
  readonly holder: string
  /** Every exchange that may hold bytes of a body. */
  readonly active: Iterable<HttpExchange>
  /** Where large forms are kept; absent: in memory, as all bodies. */
  readonly forms?: FormPlace
}

/** Where large forms are kept until they are sent. */
export interface FormPlace {
  readonly spool: Spool
  /** The most of one, and of all together. */
  readonly bytesMax: number
  readonly allBytesMax: number
  /** What is looked at of a form on disk. */
  readonly cut: (
    file: Spooled,
    options: { boundary: string; bytesMax: number; hold: (bytes: number) => void },
  ) => Promise<{ readonly bytes: Buffer; readonly spooled: SpooledForm }>
}

/** Shorter forms are held in memory. */
const SPOOLED_BYTES_MIN = 1024 * 1024

/**
 * Reads the whole body, checks its type and removes its encoding. What it held stays counted until
 * `release`. Throws CONTENT_TYPE_UNSUPPORTED, ENCODING_UNSUPPORTED (415), BODY_TOO_LARGE (413),
 * BODY_TIMEOUT (408), BODY_INVALID, ENCODING_INVALID (400), OVERLOADED, SPOOL_UNAVAILABLE (503),
 * CLIENT_CLOSED.
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
  return readTyped(exchange, options, checkType(headers, options.endpoint))
}

/** A body of a type that its endpoint takes; `boundary` is null where that is JSON. */
async function readTyped(
  exchange: HttpExchange,
  options: ReadOptions,
  boundary: string | null,
): Promise<Body> {
  const { headers } = exchange.incoming
  const declaredBytes = Number(headers['content-length'] ?? 0)
  const encoding = checkEncoding(headers)
  const forms = encoding === null && boundary !== null ? formPlace(headers, options) : null
  const bytesMax = forms?.bytesMax ?? options.maximums.bodyBytes
  if (declaredBytes > bytesMax) throw tooLarge(bytesMax)
  exchange.holder = options.holder
  if (forms !== null) return readForm(exchange, options, { boundary: boundary!, forms })
  hold(exchange, options, Math.min(declaredBytes, DECLARED_BYTES_TRUSTED))
  // RFC 9110 §10.1.1: everything headers can tell was decided before the client is told to go on.
  if (exchange.awaitsContinue) exchange.outgoing.writeContinue()

  const received = await collect(exchange, options, declaredBytes)
  const told = {
    receivedBytes: received.length,
    receivedSha256: hash('sha256', received),
    ...(boundary !== null && { boundary }),
  }
  if (encoding === null) return { bytes: received, decoded: false, ...told }
  const { bytes, heldBytes } = await decode(received, encoding, {
    decodedBytesMax: options.maximums.decodedBytes,
    hold: (moreBytes) => hold(exchange, options, moreBytes),
    isWanted: () => !exchange.clientGone,
  })
  giveBack(exchange, options.inFlight, exchange.heldBytes - heldBytes)
  return { bytes, decoded: true, ...told }
}

/** Null for a form that is short, and says so. */
function formPlace(
  headers: HttpExchange['incoming']['headers'],
  { forms, maximums }: ReadOptions,
): FormPlace | null {
  const heldMax = Math.min(SPOOLED_BYTES_MIN, maximums.bodyBytes)
  const isShort = Number(headers['content-length'] ?? Number.POSITIVE_INFINITY) <= heldMax
  return isShort ? null : (forms ?? null)
}

async function readForm(
  exchange: HttpExchange,
  options: ReadOptions,
  { boundary, forms }: { readonly boundary: string; readonly forms: FormPlace },
): Promise<Body> {
  const { spool, bytesMax, allBytesMax, cut } = forms
  hold(exchange, options, SPOOLING_BYTES)
  const file = (exchange.spooled = await spool.create(options.holder, allBytesMax))
  if (exchange.awaitsContinue) exchange.outgoing.writeContinue()
  const { timeoutMs } = options
  const receivedSha256 = await spoolBody(exchange, { file, bytesMax, timeoutMs })
  giveBack(exchange, options.inFlight, SPOOLING_BYTES)
  const { bytes, spooled } = await cut(file, {
    boundary,
    bytesMax: options.maximums.bodyBytes,
    hold: (moreBytes) => hold(exchange, options, moreBytes),
  })
  return { bytes, decoded: false, receivedBytes: file.bytes, receivedSha256, boundary, spooled }
}

/** Gives back what `readBody` held. Safe to call twice. */
export function release(exchange: HttpExchange, inFlight: InFlight): void {
  exchange.spooled?.close()
  giveBack(exchange, inFlight, exchange.heldBytes)
}

/** Gives back a part of what an exchange holds. */
export function giveBack(exchange: HttpExchange, inFlight: InFlight, bytes: number): void {
  inFlight.bytes -= bytes
  exchange.heldBytes -= bytes
}

/** Whose bytes are held, and against what. */
export type HoldOptions = Pick<ReadOptions, 'maximums' | 'inFlight' | 'active'>

/** Counts more bytes as held by an exchange. Throws OVERLOADED. */
export function hold(exchange: HttpExchange, options: HoldOptions, bytes: number): void {
  const { inFlight } = options
  const { inFlightBytes } = options.maximums
  const total = inFlight.bytes + bytes
  if (total > inFlightBytes) throw overloaded('request bodies of all callers together')
  // Below the share of one there is nobody to count, which is nearly always.
  if (total > inFlightBytes * SHARE_OF_ONE) checkShare(exchange, options, bytes)
  inFlight.bytes = total
  exchange.heldBytes += bytes
}

/**
 * The largest body is left out: a body of any allowed size has to pass, and a caller's other calls
 * while it does. Of the default maximums a quarter stays free for others all the same.
 */
function checkShare(exchange: HttpExchange, options: HoldOptions, bytes: number): void {
  let largestBytes = exchange.heldBytes + bytes
  let totalBytes = largestBytes
  for (const one of options.active) {
    if (one === exchange || one.holder !== exchange.holder) continue
    totalBytes += one.heldBytes
    largestBytes = Math.max(largestBytes, one.heldBytes)
  }
  if (totalBytes - largestBytes > options.maximums.inFlightBytes * SHARE_OF_ONE) {
    throw overloaded('request bodies of this caller')
  }
}

function overloaded(detail: string): GovernorError {
  return new GovernorError('OVERLOADED', { detail, headers: { 'retry-after': '1' } })
}

/** The boundary of a form; null where the body is JSON. */
function checkType(
  headers: HttpExchange['incoming']['headers'],
  { body: accepted, untyped = false }: Endpoint,
): string | null {
  const type = headers['content-type'] ?? ''
  if (accepted !== 'form' && JSON_TYPE.test(type)) return null
  if (untyped && (type === '' || type === BYTES_TYPE)) return null
  if (accepted === 'json' || !/^multipart\/form-data *;/i.test(type)) {
    const hint = {
      json: 'Send application/json in UTF-8',
      form: 'Send multipart/form-data',
      'json or form': 'Send application/json in UTF-8 or multipart/form-data',
      none: 'Send no body',
    }
    throw new GovernorError('CONTENT_TYPE_UNSUPPORTED', { hint: hint[accepted] })
  }
  const boundary = FORM_TYPE.exec(type)?.[1]
  if (boundary !== undefined) return boundary
  throw new GovernorError('BODY_INVALID', {
    detail: "the boundary in the content type is not 1 to 70 letters, digits and '+_.- alone",
    param: 'content-type',
  })
}

function checkEncoding(headers: HttpExchange['incoming']['headers']): Encoding | null {
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (encoding === 'identity') return null
  if (encoding === 'gzip' || encoding === 'deflate' || encoding === 'zstd') return encoding
  throw new GovernorError('ENCODING_UNSUPPORTED', {
    detail: 'it must be one of gzip, deflate, zstd, or none',
    headers: { 'accept-encoding': 'gzip, deflate, zstd' },
  })
}

const NOTHING = Buffer.alloc(0)

function collect(
  exchange: HttpExchange,
  options: ReadOptions,
  declaredBytes: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    new Collection(exchange, { options, declaredBytes }, { resolve, reject }).begin()
  })
}

interface CollectOptions {
  readonly options: ReadOptions
  readonly declaredBytes: number
}

/** One body on its way into memory. */
class Collection extends BodyReading<Buffer> {
  readonly #options: ReadOptions
  readonly #declaredBytes: number
  #collected: Buffer = NOTHING
  #length = 0

  constructor(
    exchange: HttpExchange,
    { options, declaredBytes }: CollectOptions,
    wanted: Wanted<Buffer>,
  ) {
    super(exchange, options.timeoutMs, wanted)
    this.#options = options
    this.#declaredBytes = declaredBytes
  }

  protected override end(): void {
    const isFull = this.#collected.length === this.#length
    this.finish(isFull ? this.#collected : this.#collected.subarray(0, this.#length))
  }

  protected override take(chunk: Buffer): void {
    try {
      this.#put(chunk)
    } catch (error) {
      this.refuse(error)
    }
  }

  #put(chunk: Buffer): void {
    const declaredBytes = this.#declaredBytes
    const { bodyBytes } = this.#options.maximums
    const total = this.#length + chunk.length
    if (total > bodyBytes) throw tooLarge(bodyBytes)
    if (this.#length === 0) {
      // A usual body comes in one piece; of any other the pieces, which may be as small as one
      // byte, are copied into a growing buffer: never an object per byte.
      if (chunk.length === declaredBytes) {
        this.#collected = chunk
        this.#length = total
        return
      }
      this.#collected = Buffer.allocUnsafe(Math.max(this.exchange.heldBytes, 1024))
    }
    if (total > this.#collected.length) {
      const most = declaredBytes === 0 ? bodyBytes : declaredBytes
      const capacity = Math.min(Math.max(total, this.#collected.length * 2), most)
      hold(this.exchange, this.#options, capacity - this.exchange.heldBytes)
      this.#collected = enlarged(this.#collected, this.#length, capacity)
    }
    chunk.copy(this.#collected, this.#length)
    this.#length = total
  }
}
