import { isMap, isScalar, isSeq, type Node } from 'yaml'

import { pathText, type Path, type Problem } from './problem.ts'
import { quote, scalarText, type Source } from './source.ts'

/** The words for what the language has and this version does not. */
export const NOT_BUILT = 'is not supported in this version'

/** Collects what is said about one file while it is read. */
export class Report {
  readonly source: Source
  readonly problems: Problem[] = []
  readonly notes: Problem[] = []

  constructor(source: Source) {
    this.source = source
  }

  /** Reports a problem at a node, or at `path` where the node has no place. Returns undefined. */
  at(node: unknown, path: Path, message: string): undefined {
    const range = (node as Node | null)?.range
    this.problems.push(
      range
        ? this.source.problemAtOffset(range[0], path, message)
        : this.source.problemAt(path, message),
    )
    return undefined
  }

  /** Reports a node of the wrong kind. */
  unexpected(node: unknown, path: Path, what: string): undefined {
    if (node === null || (isScalar(node) && node.value === null)) {
      return this.at(node, path, `Nothing here: expected ${what}`)
    }
    const found = isMap(node) ? 'a map' : isSeq(node) ? 'a list' : shownScalar(node)
    return this.at(node, path, `Expected ${what}, found ${found}`)
  }

  /** Says something that stops nothing. */
  note(path: Path, message: string, rule?: string): void {
    const note = { ...this.source.problemAt(path, message), severity: 'note' } as const
    this.notes.push(rule === undefined ? note : { ...note, rule })
  }

  /** Whether something is said about exactly this place already. */
  noted(path: Path): boolean {
    return this.notes.some((note) => note.path === pathText(path))
  }

  /** For checks after reading: reports unless it holds, or something there is reported already. */
  check(path: Path, holds: boolean, message: string): void {
    if (!holds && this.clean(path)) this.problems.push(this.source.problemAt(path, message))
  }

  /** Reports at a UTF-16 unit of the string at `path`. */
  within(path: Path, offset: number, message: string): void {
    this.problems.push(this.source.problemWithin(path, offset, message))
  }

  /** Whether nothing is said at or below `path`: neither a problem nor a variable not set. */
  clean(path: Path): boolean {
    const text = pathText(path)
    return ![...this.problems, ...this.notes, ...this.source.problems].some(
      (problem) =>
        problem.path === text ||
        (problem.path.startsWith(text) && /^[.[]/.test(problem.path.slice(text.length))),
    )
  }
}

/** As it stands in the file, so that no substituted value is shown. */
export function shownScalar(node: unknown): string {
  if (!isScalar(node)) return 'nothing'
  return typeof node.value === 'string' ? quote(node.value) : scalarText(node)
}
