import { RE2JS } from 're2js'

import { DETECTORS, type Operation } from '../exchange.ts'
import { suggestion, type Path } from './problem.ts'
import type { Report } from './report.ts'
import type { ExpressionChecker } from './resolve-expressions.ts'
import { quote } from './source.ts'
import type { Name } from './spec.ts'

/** What policies look for in texts, of a call and of its answer alike. */

/** What names in selectors may refer to. */
export interface Scope {
  readonly sets: Readonly<Record<string, readonly string[]>>
  readonly upstreams: readonly string[]
  /** Names of operations, the file's own among them. */
  readonly operations: readonly Operation[]
  /** Ids of the file's own detectors. */
  readonly detectors: readonly string[]
  /** Those of them that are asked over HTTP. */
  readonly services: readonly string[]
  /** Those of them that do not say where they found something. */
  readonly placeless: readonly string[]
  /** Their patterns by id, of those that compile. */
  readonly patterns: ReadonlyMap<string, string>
  readonly report: Report
  readonly expressions: ExpressionChecker
}

/** Names with the place that brought them: of a set's members, where the set is named. */
export function located(given: readonly Name[], { sets, report }: Scope, at: Path) {
  const whole = report.source.raw(at) !== null
  return given.flatMap((name, index): { readonly text: string; readonly at: Path }[] => {
    const here = whole ? at : [...at, index]
    if ('text' in name) return [{ text: name.text, at: here }]
    const members = Object.hasOwn(sets, name.set) ? sets[name.set] : undefined
    const known = Object.keys(sets)
    const hint = known.length === 0 ? ': define it in `sets`' : suggestion(name.set, known)
    const message = `Unknown set ${quote(`$${name.set}`)}${hint}`
    report.check(here, members !== undefined, message)
    return (members ?? []).map((text) => ({ text, at: here }))
  })
}

/** Reports a pattern that is not RE2; true when it is. */
export function checkPattern(pattern: string, report: Report, at: Path): boolean {
  const wrong = patternProblem(pattern)
  const message = `Cannot compile pattern ${report.source.shown(at)}: ${wrong}`
  report.check(at, wrong === null, message)
  return wrong === null
}

/** What a text is read without; tag characters are read as the ASCII they shadow. */
const UNREAD = /[[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\s]--[\u{e0021}-\u{e007e}]]/gv

/** Reports words that no text could hold. */
export function checkWords(words: readonly string[], report: Report, at: Path): void {
  const whole = report.source.raw(at) !== null
  words.forEach((word, index) => {
    const message = 'A word of spaces and invisible characters only would never be found: remove it'
    report.check(whole ? at : [...at, index], word.replace(UNREAD, '') !== '', message)
  })
}

/** Names of detectors that exist. */
export function resolveDetect(
  given: readonly Name[] | null,
  scope: Scope,
  at: Path,
): string[] | null {
  if (given === null) return null
  const known = [...DETECTORS, ...scope.detectors]
  return located(given, scope, at).map(({ text, at: here }) => {
    const message = `Unknown detector ${quote(text)}${suggestion(text, known)}`
    scope.report.check(here, known.includes(text), message)
    return text
  })
}

/** No text has one, so that the pattern would never match and nobody would see why. */
const BACKSPACE =
  'it holds a backspace, which is what "\\b" is in double quotes: put it in \'single quotes\''

/** What RE2, or who wrote it, has against a pattern; null when it compiles. */
export function patternProblem(pattern: string): string | null {
  if (pattern.includes('\b')) return BACKSPACE
  try {
    RE2JS.compile(pattern)
    return null
  } catch (error) {
    if (/\(\?(<?[=!])/.test(pattern)) return 'RE2 has no look-around, so that time stays linear'
    if (/\\[1-9]/.test(pattern)) return 'RE2 has no back-references, so that time stays linear'
    const message = error instanceof Error ? error.message : 'not a pattern'
    return message.replace(/^error parsing regexp: /, '').replaceAll('`', "'")
  }
}
