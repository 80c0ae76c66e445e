import { RE2JS, RE2Set } from 're2js'

import { Cursor, LiteralAutomaton, type LiteralHits } from './automaton.ts'
import { type Detection, DetectorSet } from './detect/detector-set.ts'
import { REGISTRY } from './detect/registry.ts'
import { foldText } from './fold.ts'
import { requiredLiterals } from './literals.ts'
import { LongMatch } from './long-match.ts'
import { Normaliser, normaliseText } from './normalise.ts'

/**
 * Finds which patterns and which lists of words occur in the texts of a call. Each text is read as it
 * is and, where that differs, as it reads (`normaliseText`). One pass of an automaton over literals
 * finds the words, and tells which patterns can match at all; the others are not run.
 */

/** Texts up to this are matched in one go; longer ones in slices. */
const SHORT_UNITS_MAX = 4096
/** Code units read between two breaths. */
const SLICE_UNITS = 64 * 1024
/** Slices of 1 K units normalised between two breaths; each may take 0.4 ms where all are marks. */
const NORMAL_SLICES = 8
/** What texts may grow by when normalised, all of a call together: U+FDFA is 18 characters. */
const GROWTH_UNITS_MAX = 16 * 1024 * 1024
/** A text without units is work, too. */
const TEXT_WORK = 16
/** A run of an engine, in code units of the automaton over literals. */
const RUN_WORK = 10
/** Beyond this one pass of all patterns costs less than one each. */
const SINGLES_MAX = 4

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

/** A detector that a policy uses; `pattern` is an index where it is one of the file's own. */
export interface DetectorUse {
  readonly id: string
  readonly pattern: number | null
  readonly confidence: number
}

/** Patterns and lists of words by index, ready to run; made once a snapshot. */
export interface TextRules {
  /** Whether there is anything to look for. */
  readonly empty: boolean
  readonly patterns: readonly RE2JS[]
  readonly all: RE2Set
  /** Patterns without a literal, which every text has to be matched with, as a set and by index. */
  readonly always: RE2Set
  readonly alwaysIndexes: readonly number[]
  readonly automaton: LiteralAutomaton
  readonly literals: readonly Literal[]
  /** Units of the longest of them. */
  readonly longestLiteral: number
  readonly wordLists: number
  readonly detectors: readonly DetectorUse[]
  /** The built-in ones among them; null when there are none. */
  readonly detectorSet: DetectorSet | null
}

interface Literal {
  readonly length: number
  /** Patterns that can match where this occurs. */
  readonly patterns: readonly number[]
  /** Lists of words this is in. */
  readonly wordLists: readonly number[]
  /** Whether the first and the last character of a word need a boundary before and after it. */
  readonly bounded: readonly [boolean, boolean]
}

/**
 * Compiles all patterns (RE2) and lists of words of a snapshot, each once. Throws re2js' own error on
 * a pattern that is not RE2, a RangeError when the words are too many.
 */
export function compileTextRules(
  patterns: readonly string[],
  wordLists: readonly (readonly string[])[],
  detectors: readonly DetectorUse[] = [],
): TextRules {
  const literals = new Map<string, { patterns: number[]; wordLists: number[] }>()
  const compiled = patterns.map((pattern) => RE2JS.compile(pattern))
  const alwaysIndexes: number[] = []
  for (const [index, pattern] of compiled.entries()) {
    const required = requiredLiterals(pattern)
    if (required === null) alwaysIndexes.push(index)
    else for (const literal of required) entry(literals, literal).patterns.push(index)
  }
  for (const [index, words] of wordLists.entries()) {
    const distinct = new Set(words.map((word) => foldText(normaliseText(word))))
    for (const word of distinct) if (word !== '') entry(literals, word).wordLists.push(index)
  }
  const rules = {
    empty: patterns.length === 0 && wordLists.length === 0 && detectors.length === 0,
    patterns: compiled,
    all: setOf(patterns),
    always: setOf(alwaysIndexes.map((index) => patterns[index] ?? '')),
    alwaysIndexes,
    automaton: new LiteralAutomaton([...literals.keys()]),
    literals: [...literals].map(([text, targets]) => ({
      ...targets,
      length: text.length,
      bounded: [isWordAt(text, 0), isWordBefore(text, text.length)] as const,
    })),
    longestLiteral: [...literals.keys()].reduce((most, { length }) => Math.max(most, length), 0),
    wordLists: wordLists.length,
    detectors,
    detectorSet: detectorSetOf(detectors),
  }
  warm(rules)
  return rules
}

function detectorSetOf(uses: readonly DetectorUse[]): DetectorSet | null {
  const detectors = uses.flatMap(({ id }) => REGISTRY.get(id) ?? [])
  return detectors.length === 0 ? null : new DetectorSet(detectors)
}

function entry<Value>(
  map: Map<string, { patterns: Value[]; wordLists: Value[] }>,
  key: string,
): { patterns: Value[]; wordLists: Value[] } {
  const found = map.get(key) ?? { patterns: [], wordLists: [] }
  map.set(key, found)
  return found
}

function setOf(patterns: readonly string[]): RE2Set {
  const set = new RE2Set()
  for (const pattern of patterns) set.add(pattern)
  set.compile()
  return set
}

/** What calls look like, for the automata that grow with the texts they see. */
const TYPICAL = [
  'user',
  'gpt-4o-mini',
  'You are a helpful assistant. Answer in one short paragraph, and cite your sources.',
  'Please mail jane.doe+news@example.com or call +1 (555) 010-9999 before 2024-01-31, 09:30.',
  '{"name":"get_weather","arguments":"{\\"city\\":\\"Köln\\",\\"unit\\":\\"c\\"}","id":"call_3fA9"}',
  'def f(x: int) -> str:\n    return f"{x!r}: ${x * 2}"  # <tag attr=\'1\'>, a&b; [0-9]*\n',
  'https://example.com/a/b?c=d&e=%20#f 0123456789 4111 1111 1111 1111 AKIA0123456789ABCDEF ~^|@',
]

