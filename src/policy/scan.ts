import { Cursor, type LiteralHits } from './automaton.ts'
import { decodedReadings } from './decoded.ts'
import type { Detection, DetectorSet } from './detect/detector-set.ts'
import { LongMatch } from './long-match.ts'
import { normaliseText, READS } from './normalise.ts'
import { normalPiecesOf, piecesOf, readAll, SLICE_UNITS } from './pieces.ts'
import { startOf } from './spaces.ts'
import type { Literal, TextRules } from './text-rules.ts'
import { isWordAt, isWordBefore } from './word-boundary.ts'

/**
 * Finds which patterns and which lists of words occur in the texts of a call. Each text is read as it
 * is and, where that differs, as it reads (`normaliseText`), and with what is encoded in it decoded. One pass of an automaton over literals
 * finds the words, and tells which patterns can match at all; the others are not run.
 */

/** Texts up to this are matched in one go; longer ones in slices. */
export const SHORT_UNITS_MAX = 4096
/** What reading a short text in two ways costs, in passes over literals. */
const SHORT_NORMAL_WORK = 8
/** What texts may grow by when normalised, all of a call together: U+FDFA is 18 characters. */
const GROWTH_UNITS_MAX = 16 * 1024 * 1024
/** A text without units is work, too. */
const TEXT_WORK = 16
/** One pass of all patterns costs what one of few does, so three are too many. */
const RUNS_MAX = 2

/** Thrown where texts grow beyond every measure when they are read as a reader would. */
export class TextsTooLarge extends RangeError {
  override readonly name = 'TextsTooLarge'

  constructor() {
    super(`Cannot read texts that normalise to ${GROWTH_UNITS_MAX} characters more than were sent`)
  }
}

/** What was found in the texts of one call. */
export interface TextMatches {
  pattern(index: number): boolean
  words(index: number): boolean
  /** Whether one of the detectors at `indexes` found a value. */
  detectedAny(indexes: readonly number[]): boolean
  /** What was found, for `why`: ids, never values. */
  readonly detections: Detections
}

/** Detectors that found something. */
export interface Detections {
  /** Values found, by id; a detector of the file's own counts once. */
  readonly counts: Readonly<Record<string, number>>
  /** Ids of those among `indexes` that found something, with their confidence where it is below 1. */
  among(indexes: readonly number[]): readonly string[]
}

/** What texts hold in which nothing occurs. */
export const NOTHING: TextMatches = {
  pattern: () => false,
  words: () => false,
  detectedAny: () => false,
  detections: { counts: {}, among: () => [] },
}

/** What detectors cost beside the rest, in code units of the automaton over literals. */
const DETECT_WORK = 4

/** What texts are searched for. */
export interface ScanOptions {
  /** Also by detectors. */
  readonly detects: boolean
  /** False where it is known that no pattern and no word occurs in the texts as they were sent. */
  readonly searches: boolean
  /** Also what is encoded in them; false where it is known that nothing is. */
  readonly decodes: boolean
}

const ALL: ScanOptions = { detects: true, searches: true, decodes: true }

/**
 * Looks for everything in all texts. Yields after about a millisecond of work, so that the caller can
 * let the event loop run; a call of ordinary size ends without a yield.
 */
export function* scanTexts(
  rules: TextRules,
  texts: readonly string[],
  { detects, searches, decodes }: ScanOptions = ALL,
): Generator<undefined, TextMatches> {
  const scan = new Scan(rules)
  const detectorSet = detects ? rules.detectorSet : null
  if (!searches && !decodes && detectorSet === null) return scan
  let units = 0
  for (const text of texts) {
    units += TEXT_WORK
    if (searches) units += text.length > SHORT_UNITS_MAX ? yield* scan.long(text) : scan.short(text)
    if (detectorSet !== null) {
      yield* detectorSet.find(text, scan.found)
      units += (text.length % SLICE_UNITS) * DETECT_WORK
    }
    if (decodes) units += yield* decodedScan(scan, rules, { text, detectorSet })
    if (units < SLICE_UNITS) continue
    units = 0
    yield
  }
  return scan
}

/** Looks for everything in what is encoded in a text; returns the work done, in code units. */
function* decodedScan(
  scan: Scan,
  rules: TextRules,
  { text, detectorSet }: { readonly text: string; readonly detectorSet: DetectorSet | null },
): Generator<undefined, number> {
  let work = text.length % SLICE_UNITS
  for (const { text: reading } of yield* decodedReadings(text)) {
    if (rules.prefilter.mayMatch([reading])) {
      work += yield* scan.any(reading)
    }
    if (detectorSet !== null) yield* detectorSet.find(reading, scan.foundDecoded)
    work += reading.length % SLICE_UNITS
    if (reading.length >= SLICE_UNITS) yield
  }
  return work
}

