/** What a batch took, from the lines of its output, of OpenAI's form and of Anthropic's. */
import type { Usage } from '../exchange.ts'
import { asObject, type Json, NO_USAGE, parseObject, readName } from './answer-json.ts'
import { readTokens } from './openai-usage.ts'

const LF = 0x0a
/** A longer line is an answer with pictures; it is left out. */
const LINE_BYTES_MAX = 4 * 1024 * 1024

/** Adds up the lines of an output file as it passes, split anywhere. Never throws. */
export class BatchUsage {
  #inputTokens = 0
  #outputTokens = 0
  #count = 0
  /** The model of all lines; null where they differ. */
  #model: string | null | undefined
  #held: Buffer[] = []
  #heldBytes = 0

  /** The next bytes. */
  push(bytes: Buffer): void {
    for (let from = 0; from < bytes.length;) {
      const found = bytes.indexOf(LF, from)
      const to = found === -1 ? bytes.length : found
      this.#hold(bytes.subarray(from, to))
      if (found !== -1) this.end()
      from = to + 1
    }
  }

  /** The last line has no end of its own. */
  end(): void {
    const isRead = this.#heldBytes > 1 && this.#heldBytes <= LINE_BYTES_MAX
    if (isRead) this.#line(Buffer.concat(this.#held).toString('utf8'))
    this.#held = []
    this.#heldBytes = 0
  }

  /** Of all lines so far; null where none of them said anything. */
  get usage(): Usage | null {
    if (this.#count === 0) return null
    return {
      ...NO_USAGE,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      serviceTier: 'batch',
      responseModel: this.#model ?? null,
    }
  }

  #hold(bytes: Buffer): void {
    this.#heldBytes += bytes.length
    if (this.#heldBytes <= LINE_BYTES_MAX) this.#held.push(bytes)
    else this.#held = []
  }

  #line(text: string): void {
    const answer = answerOf(text)
    const usage = asObject(answer?.['usage'])
    if (answer === null || usage === null) return
    const { inputTokens, outputTokens } = readTokens(usage)
    this.#count += 1
    this.#inputTokens += inputTokens ?? 0
    this.#outputTokens += outputTokens ?? 0
    const model = readName(answer['model'])
    this.#model = this.#model === undefined || this.#model === model ? model : null
  }
}

/** The answer in a line: `response.body` (OpenAI) or `result.message` (Anthropic). */
function answerOf(text: string): Json | null {
  const line = parseObject(text)
  const body = asObject(asObject(line?.['response'])?.['body'])
  return body ?? asObject(asObject(line?.['result'])?.['message'])
}
