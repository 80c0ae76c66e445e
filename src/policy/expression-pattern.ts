import type { RE2JS } from 're2js'

/** The longest pattern of `re2()`, characters. */
export const PATTERN_CHARS_MAX = 1000
/** Instructions of a program that RE2's automaton is trusted with. */
const INSTRUCTIONS_MAX = 256
/** What counts multiply to, up to which the automaton stays small enough whatever it reads. */
const REPEATS_MAX = 8
/** A node's time for a unit of text in the automaton, and for an instruction without it: 10 and 70 ns. */
const AUTOMATON_COST = 0.5
const INSTRUCTION_COST = 1.4

/**
 * The most work one UTF-16 unit of text is, in evaluated nodes. RE2's automaton takes some 10 ns, but
 * a counted repetition can make it outgrow its memory on texts made for that, and without it every
 * instruction is looked at: `([ab]{0,30}a[ab]{30}){1,20}` took 130 µs a unit.
 */
export function patternCost(pattern: RE2JS): number {
  const instructions = pattern.re2().prog.inst.length
  const counts = [...pattern.pattern().matchAll(/\{(\d+)(?:,(\d*))?\}/g)]
  const repeats = counts.reduce((all, [, least, most]) => all * Number(most || least), 1)
  const isTame = instructions <= INSTRUCTIONS_MAX && repeats <= REPEATS_MAX
  return isTame ? AUTOMATON_COST : instructions * INSTRUCTION_COST
}

/** Says in our words what RE2 has against a pattern. */
export function patternProblem(pattern: string, error: unknown): string {
  if (/\(\?(<?[=!])/.test(pattern)) return 'RE2 has no look-around, so that time stays linear'
  const message = error instanceof Error ? error.message : 'not a pattern'
  return message.replace(/^error parsing regexp: /, '').replaceAll('`', "'")
}

const TYPICAL = [
  '',
  'gpt-4o-mini',
  'models/text-embedding-3-small',
  'get_weather',
  'Web Search 2.0',
]

/** The first match of a pattern builds its automaton: paid at load. */
export function warmPattern(pattern: RE2JS): void {
  for (const text of TYPICAL) pattern.test(text)
}