/** The same in one go; not for the path of a request. */
export function scanWhole(rules: TextRules, texts: readonly string[]): TextMatches {
  const scan = scanTexts(rules, texts)
  for (;;) {
    const { done, value } = scan.next()
    if (done === true) return value
  }
}

/** The state of one call: what was found so far, and what the text at hand may match. */
class Scan implements TextMatches, LiteralHits {
  readonly #rules: TextRules
  readonly #patterns: Uint8Array
  readonly #words: Uint8Array
  /** Patterns not found yet of which a literal occurs in the text at hand. */
  readonly #candidates = new Set<number>()
  readonly #counts = new Map<string, number>()
  #text = ''
  /** Units that normalising added so far. */
  #grown = 0

  constructor(rules: TextRules) {
    this.#rules = rules
    this.#patterns = new Uint8Array(rules.patterns.length)
    this.#words = new Uint8Array(rules.wordLists)
  }

  pattern(index: number): boolean {
    return this.#patterns[index] === 1
  }

  words(index: number): boolean {
    return this.#words[index] === 1
  }

  detectedAny(indexes: readonly number[]): boolean {
    return indexes.some((index) => this.#detected(index))
  }

  #detected(index: number): boolean {
    const use = this.#rules.detectors[index]
    if (use === undefined) return false
    return use.pattern === null ? this.#counts.has(use.id) : this.pattern(use.pattern)
  }

