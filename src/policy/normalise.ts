/**
 * What a reader, and a model's tokenizer, sees of a text: compatibility forms resolved (UAX #15,
 * NFKC), what has no width removed, tag characters read as the ASCII they shadow.
 */

import { CONTINUES, flagsOf, isPlainBefore } from './character-flags.ts'

/** Format characters, default ignorables (U+00AD, U+034F, U+200B-F, U+2060, U+FEFF, variation selectors …), lone surrogates. */
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}]/gu
const TAG_FIRST = 0xe0020
const TAG_LAST = 0xe007e
/** Distance from a tag character to the ASCII character it stands for. */
const TAG_BASE = 0xe0000

/** The text as it reads; the same string when nothing had to change. */
export function normaliseText(text: string): string {
  return text.replace(INVISIBLE, visible).normalize('NFKC')
}

function visible(character: string): string {
  const point = character.codePointAt(0) ?? 0
  const isTag = point >= TAG_FIRST && point <= TAG_LAST
  return isTag ? String.fromCharCode(point - TAG_BASE) : ''
}

/** Units of a long text normalised at once: NFKC sorts marks in quadratic time, 0.1 ms for this many. */
const SLICE_UNITS = 256

/** Units looked at one by one in a go: what 32 slices hold. */
const APART_UNITS_MAX = 32 * SLICE_UNITS

/** Reads on in a character: never cut before it (marks, Hangul vowels and finals, sound marks). */
const READS_ON = /^[\p{M}\u1160-\u11ff\ud7b0-\ud7ff\u3130-\u318f\uff9e-\uffdf\u{16d63}-\u{16d6a}]/u

/**
 * Normalises a long text slice by slice: the pieces joined are `normaliseText` of the whole, and none
 * ends inside a pair or before a mark of its last character. Only where more than 256 units of marks
 * follow each other (Stream-Safe Text of UAX #15 allows 30) are they cut apart.
 */
export class Normaliser {
  readonly #text: string
  #at = 0
  /** Visible, not composed yet: what follows may still belong to it. */
  #held = ''
  readonly #singles = new Map<number, string>()

  constructor(text: string) {
    this.#text = text
  }

  /** The next piece, which may be empty; null at the end. */
  next(): string | null {
    if (this.#at >= this.#text.length) return null
    if (this.#held === '') {
      const apart = this.#apart()
      if (apart !== '') return apart
    }
    const to = wholeCharacters(this.#text, this.#at + SLICE_UNITS)
    const visibly = this.#text.slice(this.#at, to).replace(INVISIBLE, visible)
    this.#at = to
    const text = this.#held + visibly
    const cut = to >= this.#text.length ? text.length : lastStart(text)
    this.#held = text.slice(cut)
    return text.slice(0, cut).normalize('NFKC')
  }

  /**
   * What begins here as long as characters have nothing to do with each other, looked up one by one:
   * three times as fast as a slice, and most of a text in Chinese or Russian. Empty where one has.
   */
  #apart(): string {
    const text = this.#text
    const most = Math.min(text.length, this.#at + APART_UNITS_MAX)
    let read = ''
    let from = this.#at
    let at = from
    for (; at < most; at++) {
      const unit = text.charCodeAt(at)
      const next = at + 1 < text.length ? text.charCodeAt(at + 1) : 0
      if (isPlainBefore(unit, next)) continue
      const flags = flagsOf(unit)
      // Surrogates and what is invisible count as going on, too.
      if (((flags | flagsOf(next)) & CONTINUES) !== 0) break
      if (flags === 0) continue
      read += text.slice(from, at) + this.#single(unit)
      from = at + 1
    }
    this.#at = at
    return read + text.slice(from, at)
  }

  #single(unit: number): string {
    let read = this.#singles.get(unit)
    if (read === undefined) {
      read = normaliseText(String.fromCharCode(unit))
      this.#singles.set(unit, read)
    }
    return read
  }
}

/** `to`, or one less where that would cut a pair. */
function wholeCharacters(text: string, to: number): number {
  if (to >= text.length) return text.length
  return isHigh(text.charCodeAt(to - 1)) && isLow(text.charCodeAt(to)) ? to - 1 : to
}

/** Where the last character of `text` begins that nothing before can change; its end when too long. */
function lastStart(text: string): number {
  for (let at = text.length - 1; at > 0; at--) {
    if (isLow(text.charCodeAt(at))) at--
    if (!READS_ON.test(text.slice(at, at + 2)))
      return at > 0 || text.length <= SLICE_UNITS ? at : text.length
  }
  return text.length <= SLICE_UNITS ? 0 : text.length
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}
