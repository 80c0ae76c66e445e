import { Cursor, type LiteralHits } from './automaton.ts'
import type { Detection } from './detect/detector-set.ts'
import { LongMatch } from './long-match.ts'
import { normaliseText } from './normalise.ts'
import { normalPiecesOf, piecesOf, readAll, SLICE_UNITS } from './pieces.ts'
import { startOf } from './spaces.ts'
import type { Literal, TextRules } from './text-rules.ts'
import { isWordAt, isWordBefore } from './word-boundary.ts'

/**
 * Finds which patterns and which lists of words occur in the texts of a call. Each text is read as it
 * is and, where that differs, as it reads (`normaliseText`). One pass of an automaton over literals
 * finds the words, and tells which patterns can match at all; the others are not run.
 */

/** Texts up to this are matched in one go; longer ones in slices. */
const SHORT_UNITS_MAX = 4096
/** What texts may grow by when normalised, all of a call together: U+FDFA is 18 characters. */
const GROWTH_UNITS_MAX = 16 * 1024 * 1024
/** A text without units is work, too. */
const TEXT_WORK = 16
/** A run of an engine, in code units of the automaton over literals. */
const RUN_WORK = 10
/** One pass of all patterns costs what one of few does (100 KB: 0.75 to 0.87 ms at 20 and 200), so two are too many. */
const RUNS_MAX = 1

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
const DETECT_WORK = 12

/**
 * Looks for everything in all texts, with `detects` also by detectors. Yields after about a millisecond
 * of work, so that the caller can let the event loop run; a call of ordinary size ends without a yield.
 * `searches` is false where it is known that no pattern and no word occurs.
 */
export function* scanTexts(
  rules: TextRules,
  texts: readonly string[],
  detects = true,
  searches = true,
): Generator<undefined, TextMatches> {
  const scan = new Scan(rules)
  const detectorSet = detects ? rules.detectorSet : null
  if (!searches && detectorSet === null) return scan
  let units = 0
  for (const text of texts) {
    units += TEXT_WORK
    if (searches) units += text.length > SHORT_UNITS_MAX ? yield* scan.long(text) : scan.short(text)
    if (detectorSet !== null) {
      scan.found(yield* detectorSet.find(text))
      units += (text.length % SLICE_UNITS) * DETECT_WORK
    }
    if (units < SLICE_UNITS) continue
    units = 0
    yield
  }
  return scan
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

  found(detections: readonly Detection[]): void {
    for (const { id } of detections) this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1)
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

  /** Scans a short text in one go; returns the work done, in code units. */
  short(text: string): number {
    if (text === '') return 0
    const cursor = this.#begin(text)
    this.#rules.automaton.scan(text, text.length, cursor, this)
    const work = this.#matchShort(text)
    if (cursor.seenUnits <= 0x7f) return work
    const normal = normaliseText(text)
    if (normal === text) return work
    if (normal.length > text.length) this.#grow(normal.length - text.length)
    this.#rules.automaton.scan(normal, normal.length, this.#begin(normal), this)
    return work + this.#matchShort(normal)
  }

  /** Passes that the text needs beside the one over literals. */
  #runs(): number {
    return this.#candidates.size + (this.#rules.alwaysIndexes.length > 0 ? 1 : 0)
  }

  #begin(text: string): Cursor {
    this.#text = text
    if (this.#candidates.size > 0) this.#candidates.clear()
    return new Cursor()
  }

  #matchShort(text: string): number {
    const { always, alwaysIndexes, all, patterns } = this.#rules
    const runs = this.#runs()
    if (runs > RUNS_MAX) {
      for (const id of all.match(text)) this.#patterns[id] = 1
    } else if (alwaysIndexes.length > 0) {
      for (const id of always.match(text)) this.#patterns[alwaysIndexes[id] ?? 0] = 1
    } else {
      for (const id of this.#candidates) {
        if (patterns[id]?.test(text) === true) this.#patterns[id] = 1
      }
    }
    return text.length * (1 + RUN_WORK * Math.min(runs, RUNS_MAX))
  }

  /**
   * Scans a long text, yielding between slices; returns the work done since, at most. What it reads as
   * is never held as a whole: it is made once for the literals and again where patterns can match.
   */
  *long(text: string): Generator<undefined, number> {
    const isAscii = yield* this.#longPieces(() => piecesOf(text))
    const work = Math.min(text.length, SLICE_UNITS)
    if (isAscii) return work
    let sent = text.length
    const made = (units: number) => {
      const grown = Math.max(0, units - sent)
      sent = Math.max(0, sent - units)
      this.#grow(grown)
    }
    yield* this.#longPieces(() => normalPiecesOf(text, made))
    return work
  }

  #grow(units: number): void {
    this.#grown += units
    if (this.#grown > GROWTH_UNITS_MAX) throw new TextsTooLarge()
  }

  /** Says whether the text was plain ASCII. */
  *#longPieces(pieces: () => Generator<undefined | string, void>): Generator<undefined, boolean> {
    const { always, alwaysIndexes, all, patterns } = this.#rules
    const seenUnits = yield* this.#longLiterals(pieces())
    const runs: LongMatch[] = []
    const single: number[] = []
    if (this.#runs() > RUNS_MAX) {
      runs.push(new LongMatch(all.dfa, (id) => (this.#patterns[id] = 1)))
    } else if (alwaysIndexes.length > 0) {
      const found = (id: number) => (this.#patterns[alwaysIndexes[id] ?? 0] = 1)
      runs.push(new LongMatch(always.dfa, found))
    } else {
      for (const id of this.#candidates) {
        const dfa = patterns[id]?.re2().dfa
        if (dfa !== undefined) single[runs.push(new LongMatch(dfa)) - 1] = id
      }
    }
    if (runs.length > 0) yield* readAll(runs, pieces())
    for (const [index, run] of runs.entries()) {
      const id = single[index]
      if (run.end() && id !== undefined) this.#patterns[id] = 1
    }
    return seenUnits <= 0x7f
  }

  /** Runs the automaton over pieces; each is seen with the end of what came before it. */
  *#longLiterals(pieces: Generator<undefined | string, void>): Generator<undefined, number> {
    const { automaton, longestLiteral } = this.#rules
    const cursor = this.#begin('')
    for (const piece of pieces) {
      if (piece === undefined) {
        yield
        continue
      }
      const kept = Math.max(0, cursor.at - longestLiteral - BOUNDARY_UNITS)
      this.#text = this.#text.slice(kept) + piece
      cursor.at -= kept
      // Whether a word ends at the end of a piece is told by what follows it.
      const end = this.#text.length - BOUNDARY_UNITS
      if (end > cursor.at) automaton.scan(this.#text, end, cursor, this)
    }
    automaton.scan(this.#text, this.#text.length, cursor, this)
    this.#text = ''
    return cursor.seenUnits
  }
}

/** One character may be two units. */
const BOUNDARY_UNITS = 2

/** Whether the literal that ends at `end` stands apart from letters and digits around it. */
export function isWhole(text: string, literal: Literal, end: number): boolean {
  const [first, last] = literal.bounded
  if (last && isWordAt(text, end)) return false
  return !(first && isWordBefore(text, startOf(text, literal.text, end)))
}
