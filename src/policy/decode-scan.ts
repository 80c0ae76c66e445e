import { escapesAt, isHexDigit } from './decode-escapes.ts'
import type { Patch, Patches } from './decode-patch.ts'
import { BASE64_MIN, hexText, mayRead, runIn } from './decode-runs.ts'
import {
  endsWord,
  EQUAL,
  ESCAPE,
  isMark,
  JOINT,
  KIND_OF,
  LINE_END,
  ODD,
  OTHER,
  SERIES_MIN,
  WIDE,
} from './decode-sieve.ts'
import {
  isMostlyDigits,
  letterRuns,
  lettersFrom,
  spelled,
  spelledPart,
  usualGap,
} from './decode-spelled.ts'
import { Units } from './units.ts'

/**
 * Reads a stretch of a text for what stands for other text: escapes, runs of base64 and hexadecimal
 * digits, words that are spaced letter by letter.
 */

const EQUALS = 0x3d
const QUOTE = 0x22
/** Signs of Chinese, Japanese and Korean begin here; their punctuation behind their space. */
const CHINESE = 0x2e80
const WIDE_SPACE = 0x3000

/** Lines of base64 that go on in the next are at least this long; MIME and PEM have 76 and 64. */
const LINE_MIN = 40
/** Units that are looked up in a go; most stretches are short. */
const WINDOW_UNITS = 256
/** Texts take turns in it; it is filled again before anything is read. */
const UNITS = new Units(WINDOW_UNITS)
/** Most that stands between two letters of a word that is spaced. */
const GAP_MAX = 3
/** Units before the end of the fourth word of a series in which the first begins, at most. */
export const SERIES_UNITS_MAX = SERIES_MIN * (4 + GAP_MAX)
/** Letters, or bytes, that are read in one go. */
const SERIES_MAX = 8 * 1024
/** Shorter words may be part of a series. */
const SHORT_MAX = 4

/** One pass over a stretch of a text, or over all of it, in as many steps as its caller likes. */
export class DecodeScan {
  /** Something was encoded. */
  hasFound = false
  /** There are characters that read as others, which were passed over. */
  isOdd = false
  /** A word was spaced letter by letter. */
  hasSpelled = false
  readonly #text: string
  readonly #into: Patches
  readonly #spells: boolean
  #at = 0
  /** Behind what was found last. */
  #foundTo = 0
  /** Behind this unit the stretch ends where nothing is going on. */
  #until = Infinity
  #hasEnded = false
  /** Where the word begins that is going on, and the run of base64. */
  #word = 0
  #token = 0
  /** The run has parts: joints or line ends. */
  #hasParts = false
  #isMarked = false
  /** Up to here a run was no text as a whole, and is read again part by part. */
  #partsTo = -1
  /** Begin and end of words that are one letter or one byte, one after the other; and which of both. */
  readonly #series: number[] = []
  #seriesUnits = 0
  #isSeries = false
  /** The gap between most letters of a long series that is told in parts; null of another. */
  #usualGap: string | null = null

  /** With `spells` words are found that are spaced. */
  constructor(text: string, into: Patches, spells = true) {
    this.#text = text
    this.#into = into
    this.#spells = spells
  }

  /** Where it goes on. */
  get at(): number {
    return this.#at
  }

  /** Whether nothing is going on behind the unit up to which it was to read. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Reads from `at` on, until nothing is going on behind `until`. */
  begin(at: number, until: number): void {
    this.#at = this.#word = this.#token = at
    this.#until = until
    this.#hasEnded = false
    this.#hasParts = false
    this.#isMarked = false
  }

