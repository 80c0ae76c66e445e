/** Reads usage out of Gemini answers as they pass. */
import type { Meter, Usage } from '../exchange.ts'
import type { EventSink } from '../nouns/answer.ts'
import {
  asObject,
  type Json,
  NO_USAGE,
  parseObject,
  PARSED_BYTES_MAX,
  readCount,
  readName,
  TAIL_BYTES,
} from './answer-json.ts'
import { isWholeEvent, readEvent, SseSplitter } from './sse.ts'
import { objectEnd } from './usage-search.ts'

/** A fresh meter. Usage is on every chunk, so nothing is asked for and nothing dropped. */
export function meter(): Meter {
  return new GeminiMeter()
}

const EMPTY = Buffer.alloc(0)
/** Keys of which a stream's last chunk has one. */
const END_KEYS = ['"finishReason"', '"blockReason"', '"error"'] as const
const END_BYTES = 64

class GeminiMeter implements Meter, EventSink {
  complete = false
  usage: Usage = NO_USAGE
  readonly #splitter = new SseSplitter(this)
  #isOversizeLast = false

  /** A stream without `alt=sse` is one JSON array, which shows when it is cut. */
  whole(body: Buffer): void {
    const answer = body.length > PARSED_BYTES_MAX ? null : lastOf(body.toString('utf8'))
    this.complete = answer !== null || !isCut(body)
    if (answer === null) this.#takeUsage(searchMetadata(body.subarray(-TAIL_BYTES)))
    else this.#take(answer)
  }

  chunk(bytes: Buffer): Buffer {
    this.#splitter.push(bytes)
    return bytes
  }

  flush(): Buffer {
    const rest = this.#splitter.rest()
    if (isWholeEvent(rest)) this.event(rest)
    return EMPTY
  }

  event(bytes: Buffer): void {
    const saysEnd = END_KEYS.some((key) => bytes.includes(key))
    if (!saysEnd && !bytes.includes('"usageMetadata"')) return
    if (bytes.length > PARSED_BYTES_MAX) {
      if (saysEnd) this.complete = true
      return
    }
    const data = parseObject(readEvent(bytes).data)
    if (data === null) return
    // Arguments of a function call may have keys of these names, too.
    if (saysEnd && isLast(data)) this.complete = true
    this.#take(data)
  }

  /** A chunk longer than any text: an image. Its end may say that it was the last. */
  part(bytes: Buffer, last: boolean): void {
    if (bytes.includes('"finishReason"')) this.#isOversizeLast = true
    if (last && this.#isOversizeLast) this.complete = true
    this.#takeUsage(searchMetadata(bytes.subarray(-TAIL_BYTES)))
  }

  #take(answer: Json): void {
    this.usage = {
      ...this.usage,
      responseModel: readName(answer['modelVersion']) ?? this.usage.responseModel,
      responseId: readName(answer['responseId']) ?? this.usage.responseId,
    }
    this.#takeUsage(asObject(answer['usageMetadata']))
  }

  /** `candidatesTokenCount` leaves out what was thought; both are output. */
  #takeUsage(usage: Json | null): void {
    if (usage === null) return
    const candidates = readCount(usage['candidatesTokenCount'])
    const thoughts = readCount(usage['thoughtsTokenCount'])
    const output = candidates === null && thoughts === null ? null : sum(candidates, thoughts)
    this.usage = {
      ...this.usage,
      inputTokens: promptTokens(usage) ?? this.usage.inputTokens,
      outputTokens: output ?? this.usage.outputTokens,
      cachedTokens: readCount(usage['cachedContentTokenCount']) ?? this.usage.cachedTokens,
      reasoningTokens: thoughts ?? this.usage.reasoningTokens,
    }
  }
}

function isLast({ candidates, promptFeedback, error }: Json): boolean {
  if (error !== undefined || asObject(promptFeedback)?.['blockReason'] !== undefined) return true
  return (
    Array.isArray(candidates) && candidates.some((each) => 'finishReason' in (asObject(each) ?? {}))
  )
}

function sum(one: number | null, other: number | null): number {
  return (one ?? 0) + (other ?? 0)
}

function promptTokens(usage: Json): number | null {
  const prompt = readCount(usage['promptTokenCount'])
  return prompt === null ? null : prompt + sum(readCount(usage['toolUsePromptTokenCount']), null)
}

/** Of a body that does not parse: because it breaks off, and not because only its end was kept. */
function isCut(body: Buffer): boolean {
  if (body.length <= TAIL_BYTES) return /^\s*[[{]/.test(body.toString('latin1', 0, END_BYTES))
  return !/[\]}]\s*$/.test(body.toString('latin1', body.length - END_BYTES))
}

/** An answer, or the last of the array that a stream without `alt=sse` is. */
function lastOf(text: string): Json | null {
  const answer = parseObject(text)
  if (answer !== null) return answer
  try {
    const list: unknown = JSON.parse(text)
    return Array.isArray(list) ? asObject(list.at(-1)) : null
  } catch {
    return null
  }
}

/** The last `"usageMetadata":{…}` in the end of a long answer. */
function searchMetadata(tail: Buffer): Json | null {
  const text = tail.toString('latin1')
  const found = text.lastIndexOf('"usageMetadata"')
  const from = found === -1 ? -1 : text.indexOf('{', found)
  return from === -1 ? null : parseObject(text.slice(from, objectEnd(text, from)))
}
