import { RE2JS, RE2Set } from 're2js'

import { Cursor, LiteralAutomaton, type LiteralHits } from './automaton.ts'
import { foldText } from './fold.ts'
import { requiredLiterals } from './literals.ts'
import { matchLongText } from './long-match.ts'
import { cutForNormalising, normaliseText } from './normalise.ts'

/**
 * Finds which patterns and which lists of words occur in the texts of a call. Each text is read as it
 * is and, where that differs, as it reads (`normaliseText`). One pass of an automaton over literals
 * finds the words, and tells which patterns can match at all; the others are not run.
 */

/** Texts up to this are matched in one go; longer ones in slices. */
const SHORT_UNITS_MAX = 4096
/** Code units read between two breaths. */
const SLICE_UNITS = 64 * 1024
/** A run of an engine, in code units of the automaton over literals. */
const RUN_WORK = 10
/** Beyond this one pass of all patterns costs less than one each. */
const SINGLES_MAX = 4

/** What was found in the texts of one call. */
export interface TextMatches {
  pattern(index: number): boolean
  words(index: number): boolean
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
  readonly wordLists: number
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
    empty: patterns.length === 0 && wordLists.length === 0,
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
    wordLists: wordLists.length,
  }
  warm(rules)
  return rules
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

/**
 * Looks for everything in all texts. Yields after about a millisecond of work, so that the caller can
 * let the event loop run; a call of ordinary size ends without a yield.
 */
export function* scanTexts(
  rules: TextRules,
  texts: readonly string[],
): Generator<undefined, TextMatches> {
  const scan = new Scan(rules)
  let units = 0
  for (const text of texts) {
    if (text.length <= SHORT_UNITS_MAX) units += scan.short(text)
    else units += yield* scan.long(text)
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
  #text = ''

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

  /** Scans a long text, yielding between slices; returns the work done since, at most. */
  *long(text: string): Generator<undefined, number> {
    const isAscii = yield* this.#longAsIs(text)
    if (isAscii) return text.length
    const parts: string[] = []
    for (let from = 0; from < text.length;) {
      const to = cutForNormalising(text, from, from + SLICE_UNITS / 4)
      parts.push(normaliseText(text.slice(from, to)))
      from = to
      if (from < text.length) yield
    }
    const normal = parts.join('')
    if (normal !== text) yield* this.#longAsIs(normal)
    return text.length * 2
  }

  /** Says whether the text was plain ASCII. */
  *#longAsIs(text: string): Generator<undefined, boolean> {
    const { automaton, always, alwaysIndexes, all, patterns } = this.#rules
    const cursor = this.#begin(text)
    while (cursor.at < text.length) {
      automaton.scan(text, Math.min(cursor.at + SLICE_UNITS, text.length), cursor, this)
      if (cursor.at < text.length) yield
    }
    if (alwaysIndexes.length > 0) {
      const found = (id: number) => (this.#patterns[alwaysIndexes[id] ?? 0] = 1)
      yield* matchLongText(always.dfa, text, found)
    }
    if (this.#candidates.size > SINGLES_MAX) {
      yield* matchLongText(all.dfa, text, (id) => (this.#patterns[id] = 1))
      return cursor.seenUnits <= 0x7f
    }
    for (const id of this.#candidates) {
      const dfa = patterns[id]?.re2().dfa
      if (dfa !== undefined && (yield* matchLongText(dfa, text))) this.#patterns[id] = 1
    }
    return cursor.seenUnits <= 0x7f
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
