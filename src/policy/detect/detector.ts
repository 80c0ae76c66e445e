/** What detectors are made of, and the questions about places in a text that all of them ask. */

/** A value that was found: UTF-16 offsets into the text that was searched, end exclusive. */
export interface Match {
  readonly start: number
  readonly end: number
  /** For `join`: what this one is worth. */
  readonly score?: number
}

/** Takes a value that was found. */
export type Found = (start: number, end: number) => void

/** A maximal run of digit groups with at most three separators between two of them. */
export interface NumberRun {
  readonly count: number
  /** Offset of the first digit of group `index`. */
  start(index: number): number
  /** Offset behind the last digit of group `index`. */
  end(index: number): number
}

/**
 * Finds one kind of value. One pass over a text, shared by all detectors in use, calls the methods a
 * detector has at the places that might hold a value. Each call does work that is bounded by a
 * constant or by the length of its candidate, so the whole is linear in the text. Detectors see text
 * as `NormalText` has it: ASCII digits, ASCII hyphens and spaces, nothing invisible.
 */
export interface Detector {
  readonly id: string
  /** Longest match, in UTF-16 units; what a stream has to hold back. */
  readonly charsMax: number
  /**
   * Most of a match that can stand before its literal, UTF-16 units; only where every match has one,
   * so that of a stream without literals little has to be held back.
   */
  readonly charsBefore?: number
  /** Whether no value can come of the literal at `start` any more, whatever follows the text. */
  readonly isOver?: (text: string, start: number, literal: string) => boolean
  /** Folded words (`foldUnit`); `atLiteral` is called for each occurrence. */
  readonly literals?: readonly string[]
  readonly atLiteral?: (text: string, start: number, literal: string) => Match | null
  readonly atNumbers?: (text: string, run: NumberRun, found: Found) => void
  /** A maximal run of letters, digits and `-_+/=`, between 20 and 256 long. */
  readonly atToken?: (text: string, start: number, end: number) => Match | null
  /** A word that begins with two letters and two digits. */
  readonly atCountryWord?: (text: string, start: number) => Match | null
  /** Makes values out of what the other methods found, in order of place, where that is only clues. */
  readonly join?: (clues: readonly Match[]) => readonly Match[]
}

/** Whether the unit at `at` is an ASCII letter, a digit or `_`. */
export function isWord(text: string, at: number): boolean {
  const unit = text.charCodeAt(at)
  return isAlphanumeric(unit) || unit === 0x5f
}

/** Whether a UTF-16 unit is an ASCII digit. */
export function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39
}

/** Whether a UTF-16 unit is an ASCII letter. */
export function isLetter(unit: number): boolean {
  const lower = unit | 0x20
  return lower >= 0x61 && lower <= 0x7a && unit < 0x80
}

/** Whether a UTF-16 unit is an ASCII letter or digit. */
export function isAlphanumeric(unit: number): boolean {
  return isDigit(unit) || isLetter(unit)
}

const BACKSLASH = 0x5c

const UNDERSCORE = 0x5f
/** Markdown's emphasis: `_so_`, `__so__`, `___so___`. */
export const EMPHASIS_MAX = 3

/**
 * Whether a value can begin at `at`: nothing word-like before it, where the end of an escape (`\n`,
 * a six-character JSON escape, `%3D`) is not part of a word, nor is Markdown's emphasis.
 */
export function beginsAt(text: string, at: number): boolean {
  return at === 0 || !isWord(text, at - 1) || isEmphasisBefore(text, at) || isEscapeBefore(text, at)
}

/** Whether a value can end at `at`: nothing word-like goes on, Markdown's emphasis aside. */
export function endsAt(text: string, at: number): boolean {
  if (!isWord(text, at)) return true
  let to = at
  while (text.charCodeAt(to) === UNDERSCORE && to - at < EMPHASIS_MAX) to++
  return to > at && !isWord(text, to)
}

/** Whether underscores stand before `at` that no word stands before: `_` in `(_so_)`, not in `a_so`. */
export function isEmphasisBefore(text: string, at: number): boolean {
  let from = at
  while (text.charCodeAt(from - 1) === UNDERSCORE && at - from < EMPHASIS_MAX) from--
  return from < at && (from === 0 || !isWord(text, from - 1))
}

/** Whether an escape sequence of JSON or of a URL ends right before `at`. */
export function isEscapeBefore(text: string, at: number): boolean {
  if (at >= 2 && text.charCodeAt(at - 2) === BACKSLASH) return /[nrtbf]/.test(text.charAt(at - 1))
  if (at >= 3 && text.charAt(at - 3) === '%') return /^[\dA-F]{2}$/i.test(text.slice(at - 2, at))
  if (at < 6 || text.charCodeAt(at - 6) !== BACKSLASH) return false
  return /^\\u[\dA-F]{4}$/i.test(text.slice(at - 6, at))
}

/** A set of ASCII units, by regular expression of one. */
export function unitsOf(pattern: RegExp): (unit: number) => boolean {
  const table = Uint8Array.from({ length: 128 }, (_, unit) =>
    pattern.test(String.fromCharCode(unit)) ? 1 : 0,
  )
  return (unit) => unit < 128 && table[unit] === 1
}

/** Offset of the first unit from `at` on that `accepts` does not take, at most `at + max`. */
export function runEnd(
  text: string,
  at: number,
  max: number,
  accepts: (unit: number) => boolean,
): number {
  const last = Math.min(text.length, at + max)
  let end = at
  while (end < last && accepts(text.charCodeAt(end))) end++
  return end
}

/** How many different characters a text has. */
export function distinctIn(text: string): number {
  let low = 0
  let digits = 0
  let upper = 0
  let lower = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const bit = 1 << (unit & 31)
    if (unit < 0x20) low |= bit
    else if (unit < 0x40) digits |= bit
    else if (unit < 0x60) upper |= bit
    else if (unit < 0x80) lower |= bit
    else return new Set(text).size
  }
  return bitsIn(low) + bitsIn(digits) + bitsIn(upper) + bitsIn(lower)
}

function bitsIn(word: number): number {
  let bits = 0
  for (let rest = word; rest !== 0; rest &= rest - 1) bits++
  return bits
}

/** Shannon entropy of a text of at most 65,535 UTF-16 units, bits a unit. */
export function entropyOf(text: string): number {
  const counts = new Uint16Array(128)
  const beyond = new Map<number, number>()
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 128) counts[unit] = (counts[unit] ?? 0) + 1
    else beyond.set(unit, (beyond.get(unit) ?? 0) + 1)
  }
  let bits = 0
  for (const count of counts) bits += surprise(count, text.length)
  for (const count of beyond.values()) bits += surprise(count, text.length)
  return bits
}

function surprise(count: number, all: number): number {
  return count === 0 ? 0 : -(count / all) * Math.log2(count / all)
}

/** What people write where a secret would be. */
const PLACEHOLDER =
  /x{5}|\*{3}|\.{3}|0{6}|1234567890|your|placeholder|change-?_?me|replace|insert|redacted|dummy|fake[-_]|sample|<|>|\{|\}|\$\(/i

/** Whether a would-be secret is a stand-in: spelled as one, or few letters again and again. */
export function isPlaceholder(value: string): boolean {
  return distinctIn(value) < Math.min(6, value.length / 2) || PLACEHOLDER.test(value)
}
