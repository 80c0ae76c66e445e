/** JSON escapes inside a text: what a model's tool reads when it parses an argument string. */
import { STRETCH_BYTES } from './steps.ts'

/** JSON in a string in a string: deeper than this nobody decodes. */
export const NESTING_MAX = 3

const SHORT: Readonly<Record<number, number>> = {
  0x22: 0x22,
  0x2f: 0x2f,
  0x5c: 0x5c,
  0x62: 0x08,
  0x66: 0x0c,
  0x6e: 0x0a,
  0x72: 0x0d,
  0x74: 0x09,
}

/**
 * Every reading of `text` with one, two or three levels of JSON escapes removed; none when nothing
 * changes. An escape JSON does not know stays as it is, so text that is not JSON is safe to give.
 */
export function* unescapedReadings(text: string): Generator<void, string[]> {
  const readings: string[] = []
  let last = text
  while (readings.length < NESTING_MAX && last.includes('\\')) {
    const next = yield* unescapeOnce(last)
    if (next === last) break
    readings.push(next)
    last = next
  }
  return readings
}

function* unescapeOnce(text: string): Generator<void, string> {
  const pieces: string[] = []
  const units = new Uint16Array(Math.min(text.length, STRETCH_BYTES / 2))
  const bytes = Buffer.from(units.buffer)
  let at = 0
  while (at < text.length) {
    let used = 0
    while (used < units.length && at < text.length) {
      const unit = text.charCodeAt(at)
      const size = unit === 0x5c ? escapeChars(text, at) : 1
      units[used++] = size === 1 ? unit : escapedUnit(text, at, size)
      at += size
    }
    pieces.push(bytes.toString('utf16le', 0, used * 2))
    if (at < text.length) yield
  }
  return pieces.join('')
}

/** Where the characters of a reading stand in the text it was made of; asked in order, it reads on. */
export class EscapeCursor {
  readonly #text: string
  readonly #begin = { unit: 0, at: 0 }
  readonly #end = { unit: 0, at: 0 }

  constructor(text: string) {
    this.#text = text
  }

  /** Where unit `unit` of the reading begins. */
  begins(unit: number): number {
    return this.#seek(this.#begin, unit)
  }

  /** Where the text ends that reads as the units before `unit`. */
  ends(unit: number): number {
    return this.#seek(this.#end, unit)
  }

  #seek(from: { unit: number; at: number }, unit: number): number {
    if (unit < from.unit) from.unit = from.at = 0
    for (; from.unit < unit && from.at < this.#text.length; from.unit++) {
      from.at += this.#text.charCodeAt(from.at) === 0x5c ? escapeChars(this.#text, from.at) : 1
    }
    return from.at
  }
}

/** Length of the escape at `at`: 6, 2, or 1 when it is none. */
function escapeChars(text: string, at: number): number {
  const letter = text.charCodeAt(at + 1)
  if (letter in SHORT) return 2
  return letter === 0x75 && /^[0-9a-fA-F]{4}$/.test(text.slice(at + 2, at + 6)) ? 6 : 1
}

function escapedUnit(text: string, at: number, size: number): number {
  if (size === 6) return Number.parseInt(text.slice(at + 2, at + 6), 16)
  return SHORT[text.charCodeAt(at + 1)] ?? 0
}
