import type { GovernorError } from '../errors.ts'
import type { Guard } from '../http/relay.ts'

const LF = 0x0a
const CR = 0x0d
const OPEN = 0x7b
const JSON_TYPE = 'application/json'
/** Lines of a batch; a file of more is no such file. */
const LINES_MAX = 100_000

/** Output policies over a file of JSON lines, each an answer of its own. Other files are looked at whole. */
export class LinesGuard implements Guard {
  readonly #inner: Guard

  constructor(inner: Guard) {
    this.#inner = inner
  }

  get failure(): GovernorError | null {
    return this.#inner.failure
  }

  async whole(body: Buffer, contentType: string): Promise<Buffer> {
    const lines = linesOf(body)
    if (lines === null) return this.#inner.whole(body, contentType)
    const passed: Buffer[] = []
    for (const { text, end } of lines) {
      passed.push(text.length === 0 ? text : await this.#inner.whole(text, JSON_TYPE), end)
    }
    return Buffer.concat(passed)
  }

  chunk(bytes: Buffer): Buffer {
    return this.#inner.chunk(bytes)
  }

  flush(): Buffer {
    return this.#inner.flush()
  }
}

interface Line {
  readonly text: Buffer
  /** Its end, as it was. */
  readonly end: Buffer
}

/** Null for a file of which some line is no object. */
function linesOf(body: Buffer): readonly Line[] | null {
  const lines: Line[] = []
  for (let from = 0; from < body.length;) {
    const found = body.indexOf(LF, from)
    const next = found === -1 ? body.length : found + 1
    let to = found === -1 ? next : found
    if (to > from && body[to - 1] === CR) to -= 1
    if (to > from && body[from] !== OPEN) return null
    if (lines.length === LINES_MAX) return null
    lines.push({ text: body.subarray(from, to), end: body.subarray(to, next) })
    from = next
  }
  return lines
}
