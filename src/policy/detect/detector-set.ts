import { Cursor, LiteralAutomaton } from '../automaton.ts'
import type { LookAlikes } from '../look-alikes.ts'
import { type NormalText, normaliseWithIndex } from '../normalise-index.ts'
import { Units } from '../units.ts'
import { beginsAt, type Detector, type Match, type NumberRun } from './detector.ts'

/** A value that was found in a text as it was sent; offsets are UTF-16 units of that text. */
export interface Detection extends Match {
  readonly id: string
}

/** Units of text looked at between two breaths: about a millisecond. */
const SLICE_UNITS = 64 * 1024
/** What is read again before a slice, so that every value sees what stands before it. */
const LOOK_BACK = 512
/** What is read beyond a slice: the longest token, and more than any number is. */
const LOOK_AHEAD = 768

const ZERO = 0x30

const DIGIT = 1
const SEPARATOR = 2
const TOKEN = 4
const LETTER = 8

/** What an ASCII unit can be part of: numbers, what parts their groups, tokens, words. */
const KINDS = kinds()

function kinds(): Uint8Array {
  const table = new Uint8Array(128)
  const mark = (units: string, kind: number) => {
    for (const unit of units) table[unit.charCodeAt(0)] = (table[unit.charCodeAt(0)] ?? 0) | kind
  }
  mark('0123456789', DIGIT | TOKEN)
  mark('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ', LETTER | TOKEN)
  mark('-_+/=', TOKEN)
  mark(' -.()/+_', SEPARATOR)
  return table
}

const TOKEN_MIN = 20
const TOKEN_MAX = 256
const GAP_MAX = 3
/** An IPv4 address has four groups, everything else at least seven digits. */
const DIGITS_MIN = 7
const GROUPS_MIN = 4

/** Takes what a detector said of a place. */
type Take = (detector: Detector, match: Match | null | undefined) => void

/** Units of `text` from `offset` on, `count` of them. */
interface Part {
  readonly text: string
  readonly offset: number
  readonly units: Uint16Array
  readonly count: number
}

/** The detectors of one snapshot, ready to run. */
export class DetectorSet {
  readonly #automaton: LiteralAutomaton
  /** Detectors by index of the literal that calls them. */
  readonly #byLiteral: readonly (readonly Detector[])[]
  readonly #literals: readonly string[]
  readonly #numbers: readonly Detector[]
  readonly #tokens: readonly Detector[]
  readonly #words: readonly Detector[]
  readonly #lookAlikes: LookAlikes | null
  /** What is read beyond a slice. */
  readonly #ahead: number
  readonly #units: Units
  /** Longest match of all detectors. */
  readonly charsMax: number

  /** With `lookAlikes` texts are also searched as they look. */
  constructor(detectors: readonly Detector[], lookAlikes: LookAlikes | null = null) {
    this.#lookAlikes = lookAlikes
    const literals = new Map<string, Detector[]>()
    for (const detector of detectors) {
      for (const literal of new Set(detector.literals)) {
        literals.set(literal, [...(literals.get(literal) ?? []), detector])
      }
    }
    this.#automaton = new LiteralAutomaton([...literals.keys()])
    this.#byLiteral = [...literals.values()]
    this.#literals = [...literals.keys()]
    this.#numbers = detectors.filter(({ atNumbers }) => atNumbers !== undefined)
    this.#tokens = detectors.filter(({ atToken }) => atToken !== undefined)
    this.#words = detectors.filter(({ atCountryWord }) => atCountryWord !== undefined)
    this.charsMax = Math.max(0, ...detectors.map(({ charsMax }) => charsMax))
    const joined = detectors.filter(({ join }) => join !== undefined)
    this.#ahead = Math.max(LOOK_AHEAD, ...joined.map(({ charsMax }) => charsMax))
    this.#units = new Units(LOOK_BACK + SLICE_UNITS + this.#ahead)
  }

  /**
   * Hands over every value in `text`, slice by slice in order of place; values of one detector do not
   * overlap. The text is searched as it was sent and as it reads. Yields between slices of 64 K units.
   */
  *find(text: string, take: (detection: Detection) => void): Generator<undefined, void> {
    for (let from = 0; from === 0 || from < text.length; from += SLICE_UNITS) {
      if (from > 0) yield
      const to = Math.min(text.length, from + SLICE_UNITS)
      for (const each of this.#inSlice(text, from, to)) {
        if (each.start >= from && each.start < to) take(each)
      }
    }
  }

