import { RE2JS, RE2Set } from 're2js'

import { runNow } from '../turns.ts'
import { LiteralAutomaton } from './automaton.ts'
import { DenseAutomaton } from './dense-automaton.ts'
import { DetectorSet } from './detect/detector-set.ts'
import { REGISTRY } from './detect/registry.ts'
import { foldText } from './fold.ts'
import { requiredLiterals } from './literals.ts'
import type { LookAlikes } from './look-alikes.ts'
import { normaliseText } from './normalise.ts'
import { Prefilter } from './prefilter.ts'
import { scanTexts, SHORT_UNITS_MAX } from './scan.ts'
import { singleSpaced } from './spaces.ts'
import { Units } from './units.ts'
import { isWordAt, isWordBefore } from './word-boundary.ts'

/** A detector that a policy uses; `pattern` is an index where it is one of the file's own. */
export interface DetectorUse {
  readonly id: string
  /** A service says what it finds; a text is not searched for it here. */
  readonly isExternal?: true
  readonly pattern: number | null
  readonly confidence: number
}

/** Patterns and lists of words by index, ready to run; made once a snapshot. */
export interface TextRules {
  /** Whether there is anything to look for. */
  readonly empty: boolean
  readonly patterns: readonly RE2JS[]
  /** All of them at once. */
  readonly all: DenseAutomaton
  /** Each by itself, made when it is first asked for; null where there is none. */
  readonly singles: (index: number) => DenseAutomaton | null
  /** Patterns without a literal that says much, which every text is matched with: null when there are none, and by index. */
  readonly always: DenseAutomaton | null
  readonly alwaysIndexes: readonly number[]
  readonly automaton: LiteralAutomaton
  readonly prefilter: Prefilter
  readonly literals: readonly Literal[]
  /** Units of the longest of them. */
  readonly longestLiteral: number
  readonly wordLists: number
  readonly detectors: readonly DetectorUse[]
  /** The built-in ones among them; null when there are none. */
  readonly detectorSet: DetectorSet | null
  /** Memory that texts take turns in. */
  readonly units: Units
  /** How letters of other scripts look; null where nobody asks. */
  readonly lookAlikes: LookAlikes | null
}

/** What else texts are searched for, and how they are read. */
export interface TextOptions {
  readonly detectors?: readonly DetectorUse[]
  readonly lookAlikes?: LookAlikes | null
}

/** U+FDFA reads as 18 characters, which is the most. */
const GROWTH_MAX = 18

/**
 * A pattern that is to refuse, whose `.` takes line ends, too: a text is not another text when it is
 * wrapped. `(?-s)` in the pattern has the last word.
 */
export function acrossLines(pattern: string): string {
  return `(?s)${pattern}`
}

/** A word, or what a pattern cannot match without. */
export interface Literal {
  /** Folded; a space of it stands for any white space. */
  readonly text: string
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
  { detectors = [], lookAlikes = null }: TextOptions = {},
): TextRules {
  const units = new Units(SHORT_UNITS_MAX * GROWTH_MAX)
  const compiled = patterns.map((pattern) => RE2JS.compile(pattern))
  const lists = wordLists.map((words) => readingsOf(words, lookAlikes, units))
  const { literals, alwaysIndexes } = literalsOf(compiled, lists)
  const automaton = new LiteralAutomaton([...literals.keys()], { looseSpaces: true })
  const rules = {
    empty: patterns.length === 0 && wordLists.length === 0 && detectors.length === 0,
    patterns: compiled,
    all: setOf(patterns),
    singles: singlesOf(compiled),
    always:
      alwaysIndexes.length === 0
        ? null
        : setOf(alwaysIndexes.map((index) => patterns[index] ?? '')),
    alwaysIndexes,
    automaton,
    prefilter: new Prefilter([...literals.keys()], automaton, {
      gaveUp: alwaysIndexes.length > 0,
      looks: looksOf(lookAlikes, units),
    }),
    literals: [...literals].map(([text, targets]) => ({
      ...targets,
      text,
      bounded: [isWordAt(text, 0), isWordBefore(text, text.length)] as const,
    })),
    longestLiteral: [...literals.keys()].reduce((most, { length }) => Math.max(most, length), 0),
    wordLists: wordLists.length,
    detectors,
    detectorSet: detectorSetOf(detectors, lookAlikes),
    units,
    lookAlikes,
  }
  warm(rules)
  return rules
}

function looksOf(lookAlikes: LookAlikes | null, units: Units): (text: string) => string {
  return lookAlikes === null ? (text) => text : (text) => lookAlikes.read(text, units)
}

/** What is looked for first, with what it is for; and the patterns that have no such thing. */
function literalsOf(patterns: readonly RE2JS[], wordLists: readonly (readonly string[])[]) {
  const literals = new Map<string, { patterns: number[]; wordLists: number[] }>()
  const required = patterns.map(requiredLiterals)
  const isRead = required.includes(null)
  const alwaysIndexes: number[] = []
  for (const [index, each] of required.entries()) {
    // Where every text is read for some patterns, one more costs less than a pass of its own over most.
    if (each === null || (isRead && each.some(isCommon))) alwaysIndexes.push(index)
    else for (const literal of each) entry(literals, singleSpaced(literal)).patterns.push(index)
  }
  for (const [index, words] of wordLists.entries()) {
    for (const word of new Set(words)) {
      if (word !== '') entry(literals, word).wordLists.push(index)
    }
  }
  return { literals, alwaysIndexes }
}

/** One or two letters or digits stand in most texts somewhere. */
function isCommon(literal: string): boolean {
  return /^[\p{L}\p{N}\s]{1,2}$/u.test(literal)
}

/** How the words of a list read and look, folded. */
function readingsOf(
  words: readonly string[],
  lookAlikes: LookAlikes | null,
  units: Units,
): readonly string[] {
  const read = words.map((word) => singleSpaced(normaliseText(word)).trim())
  const looks = lookAlikes === null ? [] : read.map((word) => lookAlikes.read(word, units))
  return [...read, ...looks].map(foldText)
}

function detectorSetOf(
  uses: readonly DetectorUse[],
  lookAlikes: LookAlikes | null,
): DetectorSet | null {
  const detectors = uses.flatMap(({ id }) => REGISTRY.get(id) ?? [])
  return detectors.length === 0 ? null : new DetectorSet(detectors, lookAlikes)
}

function entry<Value>(
  map: Map<string, { patterns: Value[]; wordLists: Value[] }>,
  key: string,
): { patterns: Value[]; wordLists: Value[] } {
  const found = map.get(key) ?? { patterns: [], wordLists: [] }
  map.set(key, found)
  return found
}

function setOf(patterns: readonly string[]): DenseAutomaton {
  const set = new RE2Set()
  for (const pattern of patterns) set.add(pattern)
  set.compile()
  return new DenseAutomaton(set.dfa)
}

function singlesOf(patterns: readonly RE2JS[]): (index: number) => DenseAutomaton | null {
  const made = new Map<number, DenseAutomaton>()
  return (index) => {
    const pattern = patterns[index]
    if (pattern === undefined) return null
    const known = made.get(index) ?? new DenseAutomaton(pattern.re2().dfa)
    made.set(index, known)
    return known
  }
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
    rules.all.warm(rules.units.values, rules.units.fill(text, 0, text.length))
    for (const pattern of rules.patterns) pattern.test(text)
    for (const round of [text, text.toUpperCase()]) runNow(scanTexts(rules, [round]))
  }
}
