import { escapesAt, isHexDigit } from './decode-escapes.ts'
import { BASE64_MIN, hexText, mayRead, runIn } from './decode-runs.ts'

/**
 * Finds in one pass over a text what stands for other text: escapes, runs of base64 and hexadecimal
 * digits, words that are spaced letter by letter. About 2 ns a unit where there is nothing.
 */

/** A part of a text, and how it reads; UTF-16 units, end exclusive. */
export interface Patch {
  readonly start: number
  readonly end: number
  readonly text: string
  /** It reads as something of its own, whatever stands before and behind it. */
  readonly isApart: boolean
}

const WORD = 0
/** A digit of base64 that ends a word. */
const JOINT = 1
/** What an escape begins with. */
const ESCAPE = 2
const LINE_END = 3
const OTHER = 4
const WIDE = 5

const KINDS = kinds()

function kinds(): Uint8Array {
  const table = new Uint8Array(128).fill(OTHER)
  for (let unit = 0; unit < 128; unit++) {
    if (/[A-Za-z0-9]/.test(String.fromCharCode(unit))) table[unit] = WORD
  }
  for (const joint of '+/-_') table[joint.charCodeAt(0)] = JOINT
  for (const escape of '%&\\=') table[escape.charCodeAt(0)] = ESCAPE
  for (const end of '\r\n') table[end.charCodeAt(0)] = LINE_END
  return table
}

/** Whether a run of hexadecimal digits or a text in base64 may begin with a unit. */
const BEGINS = begins()

function begins(): Uint8Array {
  const table = new Uint8Array(128)
  for (let unit = 0; unit < 128; unit++) {
    if (isHexDigit(unit) || mayRead(`${String.fromCharCode(unit)}i`, 0, 2)) table[unit] = 1
  }
  return table
}

/** Lines of base64 that go on in the next are at least this long; MIME and PEM have 76 and 64. */
const LINE_MIN = 40
/** Most that stands between two letters of a word that is spaced. */
const GAP_MAX = 3
/** Least letters of a word that is spaced, and bytes of hexadecimal pairs. */
const SERIES_MIN = 4
/** Shorter words may be part of a series. */
const SHORT_MAX = 4
/** Letters of ASCII in other widths, and what is invisible: once normalised, they may stand for something. */
const ODD =
  /[\xad\u200b-\u200f\u2060-\u2064\ufeff\uff05\uff06\uff10-\uff19\uff1d\uff21-\uff3a\uff41-\uff5a\udb40\ud835]/

/** One pass over one text, in as many steps as its caller likes. */
export class DecodeScan {
  readonly patches: Patch[] = []
  /** There are characters that read as others, which were passed over. */
  isOdd = false
  /** A word was spaced letter by letter. */
  hasSpelled = false
  readonly #text: string
  readonly #spells: boolean
  #at = 0
  /** Where the word begins that is going on, and the run of base64. */
  #word = 0
  #token = 0
  /** The run has parts: joints or line ends. */
  #hasParts = false
  /** Up to here a run was no text as a whole, and is read again part by part. */
  #partsTo = -1
  /** Begin and end of words that are one letter or one byte, one after the other; and which of both. */
  readonly #series: number[] = []
  #seriesUnits = 0

  /** With `spells` words are found that are spaced. */
  constructor(text: string, spells = true) {
    this.#text = text
    this.#spells = spells
  }