  /** Values that begin in a slice, and some around it, in order of place. */
  #inSlice(text: string, from: number, to: number): readonly Detection[] {
    const start = Math.max(0, from - LOOK_BACK)
    const end = Math.min(text.length, to + this.#ahead)
    const count = this.#units.fill(text, start, end)
    const finds = new Finds(end)
    const sent = { text, offset: start, units: this.#units.values, count }
    const isPlain = this.#search(sent, finds)
    const isOpen = end < text.length && finds.openAt < to
    const found = finds.found()
    if (isPlain && !isOpen) return apart(found)
    if (!isOpen) {
      const more = this.#asItReads(text, start, end)
      if (more.openAt >= to || end === text.length) return apart([...found, ...more.found])
    }
    // Of long values only the beginning was there; few texts have what they begin with.
    return apart([...found, ...this.#asItReads(text, start, end + this.charsMax).found])
  }

  /** Values in a part of `text` as it reads; and where in `text` the first begins that may go on behind it. */
  #asItReads(text: string, start: number, end: number): { found: Detection[]; openAt: number } {
    const sent = start === 0 && end >= text.length ? text : text.slice(start, end)
    const normal = normaliseWithIndex(sent)
    const looks = this.#lookAlikes?.read(normal.text, this.#units) ?? normal.text
    const found: Detection[] = []
    let openAt = Infinity
    for (const read of normal.text === looks ? [looks] : [normal.text, looks]) {
      if (read === sent) continue
      const finds = this.#searchReading(read)
      for (const { id, start: first, end: last } of finds.found()) {
        found.push({ id, ...placed(normal, start, { start: first, end: last }) })
      }
      if (finds.openAt === Infinity) continue
      const open = { start: finds.openAt, end: finds.openAt + 1 }
      openAt = Math.min(openAt, placed(normal, start, open).start)
    }
    return { found, openAt }
  }

  #searchReading(text: string): Finds {
    const { length } = text
    const units = length <= this.#units.values.length ? this.#units : new Units(length)
    const finds = new Finds(length)
    const count = units.fill(text, 0, length)
    this.#search({ text, offset: 0, units: units.values, count }, finds)
    return finds
  }

  /** Looks for everything in a part of a text; says whether it reads as it is written. */
  #search(part: Part, finds: Finds): boolean {
    const { text, offset, units, count } = part
    const take: Take = (detector, match) => finds.take(detector, match)
    const cursor = new Cursor()
    cursor.at = offset
    this.#automaton.scanUnits(units, count, cursor, {
      hit: (index, end) => {
        const literal = this.#literals[index] ?? ''
        const start = end - literal.length
        for (const detector of this.#byLiteral[index] ?? []) {
          finds.begins(detector, start)
          take(detector, detector.atLiteral?.(text, start, literal))
        }
      },
    })
    if (this.#numbers.length > 0) this.#findNumbers(part, take)
    if (this.#tokens.length > 0) this.#findTokens(part, take)
    if (this.#words.length > 0) this.#findWords(part, take)
    return cursor.isPlain
  }

  /** Calls number detectors for every run of digit groups. */
  #findNumbers({ text, offset, units, count }: Part, take: Take): void {
    const run = new Run()
    for (let i = nextDigit(units, 0, count); i < count; i = nextDigit(units, i, count)) {
      // Most of a text is no number.
      for (; i < count; i++) {
        const kind = kindOf(units[i] ?? 0)
        if ((kind & DIGIT) !== 0) run.digit(offset + i)
        else if ((kind & SEPARATOR) === 0 || offset + i - run.lastEnd >= GAP_MAX) break
      }
      this.#numbersOf(text, run, take)
    }
  }

  /** Calls token detectors for every run of token characters that is neither short nor long. */
  #findTokens({ text, offset, units, count }: Part, take: Take): void {
    let start = 0
    for (let i = 0; i <= count; i++) {
      if (i < count && (kindOf(units[i] ?? 0) & TOKEN) !== 0) continue
      if (i - start >= TOKEN_MIN && i - start <= TOKEN_MAX) {
        for (const detector of this.#tokens) {
          take(detector, detector.atToken?.(text, offset + start, offset + i))
        }
      }
      start = i + 1
    }
  }

  /** Calls detectors for every word that begins with two letters and two digits. */
  #findWords({ text, offset, units, count }: Part, take: Take): void {
    let start = 0
    for (let i = 0; i < count; i++) {
      const kind = kindOf(units[i] ?? 0)
      if ((kind & (LETTER | DIGIT)) === 0) start = i + 1
      else if ((kind & DIGIT) !== 0 && i - start >= 3 && i - start <= 4)
        this.#word(text, offset + i - 3, take)
    }
  }

  #numbersOf(text: string, run: Run, take: Take): void {
    if (run.digits >= DIGITS_MIN || run.count >= GROUPS_MIN) {
      for (const detector of this.#numbers) {
        detector.atNumbers?.(text, run, (start, end) => take(detector, { start, end }))
      }
    }
    run.clear()
  }

  #word(text: string, start: number, take: Take): void {
    const isCountry =
      isKind(text, start, LETTER) &&
      isKind(text, start + 1, LETTER) &&
      isKind(text, start + 2, DIGIT)
    if (!isCountry || !beginsAt(text, start)) return
    for (const detector of this.#words) take(detector, detector.atCountryWord?.(text, start))
  }
}

