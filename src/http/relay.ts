import { GovernorError } from '../errors.ts'
import type { Meter, Trail } from '../exchange.ts'
import type { HttpExchange, Interruptible } from './exchange.ts'
import { type HeaderList, relayable } from './headers.ts'
import { governorHeaders } from './respond.ts'
import { StreamStart } from './stream-start.ts'
import { hasWholeData, type LineKind, lineKindOf, WholeLines } from './whole-lines.ts'

/** An upstream's answer as relay needs it; `upstream/call.ts` makes it. */
export interface RelayedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly whole: Buffer | null
  pipe(sink: { write(chunk: Buffer): boolean; end(): void; fail(error: GovernorError): void }): void
  resume(): void
  abort(): void
}

/** Takes our credential out of what passes; `upstream/scrub.ts` makes it. */
export interface Filter {
  text(value: string): string
  whole(body: Buffer): Buffer
  wholeError(body: Buffer): Buffer
  chunk(bytes: Buffer): Buffer
  flush(): Buffer
}

/** Lets policies look at what passes; `answers/policies.ts` makes it. */
export interface Guard {
  /** Throws POLICY_DENIED. */
  whole(body: Buffer, contentType: string): Promise<Buffer>
  chunk(bytes: Buffer): Buffer
  flush(): Buffer
  /** Why a stream ends after what was returned last. */
  readonly failure: GovernorError | null
}

/** What an answer goes through on its way, and what is said beside it. */
export interface RelayOptions {
  readonly meter: Meter
  readonly filter: Filter | null
  /** Absent where no policy is about this call's answer. */
  readonly guard: Guard | null
  /** The longest answer that is collected for `guard`, bytes. */
  readonly answerBytesMax: number
  readonly headerList: HeaderList
  /** Answer headers that say where the limits stand, flat pairs. */
  readonly limitHeaders: readonly string[]
  /** A client that reads nothing for this long is taken for gone. */
  readonly idleMs: number
  /** Event streams under way: +1 when one begins, −1 when it ends. */
  readonly streams: { inc(change: 1 | -1): void }
}

const LINE_FEED = 0x0a
const NO_BYTES = Buffer.alloc(0)

/** Ollama's lines of JSON are events of its own; Gemini's JSON array is one long document. */
const JSON_TYPE = /^[\w.+-]+\/(?:[\w.+-]+\+)?json *(?:;|$)/

/** Sound and pictures, which providers that do not stream them send whole to those who asked for a stream. */
const MEDIA_TYPE = /^(?:audio|image|video)\//

/** The last bytes of a long answer that is no event stream: that is where its usage is. */
const TAIL_BYTES = 64 * 1024

/**
 * Upstream → client. Resolves when the last byte is handed to the socket or the client left; what
 * broke off is in `trail.ending` and, once the answer had begun, an error frame.
 */
export async function relay(
  answer: RelayedAnswer,
  exchange: HttpExchange,
  trail: Trail,
  options: RelayOptions,
): Promise<void> {
  trail.upstreamStatus = trail.status = answer.status
  options.meter.headers?.(answer.headers)
  try {
    const { guard } = options
    if (answer.whole === null && (guard === null || isEvents(answer, trail))) {
      await new Stream(answer, exchange, trail, options).run()
    } else {
      const whole = answer.whole ?? (await collect(answer, exchange, options.answerBytesMax))
      const read = readWhole(answer, whole, options)
      if (guard !== null) trail.usage = options.meter.usage
      const body = guard === null ? read : await guard.whole(read, typeOf(answer))
      sendWhole(answer, body, exchange, { trail, options })
    }
  } catch (error) {
    // A bug here must not leave the upstream sending to nobody.
    answer.abort()
    throw error
  }
  trail.usage = options.meter.usage
}

function answerHeaders(answer: RelayedAnswer, trail: Trail, options: RelayOptions): string[] {
  const { filter } = options
  const headers = relayable(answer.headers, options.headerList)
  // Values only: names come from our own list.
  for (let index = 1; index < headers.length; index += 2) {
    headers[index] = clean(filter, headers[index]!)
  }
  const idHeader = trail.route!.dialect.requestIdHeader
  const upstreamId = answer.headers[idHeader]
  if (typeof upstreamId === 'string')
    trail.upstreamRequestId = clean(filter, upstreamId).slice(0, 128)
  else headers.push(idHeader, trail.requestId)
  headers.push(...governorHeaders(trail), ...options.limitHeaders)
  return headers
}

function clean(filter: Filter | null, value: string): string {
  return filter === null ? value : filter.text(value)
}

/** A whole answer without our credential, once its usage is known. */
function readWhole(answer: RelayedAnswer, whole: Buffer, { filter, meter }: RelayOptions): Buffer {
  const cleaned = answer.status < 400 ? filter?.whole(whole) : filter?.wholeError(whole)
  const body = cleaned ?? whole
  meter.whole(body)
  return body
}

