import { escapesAt, isHexDigit } from './decode-escapes.ts'
import { BASE64_MIN, hexText, mayRead, runIn } from './decode-runs.ts'
import { Units } from './units.ts'

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

const SMALL = 0
/** A capital letter or a digit: without one in it a run is a word. */
const MARK = 1
/** A digit of base64 that ends a word. */
const JOINT = 2
const LINE_END = 3
const OTHER = 4
const WIDE = 5
/** What an escape begins with; `=` pads base64, too. */
const ESCAPE = 6
const EQUAL = 7

const EQUALS = 0x3d

const KINDS = kinds()

function kinds(): Uint8Array {
  const table = new Uint8Array(0x10000).fill(WIDE).fill(OTHER, 0, 128)
  for (let unit = 0; unit < 128; unit++) {
    const letter = String.fromCharCode(unit)
    if (/[a-z]/.test(letter)) table[unit] = SMALL
    if (/[A-Z0-9]/.test(letter)) table[unit] = MARK
  }
  for (const joint of '+/-_') table[joint.charCodeAt(0)] = JOINT
  for (const escape of '%&\\') table[escape.charCodeAt(0)] = ESCAPE
  table[EQUALS] = EQUAL
  for (const end of '\r\n') table[end.charCodeAt(0)] = LINE_END
  return table
}

/** Lines of base64 that go on in the next are at least this long; MIME and PEM have 76 and 64. */
const LINE_MIN = 40
const NINE = 0x39
/** Units that are looked up in a go. */
const WINDOW_UNITS = 4096
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
  readonly #units: Units
  readonly #spells: boolean
  #at = 0
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

  /** With `spells` words are found that are spaced. */
  constructor(text: string, spells = true) {
    this.#text = text
    this.#units = new Units(Math.min(text.length, WINDOW_UNITS))
    this.#spells = spells
  }

  /** Goes on up to `to`; false where that is the end of the text, and `finish` is to follow. */
  run(to: number): boolean {
    const { length } = this.#text
    const end = Math.min(to, length)
    while (this.#at < end) {
      const from = this.#at
      const count = this.#units.fill(this.#text, from, end)
      this.#at = from + this.#runUnits(from, count)
    }
    return this.#at < length
  }

  /** Reads the units in hand, the first of which stands at `from`; returns how many it has read. */
  #runUnits(from: number, count: number): number {
    const { values } = this.#units
    for (let i = 0; i < count; i++) {
      const unit = values[i]!
      const kind = KINDS[unit]!
      if (kind === SMALL) continue
      const at = from + i
      if (kind === MARK) {
        if (unit <= NINE || at !== this.#word) this.#isMarked = true
      } else if (this.#isMarked || kind === ESCAPE || !this.#passes(at, kind, unit)) {
        const last = this.#stop(at, kind)
        // It goes on behind what was read, or before it.
        if (last < from - 1 || last >= from + count) return last + 1 - from
        i = last - from
      }
    }
    return count
  }

  /** Most of a text: the end of a word of small letters where nothing is going on. */
  #passes(at: number, kind: number, unit: number): boolean {
    if (this.#isSeries) return false
    if (kind === WIDE) {
      if (unit < 0x3000 || unit > 0xd7ff) return false
      this.#token = at + 1
      return true
    }
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
    return (KINDS[next] ?? OTHER) <= JOINT
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
    this.#seriesUnits = units
    this.#series.push(start, end)
    this.#isSeries = true
  }

  /** Letters in quotes are no word. */
  #isGap(from: number, to: number): boolean {
    return to - from <= GAP_MAX && !this.#text.slice(from, to).includes('"')
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
    this.#isSeries = false
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
