import { isUtf8 } from 'node:buffer'

import { ELEMENTS } from '../dialect/json-list.ts'
import { SSE } from '../dialect/sse.ts'
import type { GovernorError } from '../errors.ts'
import type { PolicyResult, Splice } from '../exchange.ts'
import type {
  AnswerContent,
  AnswerEvent,
  AnswerReader,
  AnswerText,
  AnswerVerdict,
  EventParts,
  Framing,
} from '../nouns/answer.ts'
import { applyCuts } from '../policy/answer-inspector.ts'
import { inTurns, runNow } from '../turns.ts'
import {
  type AnswerChannel,
  channelOf,
  type Inspector,
  type Segment,
  staysJson,
} from './channel.ts'
import { readsAsEvents } from './disguised.ts'
import { editOf, refusal, unreadable, withEdits } from './edits.ts'

/** The most a stream may have held back, bytes and events. */
const HELD_BYTES_MAX = 4 * 1024 * 1024
const HELD_EVENTS_MAX = 64 * 1024
/** Answers up to this are looked at without a turn of the event loop. */
const SHORT_BYTES = 16 * 1024

const JSON_TYPE = /^[\w.+-]+\/(?:[\w.+-]+\+)?json *(?:;|$)/i
const TEXT_TYPE = /^text\//i
/** A charset in which bytes would be other letters than those that are looked at. */
const OTHER_CHARSET =
  /;\s*charset\s*=\s*["']?(?!(?:utf-?8|us-ascii|ascii|iso-8859-1)["']?\s*(?:;|$))/i

/** How the answer of one call is looked at. */
export interface GuardOptions {
  readonly inspector: Inspector
  /** Absent where the dialect's answers cannot be inspected. */
  readonly reader: AnswerReader | undefined
  readonly api: string
  readonly jsonDepth: number
  /** What cannot be looked at passes as it is, and everything after it. */
  readonly isLenient?: boolean
  /** `defaults.uninspectable`. */
  readonly uninspectable: 'allow' | 'deny'
}

/** An event that was not sent on yet. */
interface Held {
  readonly bytes: Buffer
  readonly parts: EventParts
  readonly texts: readonly AnswerText[]
  readonly segments: readonly Segment[]
  readonly edits: Splice[]
  readonly lanes: readonly string[]
}

/**
 * Output policies over one answer. A whole one is looked at before it goes on; of a stream every
 * event waits until nothing can begin any more in the texts it brings a piece of. Where no policy
 * enforces anything an answer passes as it comes.
 */
export class AnswerGuard implements AnswerVerdict {
  /** Why the stream ends here; what `chunk` returned with it may still be sent. */
  failure: GovernorError | null = null
  changed = false
  readonly #options: GuardOptions
  readonly #inspector: Inspector
  readonly #holds: boolean
  readonly #channels = new Map<string, AnswerChannel>()
  /** How events are taken apart; that of a stream that came as one JSON array is another. */
  #framing: Pick<Framing, 'parts' | 'withData'>
  readonly #stream: Framing
  readonly #splitter: ReturnType<Framing['splitter']>
  #queue: Held[] = []
  #heldBytes = 0
  #block = 0
  /** Lanes in which an event waits. */
  #blocked = new Set<string>()
  #out: Buffer[] = []
  #gaveUp = false
  /** The event that was put in the queue last. */
  #enqueued: Buffer | null = null

  constructor(options: GuardOptions) {
    this.#options = options
    this.#inspector = options.inspector
    this.#holds = options.inspector.enforces
    const framing = options.reader?.framing ?? SSE
    this.#framing = framing
    this.#stream = framing
    this.#splitter = framing.splitter({
      event: (bytes) => this.#take(bytes),
      part: (bytes) => this.#takePart(bytes),
    })
  }

  get policies(): readonly PolicyResult[] {
    return this.#inspector.results
  }

  get detected(): Readonly<Record<string, number>> {
    return this.#inspector.detected
  }

  /** A whole answer, changed where a policy says so. Throws POLICY_DENIED. */
  async whole(body: Buffer, contentType: string): Promise<Buffer> {
    if (body.length === 0) return body
    if (readsAsEvents(this.#stream, body, contentType)) return this.#events(body)
    const { reader } = this.#options
    const ends = JSON_TYPE.test(contentType) ? (reader?.listed?.(body) ?? null) : null
    if (ends !== null) return inTurns(this.#listed(body, ends))
    try {
      const steps = this.#looked(body, contentType)
      return body.length <= SHORT_BYTES ? runNow(steps) : await inTurns(steps)
    } catch (error) {
      if (!this.#holds || this.#options.isLenient === true) return body
      throw refusal(error)
    }
  }

  /** Events that were collected, because their status is no good one, or they came as a text. */
  #events(body: Buffer): Buffer {
    return this.#passed(Buffer.concat([this.chunk(body), this.flush()]))
  }

  #passed(bytes: Buffer): Buffer {
    if (this.failure !== null) throw this.failure
    return bytes
  }

  /** Events of an array that was collected. */
  *#listed(body: Buffer, ends: readonly number[]): Generator<unknown, Buffer> {
    this.#framing = ELEMENTS
    let from = 0
    let worked = 0
    for (const end of [...ends, body.length]) {
      this.#take(body.subarray(from, end))
      worked += end - from
      from = end
      if (worked < SHORT_BYTES) continue
      worked = 0
      yield
    }
    return this.#passed(this.flush())
  }

  /** The next bytes of an event stream; returns those that may go on now. */
  chunk(bytes: Buffer): Buffer {
    // Frames that do not fit end a stream; where nothing is held back, its meter says so.
    if (this.failure === null) this.#attempt(() => this.#splitter.push(bytes))
    return this.#sent()
  }

  /** The stream ended; what was held back goes on. */
  flush(): Buffer {
    const rest = this.#splitter.rest()
    if (rest.length > 0) this.#take(rest)
    if (this.failure === null) this.#attempt(() => this.#close(['']))
    return this.#sent()
  }

  #sent(): Buffer {
    const out = this.#out
    this.#out = []
    return out.length === 1 ? out[0]! : Buffer.concat(out)
  }

  // --- whole answers ---

  *#looked(body: Buffer, contentType: string): Generator<unknown, Buffer> {
    const { reader, jsonDepth } = this.#options
    if (OTHER_CHARSET.test(contentType)) this.#unreadable('an answer in another charset than UTF-8')
    if (JSON_TYPE.test(contentType) && reader !== undefined) {
      return yield* this.#lookedJson(body, yield* reader.whole(body, { jsonDepth }))
    }
    if (!TEXT_TYPE.test(contentType) || !isUtf8(body)) {
      this.#unreadable(`an answer of type ${JSON.stringify(contentType.slice(0, 64))}`)
      return body
    }
    const text = body.toString('utf8')
    this.#inspector.said(text)
    const cuts = yield* this.#inspector.text(text, this.#readings)
    if (cuts.length === 0) return body
    this.changed = true
    return Buffer.from(applyCuts(text, cuts))
  }

  *#lookedJson(body: Buffer, content: AnswerContent): Generator<unknown, Buffer> {
    this.#checkReadable(content)
    const masked: string[] = []
    const edits: Splice[] = []
    let worked = 0
    for (const text of content.texts) {
      if (text.isSaid) this.#inspector.said(text.text)
      masked.push(yield* this.#masked(text, edits))
      worked += text.text.length + 64
      if (worked < SHORT_BYTES) continue
      worked = 0
      yield
    }
    yield* this.#lookedJoined(content, masked)
    return this.#edited(body, content.texts, edits)
  }

  /** Looks at a complete text; says how to change it, and what it is then. */
  *#masked(text: AnswerText, edits: Splice[]): Generator<unknown, string> {
    const cuts = yield* this.#inspector.text(text.text, this.#readings)
    const [first] = cuts
    if (first === undefined) return text.text
    const masked = applyCuts(text.text, cuts)
    if (text.kind === 'fixed' && this.#options.isLenient === true) return text.text
    const isBroken = text.kind === 'json' && !staysJson(text.text, masked)
    if (text.kind === 'fixed' || isBroken) throw this.#inspector.cannotMask(first)
    edits.push(editOf(text, masked))
    return masked
  }

  /** What begins in one part and ends in the next is in neither. */
  *#lookedJoined({ joined }: AnswerContent, texts: readonly string[]): Generator<unknown, void> {
    for (const group of joined) {
      const whole = group.map((index) => texts[index] ?? '').join('')
      const [hidden] = yield* this.#inspector.text(whole, this.#readings)
      if (hidden !== undefined) throw this.#inspector.cannotMask(hidden)
    }
  }

  #edited(bytes: Buffer, texts: readonly AnswerText[], edits: readonly Splice[]): Buffer {
    if (edits.length === 0) return bytes
    this.changed = true
    return withEdits(bytes, texts, edits)
  }

  // --- streams ---

  #take(bytes: Buffer): void {
    if (this.failure !== null) return
    if (!this.#holds || this.#gaveUp) this.#out.push(bytes)
    if (this.#gaveUp) return
    this.#enqueued = null
    this.#attempt(() => this.#look(bytes))
    if (this.#hasGivenUp && this.#enqueued !== bytes) this.#out.push(bytes)
  }

  /** A getter, because it changes between two looks at it. */
  get #hasGivenUp(): boolean {
    return this.#gaveUp
  }

  /** What waits goes on as it came, and so does everything else. */
  #giveUp(): void {
    this.#gaveUp = true
    for (const { bytes } of this.#queue) this.#out.push(bytes)
    this.#queue = []
  }

  #takePart(bytes: Buffer): void {
    if (this.failure !== null) return
    if (this.#options.isLenient === true) this.#giveUp()
    this.#attempt(() => this.#unreadable('an event of more than 1 MiB'))
    if (this.failure === null) this.#out.push(bytes)
  }

  /** Without a policy that enforces, nothing that goes wrong here is the client's concern. */
  #attempt(look: () => void): void {
    try {
      look()
    } catch (error) {
      if (this.#options.isLenient === true) this.#giveUp()
      else if (this.#holds) this.failure = refusal(error)
    }
  }

  #look(bytes: Buffer): void {
    const { reader, api, jsonDepth } = this.#options
    const parts = this.#framing.parts(bytes)
    if (reader === undefined || parts === null) {
      this.#unreadable('this is no event stream that is known here')
      if (this.#holds) this.#out.push(bytes)
      return
    }
    const [said] = parts.rest === '' ? [] : runNow(this.#inspector.text(parts.rest, this.#readings))
    if (said !== undefined) throw this.#inspector.cannotMask(said)
    if (parts.data.length === 0) {
      if (this.#holds) this.#out.push(bytes)
      return
    }
    const event = reader.event(parts.data, api, { jsonDepth })
    if ((event.block ?? this.#block) < this.#block) this.#unreadable('blocks that take turns')
    this.#block = event.block ?? this.#block
    this.#checkReadable(event)
    const held = this.#hold(bytes, parts, event)
    if (this.#holds) this.#enqueue(held)
    this.#settle(held, event.closes)
  }

  #hold(bytes: Buffer, parts: EventParts, { texts, lanes }: AnswerEvent): Held {
    const edits: Splice[] = []
    const segments: Segment[] = []
    for (const text of texts) {
      if (text.isSaid) this.#inspector.said(text.text)
      if (text.channel === null) {
        runNow(this.#masked(text, edits))
        continue
      }
      const channel = channelOf(this.#channels, text.channel, this.#inspector, this.#readings)
      segments.push({ channel, start: channel.length, text })
      channel.push(text.text)
    }
    return { bytes, parts, texts, segments, edits, lanes }
  }

  #enqueue(held: Held): void {
    this.#enqueued = held.bytes
    this.#queue.push(held)
    this.#heldBytes += held.bytes.length
    if (this.#heldBytes > HELD_BYTES_MAX || this.#queue.length > HELD_EVENTS_MAX) {
      throw unreadable('more of it than can be held back')
    }
  }

  #settle({ segments, lanes }: Held, closes: readonly string[]): void {
    let moved = false
    for (const { channel } of segments) {
      const before = channel.releasedTo
      channel.settle(false)
      moved ||= channel.releasedTo > before
    }
    if (closes.length > 0) this.#close(closes)
    // An event behind others that wait changes nothing for them.
    else if (moved || !this.#isBlocked(lanes)) this.#release()
  }

  /** Ends channels by the beginning of their names. */
  #close(closes: readonly string[]): void {
    for (const [name, channel] of this.#channels) {
      if (closes.some((beginning) => name.startsWith(beginning))) channel.settle(true)
    }
    this.#release()
  }

  /** Sends on every event of which all is certain and before which none of its lane waits. */
  #release(): void {
    const waiting: Held[] = []
    this.#blocked = new Set()
    for (const held of this.#queue) {
      const isCertain = held.segments.every(
        ({ channel, start, text }) => start + text.text.length <= channel.releasedTo,
      )
      if (isCertain && !this.#isBlocked(held.lanes)) this.#send(held)
      else {
        waiting.push(held)
        for (const lane of held.lanes) this.#blocked.add(lane)
      }
    }
    this.#queue = waiting
  }

  #isBlocked(lanes: readonly string[]): boolean {
    if (this.#blocked.size === 0) return false
    return lanes.some((lane) => {
      if (this.#blocked.has(lane)) return true
      for (const blocked of this.#blocked) {
        if (lane.endsWith('/') && blocked.startsWith(lane)) return true
        if (blocked.endsWith('/') && lane.startsWith(blocked)) return true
      }
      return false
    })
  }

  #send({ bytes, parts, texts, segments, edits }: Held): void {
    this.#heldBytes -= bytes.length
    for (const { channel, start, text } of segments) {
      const cut = channel.cut(text.text, start)
      if (cut === text.text) continue
      if (text.kind === 'fixed') throw unreadable('what a policy masks, where it is signed')
      edits.push(editOf(text, cut))
    }
    const data = this.#edited(parts.data, texts, edits)
    this.#out.push(data === parts.data ? bytes : this.#framing.withData(bytes, parts, data))
  }

  // --- what cannot be read ---

  #checkReadable({ uninspectable }: AnswerContent): void {
    if (uninspectable !== null) this.#unreadable(uninspectable)
  }

  #unreadable(what: string): void {
    if (this.#holds && this.#options.uninspectable === 'deny') throw unreadable(what)
  }

  readonly #readings = (text: string): readonly string[] =>
    this.#options.reader?.readings(text) ?? []
}
