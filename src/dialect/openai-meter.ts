/** Reads usage out of OpenAI answers as they pass, at the cost of looking for line ends. */
import type { Facts, Meter, Route, Usage } from '../exchange.ts'
import type { EventSink } from '../nouns/answer.ts'
import {
  asObject,
  NO_USAGE,
  parseObject,
  PARSED_BYTES_MAX,
  readName,
  TAIL_BYTES,
  type Json,
} from './answer-json.ts'
import { readAnswer, readTokens, withTier } from './openai-usage.ts'
import { isWholeEvent, readEvent, SseSplitter } from './sse.ts'
import { searchUsage } from './usage-search.ts'

/** Events that are read for the answer's model and id before giving up. */
const NAMED_EVENTS_MAX = 8
/** `data: [DONE]` with all its line ends is shorter than this. */
const DONE_BYTES_MAX = 64
/** The event's type stands in its `event:` line, else near the start of its data. */
const TYPE_BYTES = 512

const TERMINAL = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'image_generation.completed',
  'image_edit.completed',
  'speech.audio.done',
  'transcript.text.done',
  'thread.run.completed',
  'message-end',
  'done',
  'error',
])
/** Endpoints that stream chunks without a type, ended by a mark of their own. */
const CHUNKED: ReadonlySet<string> = new Set(['chat.completions', 'completions'])

/** A fresh meter; `asked` when the extra usage chunk of a chat stream is to be dropped. */
export function meter(route: Route, _facts: Facts, asked: boolean): Meter {
  const { api } = route.endpoint
  const isChunked = CHUNKED.has(api)
  return new OpenaiMeter(!isChunked, asked && isChunked)
}

const EMPTY = Buffer.alloc(0)

class OpenaiMeter implements Meter, EventSink {
  complete = false
  usage: Usage = NO_USAGE
  readonly #isTyped: boolean
  readonly #drops: boolean
  readonly #splitter = new SseSplitter(this)
  #events = 0
  /** Whole events to send on, when the extra chunk is dropped. */
  #kept: Buffer[] = []
  #dropped = false
  /** The end of an event too long to hold. */
  #tail = EMPTY
  #oversizeType = ''

  constructor(isTyped: boolean, drops: boolean) {
    this.#isTyped = isTyped
    this.#drops = drops
  }

  get isOver(): boolean {
    return this.complete
  }

  whole(body: Buffer): void {
    this.usage = readAnswer(body)
    this.complete = true
  }

  chunk(bytes: Buffer): Buffer {
    if (!this.#drops) {
      this.#splitter.push(bytes)
      return bytes
    }
    const heldBefore = this.#splitter.heldBytes
    this.#dropped = false
    this.#splitter.push(bytes)
    const kept = this.#kept
    this.#kept = []
    const isWhole = heldBefore === 0 && this.#splitter.heldBytes === 0 && !this.#dropped
    return isWhole ? bytes : Buffer.concat(kept)
  }

  flush(): Buffer {
    const rest = this.#splitter.rest()
    if (isWholeEvent(rest)) this.event(rest)
    else if (this.#drops) this.#kept.push(rest)
    const kept = this.#kept
    this.#kept = []
    return Buffer.concat(kept)
  }

  event(bytes: Buffer): void {
    const isEnd = isDone(bytes)
    if (isEnd) this.complete = true
    if (this.#isTyped && !isEnd) this.#readTypedEvent(bytes)
    const drop = !this.#isTyped && !isEnd && this.#readChatEvent(bytes)
    if (!this.#drops) return
    if (drop) this.#dropped = true
    else this.#kept.push(bytes)
  }

  part(bytes: Buffer, last: boolean): void {
    if (this.#drops) this.#kept.push(bytes)
    if (this.#tail.length === 0) this.#oversizeType = eventType(bytes)
    this.#tail = Buffer.concat([this.#tail.subarray(-TAIL_BYTES), bytes.subarray(-TAIL_BYTES)])
    if (!last) return
    if (this.#isTyped && TERMINAL.has(this.#oversizeType)) {
      this.complete = true
      this.#take(searchUsage(this.#tail))
    }
    this.#tail = EMPTY
  }

  /** True for the one chunk that is there only because usage was asked for. */
  #readChatEvent(bytes: Buffer): boolean {
    const hasUsage = bytes.includes('"prompt_tokens"')
    if (!hasUsage && !this.#wantsName()) return false
    const data = parseData(bytes)
    if (data === null) return false
    this.#takeNames(data)
    const usage = asObject(data['usage'])
    this.#take(usage)
    const { choices } = data
    return usage !== null && Array.isArray(choices) && choices.length === 0
  }

  #readTypedEvent(bytes: Buffer): void {
    const type = eventType(bytes)
    const isTerminal = TERMINAL.has(type)
    if (isTerminal) this.complete = true
    if (!isTerminal && !this.#wantsName()) return
    const data = parseData(bytes)
    const response = asObject(data?.['response']) ?? (asObject(data?.['usage']) && data)
    if (response !== null) {
      this.#takeNames(response)
      this.#take(asObject(response['usage']))
    } else if (isTerminal && type !== 'error') {
      this.#take(searchUsage(bytes.subarray(-TAIL_BYTES)))
    }
  }

  #wantsName(): boolean {
    return this.usage.responseModel === null && this.#events++ < NAMED_EVENTS_MAX
  }

  #takeNames(data: Json): void {
    const { responseModel, responseId } = this.usage
    const named = {
      ...this.usage,
      responseModel: responseModel ?? readName(data['model']),
      responseId: responseId ?? readName(data['id']),
    }
    this.usage = withTier(named, data['service_tier'])
  }

  #take(usage: Json | null): void {
    if (usage !== null) this.usage = { ...this.usage, ...readTokens(usage) }
  }
}

function parseData(event: Buffer): Json | null {
  return event.length > PARSED_BYTES_MAX ? null : parseObject(readEvent(event).data)
}

/** The mark that ends streams of chunks, and others at some servers. */
function isDone(event: Buffer): boolean {
  if (event.length >= DONE_BYTES_MAX || !event.includes('[DONE]')) return false
  return readEvent(event).data.trim() === '[DONE]'
}

/** Of an event too long to be parsed, the first type in it. */
function eventType(event: Buffer): string {
  const head = event.toString('latin1', 0, TYPE_BYTES)
  const named =
    /^event: ?([\w.-]{1,64})/m.exec(head) ?? /^data: ?\{"type": ?"([\w.-]{1,64})"/.exec(head)
  if (named !== null) return named[1]!
  const data = parseData(event)
  if (data !== null) return readName(data['type']) ?? ''
  return /"type"\s*:\s*"([\w.-]{1,64})"/.exec(head)?.[1] ?? ''
}
