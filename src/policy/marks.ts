/**
 * Marks that cover a word and spell nothing: `z̶e̶u̶s̶` is read as `zeus`. What a letter and its marks compose
 * to (UAX #15) is how the letter is spelled, and marks of Hebrew, Arabic, Indic and the like stay on
 * letters of theirs; a letter with anything more on it is the letter.
 */

import { flagsOf, GENERAL, MARKS, UNMARKED } from './character-flags.ts'

/** Below there are no marks. */
const FIRST_MARK = 0x300
const IS_MARK = /\p{M}/u

/** A letter and what stands on it, and whether that spells it: texts say the same few again and again. */
const SPELLED = new Map<string, boolean>()
const SPELLED_MAX = 4096
/** No letter is spelled with more units than this. */
const LETTER_UNITS_MAX = 16

/**
 * `text`, in which nothing is invisible, without marks that hide letters: the same string where it has
 * none. A mark at the beginning stands on nothing that can be seen, and goes. Linear in the text.
 */
export function withoutHidingMarks(text: string): string {
  let kept = ''
  let from = 0
  /** Of the last character that is no mark: where it begins, and what it is. */
  let base = -1
  let baseFlags = 0
  for (let at = 0; at < text.length;) {
    const point = pointAt(text, at)
    const flags = point < FIRST_MARK ? UNMARKED : flagsOf(point)
    if ((flags & MARKS) === 0) {
      base = at
      baseFlags = flags
      at += unitsOf(point)
      continue
    }
    const end = marksEnd(text, at)
    const stay = marksThatStay(text, { base, baseFlags, at, end })
    if (stay !== null) {
      kept += text.slice(from, at) + stay
      from = end
    }
    at = end
  }
  return from === 0 ? text : kept + text.slice(from)
}

/** Marks from `at` to `end` on the character at `base`, of which `baseFlags` hold; -1 where there is none. */
interface Marked {
  readonly base: number
  readonly baseFlags: number
  readonly at: number
  readonly end: number
}

/** Null where all of them do. */
function marksThatStay(text: string, { base, baseFlags, at, end }: Marked): string | null {
  if (base === -1) return ''
  if ((baseFlags & UNMARKED) !== 0) return spells(text, base, end) ? null : ''
  let stay = ''
  for (let next = at; next < end;) {
    const point = pointAt(text, next)
    if ((flagsOf(point) & GENERAL) === 0) stay += String.fromCodePoint(point)
    next += unitsOf(point)
  }
  return stay.length === end - at ? null : stay
}

function marksEnd(text: string, from: number): number {
  let at = from
  while (at < text.length) {
    const point = pointAt(text, at)
    if (point < FIRST_MARK || (flagsOf(point) & MARKS) === 0) return at
    at += unitsOf(point)
  }
  return at
}

function spells(text: string, base: number, end: number): boolean {
  if (end - base > LETTER_UNITS_MAX) return false
  const letter = text.slice(base, end)
  const known = SPELLED.get(letter)
  if (known !== undefined) return known
  if (SPELLED.size >= SPELLED_MAX) SPELLED.clear()
  const answer = !IS_MARK.test(letter.normalize('NFKC'))
  SPELLED.set(letter, answer)
  return answer
}

function pointAt(text: string, at: number): number {
  const unit = text.charCodeAt(at)
  return unit >= 0xd800 && unit <= 0xdbff ? (text.codePointAt(at) ?? unit) : unit
}

function unitsOf(point: number): number {
  return point > 0xffff ? 2 : 1
}