  /** Goes on up to `to`; false where that is the end of the text, and `finish` is to follow. */
  run(to: number): boolean {
    const text = this.#text
    const end = Math.min(to, text.length)
    let at = this.#at
    for (; at < end; at++) {
      const unit = text.charCodeAt(at)
      const kind = unit < 128 ? (KINDS[unit] ?? OTHER) : WIDE
      if (kind === WORD) continue
      if (kind === OTHER && this.#isNothing(at)) this.#word = this.#token = at + 1
      else at = this.#stop(at, kind)
    }
    this.#at = at
    return at < text.length
  }

  /** What ends where the text does. */
  finish(): void {
    const { length } = this.#text
    const last = this.#stop(length, OTHER)
    if (last < length) {
      this.#at = last + 1
      this.run(length)
      this.#stop(length, OTHER)
    }
    this.#endSeries()
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
    const escape = /(?:[%&\\=][^\s%&\\=]{0,9})+$/.exec(text.slice(-ESCAPES_OPEN_MAX))
    return escape === null ? open : Math.min(open, text.length - escape[0].length)
  }

  /** Most words are long, and no text in base64 or hexadecimal digits begins as they do. */
  #isNothing(at: number): boolean {
    const word = this.#word
    if (at - word <= SHORT_MAX || this.#token !== word || this.#series.length > 0) return false
    return at - word < BASE64_MIN || BEGINS[this.#text.charCodeAt(word)] === 0
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
    return kind === ESCAPE ? this.#escape(at) : at
  }

  #endWord(at: number, kind: number): void {
    if (kind === WIDE) {
      this.isOdd ||= ODD.test(this.#text.charAt(at))
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
    return next < 128 && (KINDS[next] ?? OTHER) <= JOINT
  }

  /** A run of base64 ends; returns the unit before the part that has to be read again, `NOTHING` where none has. */
  #endToken(end: number): number {
    const text = this.#text
    const start = this.#token
    const whole = runIn(text, start, end)
    if (whole !== null) this.#add({ ...whole, isApart: true })
    if (whole !== null || !this.#hasParts || end <= this.#partsTo) return NOTHING
    this.#partsTo = end
    this.#hasParts = false
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
    return run.end - 1
  }

  /** A word of few units ends: it may be a letter of a word, or a byte. */
  #short(end: number): void {
    const start = this.#word
    const units = this.#unitsOf(start, end)
    const before = this.#series.at(-1)
    if (before !== undefined && (units !== this.#seriesUnits || start - before > GAP_MAX)) {
      this.#endSeries()
    }
    if (units === 0) return
    this.#seriesUnits = units
    this.#series.push(start, end)
  }

  /** 1 for a letter, 2 for two hexadecimal digits, also behind `0x`; 0 for anything else. */
  #unitsOf(start: number, end: number): 0 | 1 | 2 {
    const text = this.#text
    if (end - start === 1) return 1
    if (end - start === 4 && text.slice(start, start + 2).toLowerCase() !== '0x') return 0
    if (end - start === 3) return 0
    return isHexDigit(text.charCodeAt(end - 1)) && isHexDigit(text.charCodeAt(end - 2)) ? 2 : 0
  }

  #endSeries(): void {
    const places = this.#series
    if (places.length === 0) return
    if (places.length >= 2 * SERIES_MIN) {
      const isSpelled = this.#seriesUnits === 1
      const read = isSpelled ? this.#spelled(places) : this.#bytes(places)
      const [start = 0] = places
      if (read !== null) this.#add({ start, end: places.at(-1) ?? 0, text: read, isApart: true })
      this.hasSpelled ||= isSpelled && read !== null
    }
    places.length = 0
  }

  #spelled(places: readonly number[]): string | null {
    return this.#spells ? spelled(this.#text, places) : null
  }

  #bytes(places: readonly number[]): string | null {
    let digits = ''
    for (let i = 1; i < places.length; i += 2) {
      const end = places[i] ?? 0
      digits += this.#text.slice(end - 2, end)
    }
    return hexText(digits)
  }

  #add(patch: Patch): void {
    if (patch.start >= (this.patches.at(-1)?.end ?? 0)) this.patches.push(patch)
  }
}

/** Most units of escapes at the end of a text that may go on. */
const ESCAPES_OPEN_MAX = 256
/** And of a run of base64 or hexadecimal digits. */
const TOKEN_OPEN_MAX = 8 * 1024

function isHexadecimal(run: string): boolean {
  return /^(?:0x)?[\da-f]*$/i.test(run)
}

/**
 * The word that single letters make. Where a gap is another than the usual one, a word may end, or not
 * (`z.e-u-s`); a letter at either end may be a word of its own (`a z e u s`): it is told in all these
 * ways. Null where they are mostly digits.
 */
function spelled(text: string, places: readonly number[]): string | null {
  let letters = 0
  for (let i = 0; i < places.length; i += 2) {
    if (!isDigit(text.charCodeAt(places[i] ?? 0))) letters++
  }
  if (letters < SERIES_MIN || letters * 4 <= places.length) return null
  const usual = usualGap(text, places)
  const word = wordOf(text, places, (before, start) => {
    const isWider = start - before > usual.length
    return isWider || (!text.startsWith(usual, before) && /\s/.test(text.slice(before, start)))
  })
  const apart = wordOf(text, places, (before, start) => {
    return start - before !== usual.length || !text.startsWith(usual, before)
  })
  const ways = [word, word.slice(1), word.slice(0, -1), word.slice(1, -1)]
  return (apart === word ? ways : [...ways, apart]).join('\n')
}

function wordOf(
  text: string,
  places: readonly number[],
  ends: (before: number, start: number) => boolean,
): string {
  const units = new Uint16Array(places.length)
  let count = 0
  for (let i = 0; i < places.length; i += 2) {
    const start = places[i] ?? 0
    if (i > 0 && ends(places[i - 1] ?? 0, start)) units[count++] = 0x20
    units[count++] = text.charCodeAt(start)
  }
  return Buffer.from(units.buffer, 0, count * 2).toString('utf16le')
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39
}

/** The gap that most of the first letters have behind them. */
function usualGap(text: string, places: readonly number[]): string {
  const counts = new Map<string, number>()
  let usual = ''
  for (let i = 2; i < places.length && i < 2 * GAPS_SEEN_MAX; i += 2) {
    const gap = text.slice(places[i - 1], places[i])
    const count = (counts.get(gap) ?? 0) + 1
    counts.set(gap, count)
    if (count > (counts.get(usual) ?? 0)) usual = gap
  }
  return usual
}

const GAPS_SEEN_MAX = 64
/** No unit, and not the one before the first. */
const NOTHING = -2
