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
  TAIL_BYTES,
} from './answer-json.ts'
import { addParts, NO_PARTS, type PartNames, promptTokens } from './prompt-parts.ts'
import { isWholeEvent, readEvent, SseSplitter } from './sse.ts'
import { searchUsage } from './usage-search.ts'

/** The event's type stands in its `event:` line, after comments and an id where there are any. */
const TYPE_BYTES = 256
const EVENT_TYPE =
  /^(?:\u00ef\u00bb\u00bf)?event: ?(message_start|message_delta|message_stop|error)\s/m

/** A fresh meter. Anthropic reports usage unasked, so nothing is ever dropped. */
export function meter(): Meter {
  return new AnthropicMeter()
}

const EMPTY = Buffer.alloc(0)
const PROMPT: PartNames = {
  fresh: ['input_tokens'],
  read: ['cache_read_input_tokens'],
  written: ['cache_creation_input_tokens'],
}

class AnthropicMeter implements Meter, EventSink {
  complete = false
  usage: Usage = NO_USAGE
  readonly #splitter = new SseSplitter(this)
  #prompt = NO_PARTS

  get isOver(): boolean {
    return this.complete
  }

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
    if (isWholeEvent(rest)) this.event(rest)
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
    const { outputTokens, reasoningTokens } = this.usage
    this.#prompt = addParts(this.#prompt, usage, PROMPT)
    const details = asObject(usage['output_tokens_details'])
    this.usage = {
      ...this.usage,
      inputTokens: promptTokens(this.#prompt),
      outputTokens: readCount(usage['output_tokens']) ?? outputTokens,
      cachedTokens: this.#prompt.read,
      reasoningTokens: readCount(details?.['thinking_tokens']) ?? reasoningTokens,
    }
  }
}