/** Where something stands that was found in a reading of the text from `offset` on. */
function placed({ original }: NormalText, offset: number, { start, end }: Match): Match {
  const place = original(start, end)
  return { start: offset + place.start, end: offset + place.end }
}

/** What was found in a part of a text. */
class Finds {
  readonly #found: Detection[] = []
  readonly #clues = new Map<Detector, Match[]>()
  readonly #end: number
  /** Where the first literal stands whose value may go on behind the end. */
  openAt = Infinity

  /** `end` is that of what is searched. */
  constructor(end: number) {
    this.#end = end
  }

  take(detector: Detector, match: Match | null | undefined): void {
    if (match === null || match === undefined) return
    if (detector.join === undefined) {
      this.#found.push({ id: detector.id, start: match.start, end: match.end })
      return
    }
    const known = this.#clues.get(detector)
    if (known === undefined) this.#clues.set(detector, [match])
    else known.push(match)
  }

  /** A literal of `detector` stands at `start`. */
  begins({ charsMax }: Detector, start: number): void {
    if (start + charsMax > this.#end && start < this.openAt) this.openAt = start
  }

  found(): Detection[] {
    for (const [detector, clues] of this.#clues) {
      for (const match of detector.join?.(sorted(clues)) ?? []) {
        this.#found.push({ id: detector.id, ...match })
      }
    }
    return this.#found
  }
}

function nextDigit(units: Uint16Array, from: number, to: number): number {
  let i = from
  while (i < to && ((units[i] ?? 0) - ZERO) >>> 0 > 9) i++
  return i
}

function kindOf(unit: number): number {
  return unit < 128 ? (KINDS[unit] ?? 0) : 0
}

function isKind(text: string, at: number, kind: number): boolean {
  return ((KINDS[text.charCodeAt(at)] ?? 0) & kind) !== 0
}

/** The groups of digits of a run, kept in one array that grows to the longest run. */
class Run implements NumberRun {
  readonly #places: number[] = []
  count = 0
  digits = 0
  lastEnd = -1

  start(index: number): number {
    return this.#places[index * 2] ?? -1
  }

  end(index: number): number {
    return this.#places[index * 2 + 1] ?? -1
  }

  digit(at: number): void {
    if (this.count > 0 && this.lastEnd === at) this.#places[this.count * 2 - 1] = at + 1
    else {
      this.#places[this.count * 2] = at
      this.#places[this.count * 2 + 1] = at + 1
      this.count++
    }
    this.digits++
    this.lastEnd = at + 1
  }

  clear(): void {
    this.count = 0
    this.digits = 0
    this.lastEnd = -1
  }
}

function sorted<Place extends Match>(matches: readonly Place[]): Place[] {
  return [...matches].sort((a, b) => a.start - b.start || b.end - a.end)
}

/** In order of place; of two of one detector that overlap the first and longest stays. */
function apart(found: readonly Detection[]): Detection[] {
  if (found.length < 2) return [...found]
  const ends = new Map<string, number>()
  return sorted(found).filter(({ id, start, end }) => {
    if (start < (ends.get(id) ?? 0)) return false
    ends.set(id, end)
    return true
  })
}