/** The first match of an engine costs 10 to 90 ms: paid here instead of by the first caller. */
function warm(rules: TextRules): void {
  for (const text of [...TYPICAL, TYPICAL.join('\n')]) {
    rules.all.match(text)
    for (const pattern of rules.patterns) pattern.test(text)
    for (const round of [text, text.toUpperCase()]) drain(scanTexts(rules, [round]))
  }
}

function drain(scan: Generator<undefined, unknown>): void {
  while (scan.next().done !== true);
}

/** What detectors cost beside the rest, in code units of the automaton over literals. */
const DETECT_WORK = 12

/**
 * Looks for everything in all texts, with `detects` also by detectors. Yields after about a millisecond of work, so that the caller can
 * let the event loop run; a call of ordinary size ends without a yield.
 */
export function* scanTexts(
  rules: TextRules,
  texts: readonly string[],
  detects = true,
): Generator<undefined, TextMatches> {
  const scan = new Scan(rules)
  const { detectorSet, patterns, wordLists } = rules
  const searches = patterns.length > 0 || wordLists > 0
  let units = 0
  for (const text of texts) {
    units += TEXT_WORK
    if (text.length > SHORT_UNITS_MAX) units += searches ? yield* scan.long(text) : 0
    else if (searches && text !== '') units += scan.short(text)
    if (detects && detectorSet !== null) {
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
    const cursor = this.#begin(text)
    this.#rules.automaton.scan(text, text.length, cursor, this)
    const work = this.#matchShort(text)
    if (cursor.seenUnits <= 0x7f) return work
    const normal = normaliseText(text)
    if (normal === text) return work
    this.#rules.automaton.scan(normal, normal.length, this.#begin(normal), this)
    return work + this.#matchShort(normal)
  }

  #begin(text: string): Cursor {
    this.#text = text
    if (this.#candidates.size > 0) this.#candidates.clear()
    return new Cursor()
  }

  #matchShort(text: string): number {
    const { always, alwaysIndexes, all, patterns } = this.#rules
    let runs = 0
    if (alwaysIndexes.length > 0) {
      runs += 1
      for (const id of always.match(text)) this.#patterns[alwaysIndexes[id] ?? 0] = 1
    }
    if (this.#candidates.size > SINGLES_MAX) {
      runs += 1
      for (const id of all.match(text)) this.#patterns[id] = 1
    } else {
      for (const id of this.#candidates) {
        runs += 1
        if (patterns[id]?.test(text) === true) this.#patterns[id] = 1
      }
    }
    return text.length * (1 + RUN_WORK * runs)
  }

  /**
   * Scans a long text, yielding between slices; returns the work done since, at most. What it reads as
   * is never held as a whole: it is made once for the literals and again where patterns can match.
   */
  *long(text: string): Generator<undefined, number> {
    const isAscii = yield* this.#longPieces(() => piecesOf(text))
    if (isAscii) return SLICE_UNITS
    this.#grown -= text.length
    yield* this.#longPieces(() => normalPiecesOf(text, (units) => this.#grow(units)))
    return SLICE_UNITS
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
    if (alwaysIndexes.length > 0) {
      const found = (id: number) => (this.#patterns[alwaysIndexes[id] ?? 0] = 1)
      runs.push(new LongMatch(always.dfa, found))
    }
    if (this.#candidates.size > SINGLES_MAX) {
      runs.push(new LongMatch(all.dfa, (id) => (this.#patterns[id] = 1)))
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

/** Pieces of a text, none of which ends inside a pair, with an undefined where to breathe. */
function* piecesOf(text: string): Generator<undefined | string, void> {
  for (let from = 0; from < text.length;) {
    let to = Math.min(from + SLICE_UNITS, text.length)
    if (to < text.length && (text.codePointAt(to - 1) ?? 0) > 0xffff) to--
    if (from > 0) yield
    yield text.slice(from, to)
    from = to
  }
}

function* normalPiecesOf(
  text: string,
  made: (units: number) => void,
): Generator<undefined | string, void> {
  const normaliser = new Normaliser(text)
  let piece = normaliser.next()
  for (let slices = 1; piece !== null; slices++) {
    made(piece.length)
    if (piece !== '') yield piece
    if (slices % NORMAL_SLICES === 0) yield
    piece = normaliser.next()
  }
}

function* readAll(
  runs: readonly LongMatch[],
  pieces: Generator<undefined | string, void>,
): Generator<undefined, void> {
  for (const piece of pieces) {
    if (piece === undefined) yield
    else for (const run of runs) yield* run.read(piece)
    if (runs.every((run) => run.isOver)) return
  }
}

/** Whether the literal that ends at `end` stands apart from letters and digits around it. */
function isWhole(text: string, { length, bounded }: Literal, end: number): boolean {
  const [first, last] = bounded
  return !(first && isWordBefore(text, end - length)) && !(last && isWordAt(text, end))
}

const LETTER_OR_DIGIT = /^[\p{L}\p{N}]/u

function isWordAt(text: string, at: number): boolean {
  return at < text.length && LETTER_OR_DIGIT.test(String.fromCodePoint(text.codePointAt(at) ?? 0))
}

function isWordBefore(text: string, at: number): boolean {
  if (at <= 0) return false
  const isPair = at > 1 && (text.codePointAt(at - 2) ?? 0) > 0xffff
  return isWordAt(text, isPair ? at - 2 : at - 1)
}
