/**
 * What a reader, and a model's tokenizer, sees of a text: compatibility forms resolved (UAX #15,
 * NFKC), what has no width removed, marks that hide letters taken off, tag characters and letters in
 * boxes read as the ASCII they stand for, digits, dashes and apostrophes of all kinds as those of ASCII.
 */

import { withoutHidingMarks } from './marks.ts'
import { SimpleUnits } from './simple-units.ts'
import { Units } from './units.ts'

/**
 * Format characters, default ignorables (U+00AD, U+034F, U+200B-F, U+2060, U+FEFF, variation selectors …),
 * lone surrogates, controls that are no white space, noncharacters, U+FFFC; and letters in boxes, which
 * NFKC leaves alone, and in brackets, of which it makes more than they say.
 */
const INVISIBLE =
  /[[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\p{Noncharacter_Code_Point}\ufffc\u2474-\u247c\u249c-\u24b5\u{1f110}-\u{1f129}\u{1f150}-\u{1f169}\u{1f170}-\u{1f189}\u{1f1e6}-\u{1f1ff}]--[\t-\r\x85]]/gv
/** Tags, in brackets, white on black, regional indicators: first and last, and what the first stands for. */
const SHADOWS = [
  [0xe0020, 0xe007e, 0x20],
  [0x2474, 0x247c, 0x31],
  [0x249c, 0x24b5, 0x61],
  [0x1f110, 0x1f129, 0x41],
  [0x1f150, 0x1f169, 0x41],
  [0x1f170, 0x1f189, 0x41],
  [0x1f1e6, 0x1f1ff, 0x41],
] as const

const READS_OTHERWISE = /[^\t-\r\x20-\x7e]/

/** Whether a text may read otherwise than it is written: it has controls in it, or more than ASCII. */
export function mayReadOtherwise(text: string): boolean {
  return READS_OTHERWISE.test(text)
}

const FOLDS = /[[\p{Nd}\p{Pd}\u2018\u2019\u2212]--\p{ASCII}]/gv

/** The text as it reads; the same string when nothing had to change. */
export function normaliseText(text: string): string {
  return composed(text.replace(INVISIBLE, visible))
}

/** How what is visible reads. */
function composed(visibly: string): string {
  return withoutHidingMarks(visibly).normalize('NFKC').replace(FOLDS, asciiOf)
}

function visible(character: string): string {
  const point = character.codePointAt(0) ?? 0
  for (const [first, last, ascii] of SHADOWS) {
    if (point >= first && point <= last) return String.fromCharCode(point - first + ascii)
  }
  return ''
}

/** Digits of all scripts have their values in order; dashes and quotes read as one. */
function asciiOf(character: string): string {
  const point = character.codePointAt(0) ?? 0
  if (/\p{Pd}|\u2212/u.test(character)) return '-'
  if (point === 0x2018 || point === 0x2019) return "'"
  return digitOf(point)
}

/** Decimal digits come in runs of ten (Unicode, PropList: Nd); the place in the run is the value. */
function digitOf(point: number): string {
  let zero = point
  while (point - zero < 60 && /\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero--
  return String((point - zero) % 10)
}

/** Units of a long text normalised at once: NFKC sorts marks in quadratic time, 0.1 ms for this many. */
const SLICE_UNITS = 256
/** Units looked up one by one in a go. */
const WINDOW_UNITS = 8192
/** Behind so many simple units in a row looking them up one by one is worth it again. */
const RUN_UNITS = 16

/** What single units read as, for all texts. */
export const READS = new SimpleUnits(normaliseText)

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
  /** What stands from `#first` on, `#count` units. */
  readonly #units: Units
  #first = 0
  #count = 0
  /** The last piece was looked up unit by unit. */
  isQuick = false

  constructor(text: string) {
    this.#text = text
    this.#units = new Units(Math.min(WINDOW_UNITS, text.length))
  }

  /** The next piece, which may be empty; null at the end. */
  next(): string | null {
    this.isQuick = false
    if (this.#at >= this.#text.length) return null
    if (this.#held === '') {
      const piece = this.#simple()
      if (piece !== '') return piece
      const apart = this.#apart()
      if (apart !== '') return normaliseText(apart)
    }
    const to = wholeCharacters(this.#text, this.#at + SLICE_UNITS)
    const visibly = this.#text.slice(this.#at, to).replace(INVISIBLE, visible)
    this.#at = to
    const text = this.#held + visibly
    const isWhole = to >= this.#text.length || READS.isSimple(this.#text.charCodeAt(to))
    const cut = isWhole ? text.length : lastStart(text)
    this.#held = text.slice(cut)
    return composed(text.slice(0, cut))
  }

  /**
   * What begins here as long as units are simple: ten times as fast as a slice, and most of a text in
   * Chinese or Russian. Empty where one is not.
   */
  #simple(): string {
    if (this.#at >= this.#first + this.#count) {
      this.#first = this.#at
      this.#count = this.#units.fill(this.#text, this.#at, this.#text.length)
    }
    const from = this.#at - this.#first
    const stop = READS.read(this.#units.values, from, this.#count)
    const isCut = stop === this.#count && this.#first + stop < this.#text.length
    // What follows the last unit of a window may merge with it.
    const isAlone = !isCut || READS.isSimple(this.#text.charCodeAt(this.#first + stop))
    const to = isAlone ? stop : Math.max(from, stop - 1)
    this.#at = this.#first + to
    this.isQuick = to > from
    return this.#units.text(from, to)
  }

  /** What begins here up to where simple units begin again, which nothing before them changes. */
  #apart(): string {
    const text = this.#text
    const from = this.#at
    const most = Math.min(text.length, from + SLICE_UNITS)
    let end = from
    let run = 0
    for (let at = from + 1; at < most && run < RUN_UNITS; at++) {
      const isSimple = READS.isSimple(text.charCodeAt(at))
      if (isSimple) end = at - run
      run = isSimple ? run + 1 : 0
    }
    if (most === text.length && run < RUN_UNITS) end = most
    this.#at = end
    return text.slice(from, end)
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
