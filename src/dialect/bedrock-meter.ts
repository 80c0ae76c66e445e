/** Reads usage out of Bedrock's answers as they pass, and checks every frame of a stream. */
import { GovernorError } from '../errors.ts'
import type { Meter, Route, Usage } from '../exchange.ts'
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
import { FrameError, FrameSplitter, readFrame } from './bedrock-frames.ts'
import { addParts, firstCount, NO_PARTS, type PartNames, promptTokens } from './prompt-parts.ts'
import { searchUsage } from './usage-search.ts'

const EMPTY = Buffer.alloc(0)
/** Converse, Anthropic's own, and what InvokeModel and its metrics say, in this order. */
const PROMPT: PartNames = {
  fresh: ['inputTokens', 'input_tokens', 'inputTokenCount', 'prompt_tokens'],
  read: ['cacheReadInputTokens', 'cache_read_input_tokens', 'cacheReadInputTokenCount'],
  written: ['cacheWriteInputTokens', 'cache_creation_input_tokens', 'cacheWriteInputTokenCount'],
}
const OUTPUT = ['outputTokens', 'output_tokens', 'outputTokenCount', 'completion_tokens'] as const

/** Of answers to InvokeModel, by the names of the figures in the metrics of its streams. */
const HEADERS = [
  ['x-amzn-bedrock-input-token-count', 'inputTokenCount'],
  ['x-amzn-bedrock-output-token-count', 'outputTokenCount'],
  ['x-amzn-bedrock-cache-read-input-token-count', 'cacheReadInputTokenCount'],
  ['x-amzn-bedrock-cache-write-input-token-count', 'cacheWriteInputTokenCount'],
] as const

/** A fresh meter. Usage is in every answer, so nothing is asked for and nothing dropped. */
export function meter({ endpoint }: Pick<Route, 'endpoint'>): Meter {
  return new BedrockMeter(endpoint.api === 'invoke_stream')
}

class BedrockMeter implements Meter {
  complete = false
  usage: Usage = NO_USAGE
  failure: GovernorError | null = null
  readonly #isInvoked: boolean
  readonly #splitter = new FrameSplitter()
  #prompt = NO_PARTS

  constructor(isInvoked: boolean) {
    this.#isInvoked = isInvoked
  }

  /** What models that do not count in their answers took; of others, what their answers say counts. */
  headers(headers: Readonly<Record<string, string | string[] | undefined>>): void {
    const told = HEADERS.map(([header, name]) => [name, toCount(headers[header])])
    this.#takeUsage(Object.fromEntries(told) as Json)
  }

  whole(body: Buffer): void {
    this.complete = true
    const isLong = body.length > PARSED_BYTES_MAX
    const answer = isLong ? null : parseObject(body.toString('utf8'))
    if (answer !== null) this.#take(answer)
    else this.#takeUsage(searchUsage(body.subarray(-TAIL_BYTES)))
  }

  /** Only whole frames go on, so that an error can be said after any of them. */
  chunk(bytes: Buffer): Buffer {
    if (this.failure !== null) return EMPTY
    const whole: Buffer[] = []
    try {
      for (const frame of this.#splitter.push(bytes)) {
        this.#read(frame)
        whole.push(frame)
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.failure = new GovernorError('UPSTREAM_FAILED', { detail: error.message })
    }
    return whole.length === 1 ? whole[0]! : Buffer.concat(whole)
  }

  flush(): Buffer {
    if (this.#splitter.heldBytes > 0) this.complete = false
    return EMPTY
  }

  #read(frame: Buffer): void {
    const { headers, payload } = readFrame(frame)
    // The upstream's own error ends its stream.
    if (headers.get(':message-type') !== 'event') this.complete = true
    if (payload.length > PARSED_BYTES_MAX) return
    if (this.#isInvoked) this.#readChunk(payload)
    else this.#readEvent(headers.get(':event-type') ?? '', payload)
  }

  #readEvent(type: string, payload: Buffer): void {
    if (type === 'messageStop') this.complete = true
    if (type !== 'metadata') return
    this.complete = true
    const event = parseObject(payload.toString('utf8'))
    if (event !== null) this.#take(event)
  }

  /** Events of the model's own, each as base64. */
  #readChunk(payload: Buffer): void {
    const bytes = parseObject(payload.toString('utf8'))?.['bytes']
    if (typeof bytes !== 'string') return
    const text = Buffer.from(bytes, 'base64').toString('utf8')
    const isLast = text.includes('"amazon-bedrock-invocationMetrics"')
    if (isLast || text.includes('"message_stop"')) this.complete = true
    if (!isLast && !text.includes('"message_start"') && !text.includes('"usage"')) return
    const event = parseObject(text)
    if (event === null) return
    this.#take(asObject(event['message']) ?? event)
    this.#takeUsage(asObject(event['amazon-bedrock-invocationMetrics']))
  }

  #take(answer: Json): void {
    this.usage = {
      ...this.usage,
      responseModel: readName(answer['model']) ?? this.usage.responseModel,
      responseId: readName(answer['id']) ?? this.usage.responseId,
    }
    this.#takeUsage(asObject(answer['usage']) ?? titanUsage(answer))
  }

  /** Tokens read from or written to a cache are input, too. */
  #takeUsage(usage: Json | null): void {
    if (usage === null) return
    this.#prompt = addParts(this.#prompt, usage, PROMPT)
    const details = asObject(usage['output_tokens_details'])
    this.usage = {
      ...this.usage,
      inputTokens: promptTokens(this.#prompt),
      outputTokens: firstCount(usage, OUTPUT) ?? this.usage.outputTokens,
      cachedTokens: this.#prompt.read,
      reasoningTokens: readCount(details?.['thinking_tokens']) ?? this.usage.reasoningTokens,
    }
  }
}

function toCount(header: string | string[] | undefined): number | null {
  return typeof header === 'string' && /^\d{1,10}$/.test(header) ? Number(header) : null
}

/** Models that count beside their answer; null for all others. */
function titanUsage(answer: Json): Json | null {
  const input = readCount(answer['inputTextTokenCount'] ?? answer['prompt_token_count'])
  if (input === null) return null
  const results = answer['results']
  const first = Array.isArray(results) ? asObject(results[0]) : null
  const output = readCount(answer['generation_token_count'] ?? first?.['tokenCount'])
  return { inputTokens: input, outputTokens: output ?? 0 }
}