  /**
   * Goes on up to `to`, or for as many units where it goes back to read a run again; false where that is
   * the end of the text, and `finish` is to follow.
   */
  run(to: number): boolean {
    const { length } = this.#text
    const end = Math.min(to, length)
    let left = end - this.#at
    while (this.#at < end && left > 0 && !this.#hasEnded) {
      const from = this.#at
      const count = UNITS.fill(this.#text, from, end)
      this.#at = from + this.#runUnits(from, count)
      left -= count
    }
    return this.#at < length
  }

  /** Reads the units in hand, the first of which stands at `from`; returns how many it has read. */
  #runUnits(from: number, count: number): number {
    const { values } = UNITS
    for (let i = 0; i < count; i++) {
      const kind = KIND_OF[values[i]!]!
      const at = from + i
      if (kind < JOINT) {
        if (isMark(kind, at === this.#word)) this.#isMarked = true
        continue
      }
      if (!this.#isMarked && kind !== ESCAPE && this.#passes(at, kind)) {
        if (at <= this.#until || at <= this.#partsTo || !endsWord(kind)) continue
        this.#hasEnded = true
        return i + 1
      }
      const last = this.#stop(at, kind)
      // It goes on behind what was read, or before it.
      if (last < from - 1 || last >= from + count) return last + 1 - from
      i = last - from
    }
    return count
  }

  /** Most of a text: the end of a word of small letters where nothing is going on. */
  #passes(at: number, kind: number): boolean {
    if (this.#isSeries) return false
    if (kind === WIDE) {
      this.#token = at + 1
      return true
    }
    if (kind === ODD) return false
    if (kind === EQUAL) {
      const next = this.#text.charCodeAt(at + 1)
      if (next === EQUALS || isHexDigit(next)) return false
    }
    if (at - this.#word === 1 || (kind === JOINT && at <= this.#partsTo)) return false
    this.#word = at + 1
    this.#hasParts = kind === JOINT
    if (kind !== JOINT) this.#token = at + 1
    return true
  }

  /** What ends where the text does; false where a part of it is to be read again. */
  finish(): boolean {
    const { length } = this.#text
    const last = this.#stop(length, OTHER)
    if (last < length) this.#at = last + 1
    else this.#endSeries()
    return last >= length
  }

  /** Before `finish`: where begins what may go on behind the end of the text. */
  openAt(): number {
    const text = this.#text
    let open = text.length
    const token = text.slice(Math.max(this.#token, text.length - TOKEN_OPEN_MAX))
    for (const part of [token, ...token.split(/[-+/_]/).slice(-1)]) {
      if (mayRead(part, 0, part.length) || isHexadecimal(part)) {
        open = Math.min(open, text.length - part.length)
      }
    }
    const [first] = this.#series
    if (first !== undefined && text.length - (this.#series.at(-1) ?? 0) <= SHORT_MAX + GAP_MAX) {
      open = Math.min(open, first)
    }
    const escape = /(?:[%&\\=][^\s%&\\=]{0,25})+$/.exec(text.slice(-ESCAPES_OPEN_MAX))
    return escape === null ? open : Math.min(open, text.length - escape[0].length)
  }

  /** A unit that ends a word; returns the last unit that was read. */
  #stop(at: number, kind: number): number {
    if (at > this.#partsTo) this.#endWord(at, kind)
    if (kind === JOINT || (kind === LINE_END && this.#wraps(at))) {
      this.#hasParts = true
      if (at > this.#partsTo) return at
    }
    if (at - this.#token >= BASE64_MIN) {
      const again = this.#endToken(at)
      if (again !== NOTHING) return again
    }
    this.#token = at + 1
    this.#hasParts = false
    this.#isMarked = false
    return kind >= ESCAPE ? this.#escape(at) : at
  }

  #endWord(at: number, kind: number): void {
    if (kind === WIDE || kind === ODD) {
      this.isOdd ||= kind === ODD
      return
    }
    const length = at - this.#word
    if (length > SHORT_MAX) this.#endSeries()
    else if (length > 0) this.#short(at)
    this.#word = at + 1
  }

  /** Whether a run of base64 goes on behind a line end. */
  #wraps(at: number): boolean {
    if (at - this.#token < LINE_MIN) return false
    const next = this.#text.charCodeAt(at + 1)
    if (next === 0x0a) return true
    return (KIND_OF[next] ?? OTHER) <= JOINT
  }

  /** A run of base64 ends; returns the unit before the part that has to be read again, `NOTHING` where none has. */
  #endToken(end: number): number {
    const text = this.#text
    const start = this.#token
    // What is padded is no word.
    if (!this.#isMarked && text.charCodeAt(end) !== EQUALS) return NOTHING
    const whole = runIn(text, start, end)
    if (whole !== null) this.#add({ ...whole, isApart: true })
    if (whole !== null || !this.#hasParts || end <= this.#partsTo) return NOTHING
    this.#partsTo = end
    this.#hasParts = false
    this.#isMarked = false
    const lines = end - start > LINE_MIN ? text.slice(start, end).lastIndexOf('\n') : -1
    // What follows the last line of a run may be a word of the next.
    const wrapped = lines === -1 ? null : runIn(text, start, start + lines)
    if (wrapped !== null) this.#add({ ...wrapped, isApart: true })
    if (wrapped !== null) this.#token = start + lines + 1
    return this.#token - 1
  }

  #escape(at: number): number {
    const run = escapesAt(this.#text, at)
    if (run === null) return at
    this.#endSeries()
    this.#add({ ...run, start: at, isApart: false })
    this.#word = run.end
    this.#token = run.end
    this.#isMarked = false
    return run.end - 1
  }

  /** A word of few units ends: it may be a letter of a word, or a byte. */
  #short(end: number): void {
    const start = this.#word
    const units = this.#unitsOf(start, end)
    const before = this.#series.at(-1)
    if (before !== undefined && (units !== this.#seriesUnits || !this.#isGap(before, start))) {
      this.#endSeries()
    }
    if (units === 0) return
    if (this.#series.length >= 2 * SERIES_MAX) this.#tellPart(start, end)
    this.#seriesUnits = units
    this.#series.push(start, end)
    this.#isSeries = true
  }

  /** Letters in quotes are no word, nor are signs of Chinese between two of its commas. */
  #isGap(from: number, to: number): boolean {
    if (to - from > GAP_MAX) return false
    const text = this.#text
    const isChinese = text.charCodeAt(from - 1) >= CHINESE && text.charCodeAt(to) >= CHINESE
    for (let at = from; at < to; at++) {
      const unit = text.charCodeAt(at)
      if (unit === QUOTE || (isChinese && unit > WIDE_SPACE)) return false
    }
    return true
  }

  /** 1 for a letter, 2 for two hexadecimal digits, also behind `0x`; 0 for anything else. */
  #unitsOf(start: number, end: number): 0 | 1 | 2 {
    const text = this.#text
    const length = end - start
    if (length === 1) return 1
    if (length === 3 || !isHexDigit(text.charCodeAt(end - 1))) return 0
    if (length === 4) {
      if ((text.charCodeAt(start + 1) | 0x20) !== 0x78 || text.charCodeAt(start) !== 0x30) return 0
    }
    return isHexDigit(text.charCodeAt(end - 2)) ? 2 : 0
  }

  #endSeries(): void {
    const places = this.#series
    if (places.length === 0) return
    const isPart = this.#usualGap !== null
    if (isPart || places.length >= 2 * SERIES_MIN) {
      this.#tell(places, places.at(-1) ?? 0, !isPart)
    }
    places.length = 0
    this.#isSeries = false
    this.#usualGap = null
  }

  /** What a long series says so far, so that no step takes long; it goes on at `next`. */
  #tellPart(next: number, end: number): void {
    const places = this.#series
    const text = this.#text
    const isSpelled = this.#seriesUnits === 1
    // Not between two bytes of a character.
    if (!isSpelled && /[89ab]/i.test(text.charAt(end - 2)) && places.length < 2 * SERIES_MAX + 8)
      return
    this.#usualGap ??= usualGap(text, places)
    if (isSpelled && isMostlyDigits(text, places)) {
      // Nor between two letters of a word.
      const from = lettersFrom(text, places)
      this.#tell(places.slice(0, from), next, false)
      places.splice(0, from)
      return
    }
    this.#tell(isSpelled ? [...places, next, next] : places, next, false)
    places.length = 0
  }

  /** What a series says, or a part of one that ends where `end` begins. */
  #tell(places: readonly number[], end: number, isApart: boolean): void {
    const [start = 0] = places
    if (this.#seriesUnits !== 1) {
      const read = this.#bytes(places)
      if (read !== null) this.#add({ start, end, text: read, isApart })
    } else if (this.#spells && !isMostlyDigits(this.#text, places)) {
      this.#addSpelled(places, { start, end, isApart })
    } else if (this.#spells) {
      for (const run of letterRuns(this.#text, places)) {
        const [first = 0] = run
        this.#addSpelled(run, { start: first, end: run.at(-1) ?? first, isApart: true })
      }
    }
  }

  #addSpelled(places: readonly number[], { start, end, isApart }: Omit<Patch, 'text'>): void {
    const usual = this.#usualGap
    const text = this.#text
    const read = usual === null ? spelled(text, places) : spelledPart(text, places, usual)
    if (read === null) return
    this.#add({ start, end, text: read, isApart })
    this.hasSpelled = true
  }

  #bytes(places: readonly number[]): string | null {
    let digits = ''
    for (let i = 1; i < places.length; i += 2) {
      const end = places[i] ?? 0
      digits += this.#text.slice(end - 2, end)
    }
    return hexText(digits)
  }

  /** Takes what was found before the stretch. */
  add(patch: Patch): void {
    this.#add(patch)
  }

  #add(patch: Patch): void {
    if (patch.start < this.#foundTo) return
    this.#foundTo = patch.end
    this.hasFound = true
    this.#into.add(patch)
  }
}

/** Most units of escapes at the end of a text that may go on. */
const ESCAPES_OPEN_MAX = 256
/** And of a run of base64 or hexadecimal digits. */
const TOKEN_OPEN_MAX = 8 * 1024

function isHexadecimal(run: string): boolean {
  return /^(?:0x)?[\da-f]*$/i.test(run)
}

/** No unit, and not the one before the first. */
const NOTHING = -2
