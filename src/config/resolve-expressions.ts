import { suggestion, type Path } from './problem.ts'
import type { Report } from './report.ts'

/** What a checker says of one expression: what it may cost, or what is wrong and where in it. */
export type ExpressionVerdict =
  | { readonly ok: true; readonly cost: number }
  | {
      readonly ok: false
      /** In UTF-16 units of the expression. */
      readonly offset: number
      readonly message: string
      /** A word that is not known, among those that are. */
      readonly unknown: { readonly word: string; readonly known: readonly string[] } | null
    }

/** Never throws. */
export type ExpressionCheck = (source: string) => ExpressionVerdict

/** The most work all expressions of a file may be together, in evaluated nodes of about 50 ns. */
export const EXPRESSIONS_COST_MAX = 1_000_000

/** Checks the expressions of one file, and that they are not too much together. */
export class ExpressionChecker {
  readonly #check: ExpressionCheck
  readonly #report: Report
  #cost = 0

  constructor(check: ExpressionCheck, report: Report) {
    this.#check = check
    this.#report = report
  }

  /** Reports what is wrong with the expression at `path`; returns it. */
  expression(source: string, path: Path): string {
    if (!this.#report.clean(path)) return source
    if (this.#report.source.raw(path)?.includes('${') === true) {
      const message =
        'A variable cannot stand in an expression: compare with a label, or write it out'
      this.#report.check(path, false, message)
      return source
    }
    const verdict = this.#check(source)
    if (verdict.ok) {
      this.#count(verdict.cost, path)
      return source
    }
    const { offset, message, unknown } = verdict
    const hint = unknown === null ? '' : suggestion(unknown.word, unknown.known)
    this.#report.within(path, offset, `${message}${hint}`)
    return source
  }

  /** Says it once, where it becomes too much. */
  #count(cost: number, path: Path): void {
    const before = this.#cost
    this.#cost += cost
    if (before > EXPRESSIONS_COST_MAX || this.#cost <= EXPRESSIONS_COST_MAX) return
    const message = `The expressions up to this one can be too much work together (${this.#cost} steps of at most ${EXPRESSIONS_COST_MAX}): nest fewer loops`
    this.#report.check(path, false, message)
  }
}