function typeOf({ headers }: RelayedAnswer): string {
  return String(headers['content-type'] ?? '')
}

function sendWhole(
  answer: RelayedAnswer,
  body: Buffer,
  exchange: HttpExchange,
  { trail, options }: { trail: Trail; options: RelayOptions },
): void {
  trail.answerBytes = body.length
  trail.kept?.take(body)
  if (exchange.clientGone) {
    trail.ending = 'client_closed'
    return
  }
  const headers = answerHeaders(answer, trail, options)
  if (answer.status !== 204) headers.push('content-length', String(body.length))
  exchange.outgoing.writeHead(answer.status, headers)
  exchange.outgoing.end(body)
  trail.ending = 'complete'
}

/** By its own name; by what was asked for where that name is missing or another. */
function isEventStream({ headers }: RelayedAnswer, { facts }: Trail): boolean {
  const type = String(headers['content-type'] ?? '').toLowerCase()
  if (type.startsWith('text/event-stream')) return true
  return facts!.stream && !JSON_TYPE.test(type) && !MEDIA_TYPE.test(type)
}

/** Of every status that clients take for a good one with a body. */
function isEvents(answer: RelayedAnswer, trail: Trail): boolean {
  return answer.status < 204 && isEventStream(answer, trail)
}

/**
 * All of an answer that is no event stream. Rejects with POLICY_DENIED for one that is too long to be
 * looked at, with CLIENT_CLOSED, and with what the upstream failed with.
 */
function collect(answer: RelayedAnswer, exchange: HttpExchange, bytesMax: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let bytes = 0
  const interrupt = (error: GovernorError): void => {
    reject(error)
    answer.abort()
  }
  exchange.interruptible = { interrupt }
  answer.pipe({
    write(chunk) {
      bytes += chunk.length
      if (bytes <= bytesMax) chunks.push(chunk)
      else {
        const detail = `A policy on the answer applies and it is longer than ${bytesMax} bytes`
        interrupt(new GovernorError('POLICY_DENIED', { detail }))
      }
      return true
    },
    end: () => resolve(Buffer.concat(chunks, bytes)),
    fail: reject,
  })
  return promise.finally(() => {
    exchange.interruptible = null
  })
}

/** One answer that flows. */
class Stream implements Interruptible {
  readonly #answer: RelayedAnswer
  readonly #exchange: HttpExchange
  readonly #trail: Trail
  readonly #options: RelayOptions
  #isEvents: boolean
  /** Of what is called text and may be just that: transcripts are, where their model does not stream. */
  #start: StreamStart | null
  #tail: Buffer[] = []
  #tailBytes = 0
  /** What the stream consists of, and what keeps half a line back; null where nobody here can tell. */
  readonly #lineKind: LineKind | null
  readonly #whole: WholeLines | null
  /** What was sent last is not the end of a line. */
  #midEvent = false
  #ended = false
  #stalled: NodeJS.Timeout | undefined
  #finish!: () => void

  constructor(answer: RelayedAnswer, exchange: HttpExchange, trail: Trail, options: RelayOptions) {
    this.#answer = answer
    this.#exchange = exchange
    this.#trail = trail
    this.#options = options
    this.#isEvents = isEvents(answer, trail)
    const isText = /^text\/(?!event-stream)/i.test(typeOf(answer))
    this.#start = this.#isEvents && isText && options.guard === null ? new StreamStart() : null
    this.#lineKind = this.#isEvents ? lineKindOf(typeOf(answer)) : null
    this.#whole = this.#lineKind === null ? null : new WholeLines(this.#lineKind)
  }

