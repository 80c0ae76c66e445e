/** Reads usage out of Anthropic answers as they pass. */
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
  searchUsage,
  TAIL_BYTES,
} from './openai-usage.ts'
import { readEvent, SseSplitter } from './sse.ts'

/** The event's type stands in its `event:` line. */
const TYPE_BYTES = 64
const EVENT_TYPE = /^event: ?(message_start|message_delta|message_stop|error)\s/

/** A fresh meter. Anthropic reports usage unasked, so nothing is ever dropped. */
export function meter(): Meter {
  return new AnthropicMeter()
}

const EMPTY = Buffer.alloc(0)

class AnthropicMeter implements Meter, EventSink {
  complete = false
  usage: Usage = NO_USAGE
  readonly #splitter = new SseSplitter(this)

  whole(body: Buffer): void {
    this.complete = true
    if (body.length > PARSED_BYTES_MAX) {
      this.#take(searchUsage(body.subarray(-TAIL_BYTES)))
      return
    }
    const answer = parseObject(body.toString('utf8'))
    if (answer !== null) this.#takeMessage(answer)
    else this.#take(searchUsage(body.subarray(-TAIL_BYTES)))
    // What count_tokens answers is about a call that was not made.
  }

  chunk(bytes: Buffer): Buffer {
    this.#splitter.push(bytes)
    return bytes
  }

  flush(): Buffer {
    const rest = this.#splitter.rest()
    if (rest.length > 0) this.event(rest)
    return EMPTY
  }

  event(bytes: Buffer): void {
    const type = EVENT_TYPE.exec(bytes.toString('latin1', 0, TYPE_BYTES))?.[1]
    if (type === undefined) return
    if (type === 'message_stop' || type === 'error') {
      this.complete = true
      return
    }
    const data = bytes.length > PARSED_BYTES_MAX ? null : parseObject(readEvent(bytes).data)
    if (data === null) return
    if (type === 'message_start') this.#takeMessage(asObject(data['message']) ?? {})
    else this.#take(asObject(data['usage']))
  }

  /** No event that is read here is that long. */
  part(): void {}

  #takeMessage(message: Json): void {
    const responseModel = readName(message['model'])
    this.usage = { ...this.usage, responseModel, responseId: readName(message['id']) }
    this.#take(asObject(message['usage']))
  }

  /** Figures are cumulative: the last one of each kind counts. */
  #take(usage: Json | null): void {
    if (usage === null) return
    const { inputTokens, outputTokens, cachedTokens, reasoningTokens } = this.usage
    const details = asObject(usage['output_tokens_details'])
    this.usage = {
      ...this.usage,
      inputTokens: promptTokens(usage) ?? inputTokens,
      outputTokens: readCount(usage['output_tokens']) ?? outputTokens,
      cachedTokens: readCount(usage['cache_read_input_tokens']) ?? cachedTokens,
      reasoningTokens: readCount(details?.['thinking_tokens']) ?? reasoningTokens,
    }
  }
}

/** The whole prompt: `input_tokens` leaves out what was read from a cache or written to one. */
function promptTokens(usage: Json): number | null {
  const plain = readCount(usage['input_tokens'])
  if (plain === null) return null
  const read = readCount(usage['cache_read_input_tokens']) ?? 0
  return plain + read + (readCount(usage['cache_creation_input_tokens']) ?? 0)
}
