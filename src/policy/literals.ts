import type { RE2JS } from 're2js'

import { foldUnit } from './fold.ts'

/**
 * Running a regular expression is the dearest step of a call (43 µs per 2 KB at ten patterns), and
 * most patterns cannot match without some fixed letters. They are read off the engine's own compiled
 * program, so that flags, classes and folding mean here exactly what they mean when matching: a step
 * of the program that every way to a match takes is looked up, and the texts that can be read from
 * there on are listed while they are few.
 */

/** Longest literal that is derived. */
const LENGTH_MAX = 8
/** Alternatives one pattern may need; more cost more than they save. */
const ALTERNATIVES_MAX = 16
/** Characters a class may have and still be spelled out. */
const CLASS_MAX = 64
/** Instructions beyond which a pattern is not analysed. */
const PROGRAM_MAX = 4_000

/** Instruction codes of re2js 2.10, the version that is pinned; a test compares them with its dump. */
const OP = { alt: 1, altMatch: 2, capture: 3, emptyWidth: 4, fail: 5, match: 6, nop: 7 } as const
const OP_RUNE = 8
const OP_RUNE1 = 9
const OP_RUNE_ANY_NOT_NL = 11
const FLAG_FOLD_CASE = 1
/** Code points up to here are one code unit each; surrogates begin after it. */
const ONE_UNIT_MAX = 0xd7ff

interface Instruction {
  readonly op: number
  readonly out: number
  readonly arg: number
  readonly runes: Int32Array
}

/** What can be read at one place of a program: characters to one next place each, or too much to list. */
interface Closure {
  readonly steps: readonly { readonly units: readonly string[]; readonly next: number }[]
  /** A match, or a class too wide to list, can come here. */
  readonly open: boolean
}

/**
 * Folded strings (`foldUnit`) of which every text that `pattern` matches contains at least one, once
 * it is folded the same way; null when none can be told. Never throws.
 */
export function requiredLiterals(pattern: RE2JS): readonly string[] | null {
  const program: { readonly start: number; readonly inst: readonly Instruction[] } =
    pattern.re2().prog
  if (program.inst.length > PROGRAM_MAX) return null
  let best: { readonly literals: readonly string[]; readonly score: number } | null = null
  for (const place of unavoidable(program.inst, program.start)) {
    const literals = readFrom(program.inst, place)
    const score = literals === null ? 0 : usefulness(literals)
    if (literals !== null && score > (best?.score ?? 0)) best = { literals, score }
  }
  return best?.literals ?? null
}

/** Long is good, many is bad; single letters, digits and blanks are in every text, some marks in most. */
function usefulness(literals: readonly string[]): number {
  const shortest = Math.min(...literals.map((literal) => literal.length))
  if (shortest === 0 || literals.some((literal) => /^[\p{L}\p{N}\s]$/u.test(literal))) return 0
  const common = literals.some((literal) => /^[-_.,:;/'"()]$/.test(literal)) ? 2 : 0
  return shortest * 4 - common - Math.log2(literals.length) / 2
}

/** Places that every way from the start to a match passes. */
function unavoidable(program: readonly Instruction[], start: number): readonly number[] {
  const way = wayToMatch(program, start, -1)
  if (way === null) return []
  return way.filter((place) => place === start || wayToMatch(program, start, place) === null)
}

/** One way from `start` to a match that avoids `closed`; null when there is none. */
function wayToMatch(
  program: readonly Instruction[],
  start: number,
  closed: number,
): readonly number[] | null {
  const cameFrom = new Map<number, number>([[start, -1]])
  const queue = [start]
  for (const place of queue) {
    const instruction = program[place]
    if (instruction === undefined) continue
    if (instruction.op === OP.match) return trace(cameFrom, place)
    for (const next of successors(instruction)) {
      if (next === closed || cameFrom.has(next)) continue
      cameFrom.set(next, place)
      queue.push(next)
    }
  }
  return null
}

function trace(cameFrom: ReadonlyMap<number, number>, end: number): readonly number[] {
  const way: number[] = []
  for (let place = end; place !== -1; place = cameFrom.get(place) ?? -1) way.push(place)
  return way
}

function successors({ op, out, arg }: Instruction): readonly number[] {
  if (op === OP.fail || op === OP.match) return []
  return op === OP.alt || op === OP.altMatch ? [out, arg] : [out]
}

/** Every text readable from `place` on begins with one of these; null when one may be empty. */
function readFrom(program: readonly Instruction[], place: number): readonly string[] | null {
  const done = new Set<string>()
  let growing = new Map<string, Set<number>>([['', new Set([place])]])
  for (let length = 0; length < LENGTH_MAX && growing.size > 0; length++) {
    const ended: string[] = []
    const next = new Map<string, Set<number>>()
    for (const [text, places] of growing) {
      const { steps, open } = closureOf(program, places)
      if (open) ended.push(text)
      else
        for (const step of steps) for (const unit of step.units) add(next, text + unit, step.next)
      if (done.size + ended.length + next.size > ALTERNATIVES_MAX) return close(done, growing)
    }
    for (const text of ended) done.add(text)
    growing = next
  }
  return close(done, growing)
}

function close(done: Set<string>, growing: ReadonlyMap<string, unknown>): readonly string[] | null {
  const texts = [...done, ...growing.keys()]
  return texts.length === 0 || texts.includes('') ? null : texts
}

function add(into: Map<string, Set<number>>, text: string, place: number): void {
  const places = into.get(text)
  if (places === undefined) into.set(text, new Set([place]))
  else places.add(place)
}

/** Follows everything that reads nothing. Assertions count as passed: that only adds ways. */
function closureOf(program: readonly Instruction[], places: Iterable<number>): Closure {
  const steps: { units: readonly string[]; next: number }[] = []
  const seen = new Set<number>(places)
  for (const place of seen) {
    const instruction = program[place]
    if (instruction === undefined || instruction.op === OP.fail) continue
    if (instruction.op >= OP_RUNE && instruction.op <= OP_RUNE_ANY_NOT_NL) {
      const units = unitsOf(instruction)
      if (units === null) return { steps: [], open: true }
      steps.push({ units, next: instruction.out })
    } else if (passes(instruction.op)) {
      for (const next of successors(instruction)) seen.add(next)
    } else return { steps: [], open: true }
  }
  return { steps, open: false }
}

function passes(op: number): boolean {
  return op === OP.nop || op === OP.capture || op === OP.emptyWidth || op <= OP.altMatch
}

/** The folded code units one instruction reads; null when they are too many or not one unit each. */
function unitsOf({ op, arg, runes }: Instruction): readonly string[] | null {
  if (op !== OP_RUNE && op !== OP_RUNE1) return null
  const isSingle = runes.length === 1
  const ranges = isSingle ? [...runes, ...runes] : runes
  // Beyond ASCII the engine's folding may join characters that ours keeps apart.
  if (isSingle && (arg & FLAG_FOLD_CASE) !== 0 && (runes[0] ?? 0) > 0x7f) return null
  const units = new Set<string>()
  for (let i = 0; i < ranges.length; i += 2) {
    if (!addRange(units, ranges[i] ?? 0, ranges[i + 1] ?? 0)) return null
  }
  return [...units]
}

/** Whether all of a range could be added. */
function addRange(units: Set<string>, low: number, high: number): boolean {
  if (high > ONE_UNIT_MAX || high - low >= CLASS_MAX) return false
  for (let rune = low; rune <= high; rune++) units.add(String.fromCharCode(foldUnit(rune)))
  return units.size <= CLASS_MAX
}
