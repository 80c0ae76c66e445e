import { Cursor, LiteralAutomaton } from '../automaton.ts'
import { normaliseWithIndex } from '../normalise-index.ts'
import { beginsAt, type Detector, type Match, type NumberRun } from './detector.ts'

/** A value that was found in a text as it was sent; offsets are UTF-16 units of that text. */
export interface Detection extends Match {
  readonly id: string
}

/** Units of text looked at between two breaths: about a millisecond. */
const SLICE_UNITS = 64 * 1024
/** What is read again before a slice, so that every value sees what stands before it. */
const LOOK_BACK = 512

const ZERO = 0x30
const NINE = 0x39

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

const NOT_ASCII = /\P{ASCII}/u

/** The detectors of one snapshot, ready to run. */
export class DetectorSet {
  readonly #automaton: LiteralAutomaton
  /** Detectors by index of the literal that calls them. */
  readonly #byLiteral: readonly (readonly Detector[])[]
  readonly #literals: readonly string[]
  readonly #numbers: readonly Detector[]
  readonly #tokens: readonly Detector[]
  readonly #words: readonly Detector[]
  readonly #joined: readonly Detector[]
  readonly #hasLiterals: boolean
  /** Longest match of all detectors. */
  readonly charsMax: number

  constructor(detectors: readonly Detector[]) {
    const literals = new Map<string, Detector[]>()
    for (const detector of detectors) {
      for (const literal of new Set(detector.literals)) {
        literals.set(literal, [...(literals.get(literal) ?? []), detector])
      }
    }
    this.#automaton = new LiteralAutomaton([...literals.keys()])
    this.#byLiteral = [...literals.values()]
    this.#literals = [...literals.keys()]
    this.#hasLiterals = literals.size > 0
    this.#numbers = detectors.filter(({ atNumbers }) => atNumbers !== undefined)
    this.#tokens = detectors.filter(({ atToken }) => atToken !== undefined)
    this.#words = detectors.filter(({ atCountryWord }) => atCountryWord !== undefined)
    this.#joined = detectors.filter(({ join }) => join !== undefined)
    this.charsMax = Math.max(0, ...detectors.map(({ charsMax }) => charsMax))
  }

  /**
   * Every value in `text`, in order of place; values of one detector do not overlap. The text is
   * searched as it was sent and as it reads. Yields between slices of 64 K units.
   */
  *find(text: string): Generator<undefined, readonly Detection[]> {
    const found: Detection[] = []
    for (let from = 0; from === 0 || from < text.length; from += SLICE_UNITS) {
      if (from > 0) yield
      const start = Math.max(0, from - LOOK_BACK)
      const slice =
        start === 0 && text.length <= SLICE_UNITS
          ? text
          : text.slice(start, from + SLICE_UNITS + this.charsMax)
      for (const { id, start: at, end } of this.#inSlice(slice)) {
        const place = start + at
        if (place >= from && place < from + SLICE_UNITS)
          found.push({ id, start: place, end: start + end })
      }
    }
    return found
  }

  #inSlice(text: string): readonly Detection[] {
    const found = this.#search(text)
    if (!NOT_ASCII.test(text)) return apart(found)
    const normal = normaliseWithIndex(text)
    if (normal.text === text) return apart(found)
    const more = this.#search(normal.text).map(({ id, start, end }) => ({
      id,
      ...normal.original(start, end),
    }))
    return apart([...found, ...more])
  }

  #search(text: string): Detection[] {
    const found: Detection[] = []
    const clues = new Map<Detector, Match[]>()
    const take: Take = (detector, match) => {
      if (match === null || match === undefined) return
      if (detector.join === undefined)
        found.push({ id: detector.id, start: match.start, end: match.end })
      else {
        const known = clues.get(detector)
        if (known === undefined) clues.set(detector, [match])
        else known.push(match)
      }
    }
    if (this.#hasLiterals) {
      this.#automaton.scan(text, text.length, new Cursor(), {
        hit: (index, end) => {
          const literal = this.#literals[index] ?? ''
          for (const detector of this.#byLiteral[index] ?? []) {
            take(detector, detector.atLiteral?.(text, end - literal.length, literal))
          }
        },
      })
    }
    if (this.#numbers.length > 0) this.#findNumbers(text, take)
    if (this.#tokens.length > 0) this.#findTokens(text, take)
    if (this.#words.length > 0) this.#findWords(text, take)
    for (const detector of this.#joined) {
      for (const match of detector.join?.(sorted(clues.get(detector) ?? [])) ?? []) {
        found.push({ id: detector.id, ...match })
      }
    }
    return found
  }

  /** Calls number detectors for every run of digit groups. */
  #findNumbers(text: string, take: Take): void {
    const run = new Run()
    let isIn = false
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit >= ZERO && unit <= NINE) {
        run.digit(i)
        isIn = true
        continue
      }
      // Most of a text is no number.
      if (!isIn) continue
      const kind = unit < 128 ? (KINDS[unit] ?? 0) : 0
      if ((kind & SEPARATOR) !== 0 && i - run.lastEnd < GAP_MAX) continue
      this.#numbersOf(text, run, take)
      isIn = false
    }
    this.#numbersOf(text, run, take)
  }

  /** Calls token detectors for every run of token characters that is neither short nor long. */
  #findTokens(text: string, take: Take): void {
    let start = 0
    for (let i = 0; i <= text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit < 128 && ((KINDS[unit] ?? 0) & TOKEN) !== 0) continue
      if (i - start >= TOKEN_MIN && i - start <= TOKEN_MAX) {
        for (const detector of this.#tokens) take(detector, detector.atToken?.(text, start, i))
      }
      start = i + 1
    }
  }

  /** Calls detectors for every word that begins with two letters and two digits. */
  #findWords(text: string, take: Take): void {
    let start = 0
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      const kind = unit < 128 ? (KINDS[unit] ?? 0) : 0
      if ((kind & (LETTER | DIGIT)) === 0) start = i + 1
      else if ((kind & DIGIT) !== 0 && i - start >= 3 && i - start <= 4)
        this.#word(text, i - 3, take)
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
