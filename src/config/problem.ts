import { meant } from './synonyms.ts'

/** A place in the file: keys and indexes from the root, like `['policies', 2, 'id']`. */
export type Path = readonly (string | number)[]

/** One thing to say about a configuration file. Never holds a secret. */
export interface Problem {
  /** As the caller named it. */
  readonly file: string
  /** From 1; 0 when the file could not be read at all. */
  readonly line: number
  /** From 1, in UTF-16 units; 0 when the file could not be read at all. */
  readonly column: number
  /** Like `policies[2].id`; '' when it is about the file or its syntax. */
  readonly path: string
  readonly message: string
  /** A `note` stops nothing. */
  readonly severity: 'error' | 'note'
  /** The lint rule that says so; see `LINT_RULES`. */
  readonly rule?: string
}

/** Shows the line of a problem and its place in it, as lines that end in line breaks; '' where it is not shown. */
export type ExcerptOf = (problem: Problem) => string

/** The most problems one file reports; a file with more is not read to its end by anyone. */
export const PROBLEMS_MAX = 100

/** Writes a path the way people say it: `limits[0].overrides[1].for`. */
export function pathText(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (!/^[\w$-]+$/.test(step)) text += `[${visible(JSON.stringify(step))}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}

/** Shows what would hide or reorder the text around it as `\\uXXXX`: a file is its writer's. */
export function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) =>
    Array.from({ length: found.length }, (_, index) => {
      return `\\u${found.charCodeAt(index).toString(16).padStart(4, '0')}`
    }).join(''),
  )
}

/** Orders problems by line, then column; those of one place keep their order. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column)
}

/** One line: `file:line:col  path  message`, what is empty left out. */
export function problemLine(problem: Problem): string {
  const file = visible(problem.file)
  const place = problem.line === 0 ? file : `${file}:${problem.line}:${problem.column}`
  const message = problem.severity === 'note' ? `Note: ${problem.message}` : problem.message
  return [place, problem.path, message].filter((part) => part !== '').join('  ')
}

/**
 * All problems, a line each with its `excerptOf` below, and a last line that counts them: `2 problems.`
 * or, with `consequence`, `2 problems. Nothing was started.` Ends in a line break; '' when there are none.
 */
export function renderProblems(
  problems: readonly Problem[],
  consequence = '',
  excerptOf: ExcerptOf = () => '',
): string {
  if (problems.length === 0) return ''
  const count = problems.length === 1 ? '1 problem.' : `${problems.length} problems.`
  const last = consequence === '' ? count : `${count} ${consequence}`
  const said = problems.map((problem) => `${problemLine(problem)}\n${excerptOf(problem)}`)
  return `${said.join('')}${last}\n`
}

/** The candidate nearest to `word`, or null when none is near enough to be what was meant. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  let best: string | null = null
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** `: did you mean "x"?` or, when nothing is near, the whole list if it is short. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const near = nearest(word, candidates) ?? meant(word, candidates)
  if (near !== null) return `: did you mean ${JSON.stringify(near)}?`
  return candidates.length === 0 ? '' : `: expected one of ${candidates.slice(0, 24).join(', ')}`
}

/** Insertions, deletions, substitutions and swaps of neighbours (restricted Damerau-Levenshtein). */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3 || a.length > 64) return Number.POSITIVE_INFINITY
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(at(rows, i - 1, j) + 1, (row[j - 1] ?? 0) + 1)
      least = Math.min(least, at(rows, i - 1, j - 1) + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, at(rows, i - 2, j - 2) + 1)
      }
      row.push(least)
    }
    rows.push(row)
  }
  return at(rows, a.length, b.length)
}

function at(rows: readonly (readonly number[])[], i: number, j: number): number {
  return rows[i]?.[j] ?? 0
}
