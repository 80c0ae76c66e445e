/** Reads usage out of Ollama answers: one JSON object, or one a line of which the last has `done`. */
import type { Meter, Usage } from '../exchange.ts'
import {
  NO_USAGE,
  parseObject,
  PARSED_BYTES_MAX,
  readCount,
  readName,
  TAIL_BYTES,
} from './answer-json.ts'

const LINE_FEED = 0x0a
const EMPTY = Buffer.alloc(0)
const INPUT = /"prompt_eval_count"\s*:\s*(\d{1,10})\b/g
const OUTPUT = /"eval_count"\s*:\s*(\d{1,10})\b/g

/** A fresh meter. Usage comes unasked. */
export function meter(): Meter {
  return new OllamaMeter()
}

class OllamaMeter implements Meter {
  complete = false
  usage: Usage = NO_USAGE
  /** The line that is not complete yet; one that grows too long is not read. */
  #held = EMPTY
  #isOversize = false

  get isOver(): boolean {
    return this.complete
  }

  whole(body: Buffer): void {
    this.complete = true
    if (body.length <= PARSED_BYTES_MAX && this.#take(body)) return
    // Of a long answer only the end was kept, which has the counts.
    const end = body.toString('latin1', Math.max(0, body.length - TAIL_BYTES))
    this.usage = {
      ...this.usage,
      inputTokens: lastCount(end, INPUT),
      outputTokens: lastCount(end, OUTPUT),
    }
  }

  chunk(bytes: Buffer): Buffer {
    let start = 0
    for (let at = bytes.indexOf(LINE_FEED); at !== -1; at = bytes.indexOf(LINE_FEED, start)) {
      this.#line(bytes.subarray(start, at))
      start = at + 1
    }
    this.#hold(bytes.subarray(start))
    return bytes
  }

  flush(): Buffer {
    this.#line(EMPTY)
    return EMPTY
  }

  #hold(rest: Buffer): void {
    if (rest.length === 0 || this.#isOversize) return
    this.#isOversize = this.#held.length + rest.length > PARSED_BYTES_MAX
    this.#held = this.#isOversize ? EMPTY : Buffer.concat([this.#held, rest])
  }

  #line(end: Buffer): void {
    const line = this.#held.length === 0 ? end : Buffer.concat([this.#held, end])
    this.#held = EMPTY
    const isRead = !this.#isOversize && line.length <= PARSED_BYTES_MAX
    this.#isOversize = false
    if (isRead && (line.includes('"done"') || line.includes('"error"'))) this.#take(line)
  }

  /** False for what is no object. */
  #take(line: Buffer): boolean {
    const answer = parseObject(line.toString('utf8'))
    if (answer === null) return false
    if (answer['done'] === true || 'error' in answer) this.complete = true
    this.usage = {
      ...this.usage,
      responseModel: readName(answer['model']) ?? this.usage.responseModel,
      inputTokens: readCount(answer['prompt_eval_count']) ?? this.usage.inputTokens,
      outputTokens: readCount(answer['eval_count']) ?? this.usage.outputTokens,
    }
    return true
  }
}

/** The last one: text cannot pass for it, inside a JSON string its quotes are escaped. */
function lastCount(end: string, member: RegExp): number | null {
  const told = [...end.matchAll(member)].at(-1)?.[1]
  return told === undefined ? null : readCount(Number(told))
}