  async run(): Promise<void> {
    const { outgoing } = this.#exchange
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve
    })
    const headers = answerHeaders(this.#answer, this.#trail, this.#options)
    outgoing.writeHead(this.#answer.status, headers)
    outgoing.flushHeaders()
    outgoing.on('drain', () => {
      clearTimeout(this.#stalled)
      this.#answer.resume()
    })
    const change = this.#isEvents ? 1 : 0
    if (change === 1) this.#options.streams.inc(1)
    this.#exchange.interruptible = this
    this.#answer.pipe(this)
    await finished
    if (change === 1) this.#options.streams.inc(-1)
  }

  interrupt(error: GovernorError): void {
    this.#answer.abort()
    if (error.code === 'CLIENT_CLOSED') this.#end('client_closed')
    else this.#fail(error)
  }

  write(chunk: Buffer): boolean {
    if (this.#ended) return true
    const cleaned = this.#options.filter?.chunk(chunk) ?? chunk
    return this.#start === null ? this.#next(cleaned) : this.#look(this.#start, cleaned)
  }

  #next(cleaned: Buffer): boolean {
    if (!this.#isEvents) {
      this.#remember(cleaned)
      return this.#send(cleaned)
    }
    const { meter } = this.#options
    const wantsMore = this.#pass(meter.chunk(cleaned))
    if (meter.failure != null) this.#refuse(meter.failure, 'upstream_failed')
    return wantsMore
  }

  /** By its first bytes, which go on once they say what it is; at the end with all there is. */
  #look(start: StreamStart, bytes: Buffer, isAll = false): boolean {
    const told = start.look(bytes) ?? (isAll ? start.end() : null)
    if (told === null) return true
    this.#start = null
    this.#isEvents = told
    return this.#next(start.take())
  }

  /** Events on their way to the client, past the policies on answers where there are any. */
  #pass(bytes: Buffer): boolean {
    const { guard } = this.#options
    if (guard === null) return this.#send(bytes)
    const wantsMore = this.#send(guard.chunk(bytes))
    if (guard.failure !== null) this.#refuse(guard.failure)
    return wantsMore
  }

  /** What follows is nobody's any more. */
  #refuse(error: GovernorError, ending: Trail['ending'] = 'refused'): void {
    this.#fail(error, ending)
    this.#answer.abort()
  }

  end(): void {
    if (this.#ended) return
    this.#sendHeld()
    if (this.#ended) return
    const { meter } = this.#options
    if (!this.#isEvents) meter.whole(Buffer.concat(this.#tail))
    if (!meter.complete) {
      // A stream that just ends counts as a complete answer in the official SDKs.
      const error = new GovernorError('UPSTREAM_FAILED', { detail: 'the stream ended early' })
      this.#fail(error, 'incomplete')
      return
    }
    if (this.#whole !== null) this.#put(this.#whole.rest())
    this.#exchange.outgoing.end()
    this.#end('complete')
  }

  fail(error: GovernorError): void {
    if (error.code === 'CLIENT_CLOSED') return
    // The provider said its last word: an error behind it would make a complete answer a failed one.
    if (this.#isEvents && this.#options.meter.isOver === true) this.end()
    else this.#fail(error)
  }

  #fail(error: GovernorError, ending?: Trail['ending']): void {
    if (this.#ended) return
    const { outgoing } = this.#exchange
    const { route, requestId } = this.#trail
    this.#trail.refusal = error
    if (this.#isEvents) {
      this.#sendBegun()
      // A frame that joined half a line would be read as malformed JSON instead of as our error.
      const before = this.#midEvent || this.#whole?.isMidEvent === true ? '\n\n' : ''
      const frame = route!.dialect.errorFrame(error, requestId, route!.endpoint.api)
      outgoing.end(typeof frame === 'string' ? before + frame : frame)
    } else {
      outgoing.destroy()
    }
    this.#end(ending ?? (error.source === 'upstream' ? 'upstream_failed' : 'incomplete'))
  }

  /** Of the event that was being sent what a reader can read, ended; half of one is nothing to anybody. */
  #sendBegun(): void {
    const begun = this.#whole?.rest()
    if (begun === undefined || begun.length === 0 || !hasWholeData(begun, this.#lineKind!)) return
    this.#put(begun)
    this.#midEvent = true
  }

  #send(bytes: Buffer): boolean {
    return this.#put(this.#whole === null ? bytes : this.#whole.push(bytes))
  }

  #put(bytes: Buffer): boolean {
    if (bytes.length === 0) return true
    this.#midEvent = bytes[bytes.length - 1] !== LINE_FEED
    this.#trail.answerBytes += bytes.length
    this.#trail.kept?.take(bytes)
    if (this.#exchange.outgoing.write(bytes)) return true
    clearTimeout(this.#stalled)
    // The socket itself: an answer that waits behind another has not been given it yet.
    const { socket } = this.#exchange.incoming
    this.#stalled = setTimeout(() => socket.destroy(), this.#options.idleMs)
    return false
  }

  #sendHeld(): void {
    const { filter, meter } = this.#options
    const held = filter?.flush() ?? NO_BYTES
    if (this.#start !== null) this.#look(this.#start, held, true)
    else if (held.length > 0) this.#next(held)
    if (!this.#isEvents || this.#ended) return
    this.#pass(meter.flush())
    const { guard } = this.#options
    if (guard === null || this.#ended) return
    this.#send(guard.flush())
    if (guard.failure !== null) this.#refuse(guard.failure)
  }

  /** Keeps the last bytes of a long JSON answer for the meter, and no more of it than that. */
  #remember(bytes: Buffer): void {
    this.#tail.push(bytes)
    this.#tailBytes += bytes.length
    while (this.#tailBytes - this.#tail[0]!.length > TAIL_BYTES) {
      this.#tailBytes -= this.#tail.shift()!.length
    }
  }

  #end(ending: Trail['ending']): void {
    this.#ended = true
    clearTimeout(this.#stalled)
    this.#exchange.interruptible = null
    this.#trail.ending = ending
    this.#finish()
  }
}