  get detections(): Detections {
    const uses = this.#rules.detectors
    const ids = uses.filter((_, index) => this.#detected(index)).map(({ id }) => id)
    return {
      counts: Object.fromEntries(ids.map((id) => [id, this.#counts.get(id) ?? 1])),
      among: (indexes) =>
        indexes.flatMap((index) => {
          const use = uses[index]
          if (use === undefined || !this.#detected(index)) return []
          return use.confidence < 1 ? `${use.id} (${use.confidence})` : use.id
        }),
    }
  }

  /** Counts a value; where it stands is nobody's business here. */
  readonly found = ({ id }: Detection): void => {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1)
  }

  /** A reading holds again what the text as it was sent does, so a value is counted where nothing else was. */
  readonly foundDecoded = ({ id }: Detection): void => {
    if (!this.#counts.has(id)) this.#counts.set(id, 1)
  }

  hit(index: number, end: number): void {
    const literal = this.#rules.literals[index]
    if (literal === undefined) return
    for (const pattern of literal.patterns) {
      if (this.#patterns[pattern] === 0) this.#candidates.add(pattern)
    }
    for (const list of literal.wordLists) {
      if (this.#words[list] === 0 && isWhole(this.#text, literal, end)) this.#words[list] = 1
    }
  }

  /** Scans a text; returns the work done, in code units. */
  *any(text: string): Generator<undefined, number> {
    return text.length > SHORT_UNITS_MAX ? yield* this.long(text) : this.short(text)
  }

  /** Scans a short text in one go; returns the work done, in code units. */
  short(text: string): number {
    if (text === '') return 0
    const { units } = this.#rules
    const count = units.fill(text, 0, text.length)
    const cursor = this.#matchShort(text, count)
    if (cursor.isPlain) return count
    const normal = this.#readShort(text, count)
    if (normal !== text) {
      if (normal.length > text.length) this.#grow(normal.length - text.length)
      this.#matchShort(normal, units.fill(normal, 0, normal.length))
    }
    const looks = this.#looks(normal)
    if (looks !== normal) this.#matchShort(looks, units.fill(looks, 0, looks.length))
    return count * SHORT_NORMAL_WORK
  }

  /** What a short text reads as whose units are in hand. */
  #readShort(text: string, count: number): string {
    const { units } = this.#rules
    if (READS.stay(units.values, count)) return text
    const isSimple = READS.read(units.values, 0, count) === count
    return isSimple ? units.text(0, count) : normaliseText(text)
  }

  /** How a text looks that was normalised. */
  #looks(normal: string): string {
    const { lookAlikes, units } = this.#rules
    return lookAlikes === null ? normal : lookAlikes.read(normal, units)
  }

  #begin(text: string): Cursor {
    this.#text = text
    if (this.#candidates.size > 0) this.#candidates.clear()
    return new Cursor()
  }

  /** Matches the units in hand, which are those of `text`. */
  #matchShort(text: string, count: number): Cursor {
    const { always, automaton, units } = this.#rules
    const cursor = this.#begin(text)
    automaton.scanUnits(units.values, count, cursor, this)
    if (always !== null) {
      const run = new LongMatch(always, this.#foundAlways)
      runWhole(run, units.values, count)
      run.end()
    }
    for (const { run, id } of this.#candidateRuns()) {
      runWhole(run, units.values, count)
      if (run.end() && id !== null) this.#patterns[id] = 1
    }
    return cursor
  }

  readonly #foundAlways = (id: number): void => {
    this.#patterns[this.#rules.alwaysIndexes[id] ?? 0] = 1
  }

  readonly #foundAny = (id: number): void => {
    this.#patterns[id] = 1
  }

  /** Passes for the patterns that may match: one each where they are few, else one for all there are. */
  #candidateRuns(): readonly CandidateRun[] {
    const { all, singles } = this.#rules
    if (this.#candidates.size === 0) return NO_RUNS
    if (this.#candidates.size > RUNS_MAX) {
      return [{ run: new LongMatch(all, this.#foundAny), id: null }]
    }
    return [...this.#candidates].flatMap((id) => {
      const single = singles(id)
      return single === null ? [] : { run: new LongMatch(single), id }
    })
  }

  /**
   * Scans a long text, yielding between slices; returns the work done since, at most. What it reads as
   * is never held as a whole: it is made once for the literals and again where patterns can match.
   */
  *long(text: string): Generator<undefined, number> {
    const isPlain = yield* this.#longPieces(() => piecesOf(text))
    const work = Math.min(text.length, SLICE_UNITS)
    if (isPlain) return work
    if (!(yield* this.#stays(text))) {
      let sent = text.length
      const made = (units: number) => {
        const grown = Math.max(0, units - sent)
        sent = Math.max(0, sent - units)
        this.#grow(grown)
      }
      yield* this.#longPieces(() => normalPiecesOf(text, made))
    }
    if (this.#rules.lookAlikes !== null) yield* this.#longPieces(() => this.#lookingPieces(text))
    return work
  }

  *#lookingPieces(text: string): Generator<undefined | string, void> {
    for (const piece of normalPiecesOf(text, () => {})) {
      yield piece === undefined ? piece : this.#looks(piece)
    }
  }

  #grow(units: number): void {
    this.#grown += units
    if (this.#grown > GROWTH_UNITS_MAX) throw new TextsTooLarge()
  }

  /** Whether a long text reads as it is written, as most in Chinese, Russian or French do. */
  *#stays(text: string): Generator<undefined, boolean> {
    const { units } = this.#rules
    for (const piece of piecesOf(text)) {
      if (piece === undefined) yield
      else if (!READS.stay(units.values, units.fill(piece, 0, piece.length))) return false
    }
    return true
  }

  /** Says whether the text was plain, so that it reads as it is written. */
  *#longPieces(pieces: () => Generator<undefined | string, void>): Generator<undefined, boolean> {
    const isPlain = yield* this.#longLiterals(pieces())
    const runs = this.#candidateRuns()
    if (runs.length > 0) {
      const { units } = this.#rules
      yield* readAll(
        runs.map(({ run }) => run),
        pieces(),
        units,
      )
      for (const { run, id } of runs) if (run.end() && id !== null) this.#patterns[id] = 1
    }
    return isPlain
  }

  /** Runs the automaton over pieces; each is seen with the end of what came before it. */
  *#longLiterals(pieces: Generator<undefined | string, void>): Generator<undefined, boolean> {
    const { always } = this.#rules
    const run = always === null ? null : new LongMatch(always, this.#foundAlways)
    const cursor = this.#begin('')
    for (const piece of pieces) {
      if (piece === undefined) {
        yield
        continue
      }
      const kept = Math.max(0, cursor.at - this.#rules.longestLiteral - BOUNDARY_UNITS)
      this.#text = this.#text.slice(kept) + piece
      cursor.at -= kept
      // Whether a word ends at the end of a piece is told by what follows it.
      this.#scanTo(this.#text.length - BOUNDARY_UNITS, cursor)
      if (run !== null) yield* run.read(piece, this.#rules.units)
    }
    this.#scanTo(this.#text.length, cursor)
    run?.end()
    this.#text = ''
    return cursor.isPlain
  }

  #scanTo(end: number, cursor: Cursor): void {
    const { automaton, units } = this.#rules
    while (cursor.at < end) {
      const count = units.fill(this.#text, cursor.at, end)
      automaton.scanUnits(units.values, count, cursor, this)
    }
  }
}

/** A pass over a text; `id` is its pattern where it has only one. */
interface CandidateRun {
  readonly run: LongMatch
  readonly id: number | null
}

const NO_RUNS: readonly CandidateRun[] = []

function runWhole(run: LongMatch, units: Uint16Array, count: number): void {
  for (let at = 0; at < count;) at = run.readUnits(units, at, count)
}

/** One character may be two units. */
const BOUNDARY_UNITS = 2

/** Whether the literal that ends at `end` stands apart from letters and digits around it. */
export function isWhole(text: string, literal: Literal, end: number): boolean {
  const [first, last] = literal.bounded
  if (last && isWordAt(text, end)) return false
  return !(first && isWordBefore(text, startOf(text, literal.text, end)))
}
