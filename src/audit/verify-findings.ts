import type { Finding } from './verify-types.ts'

/** What a verification has found so far; the first hundred of each are kept, all problems are counted. */

const FINDINGS_MAX = 100

/** Where something was found. */
export type FoundAt = Omit<Finding, 'what'>

/** Problems and notes of one verification. */
export class Findings {
  readonly problems: Finding[] = []
  readonly notes: Finding[] = []
  problemsTotal = 0
  /** Files, lists and databases that could not be read. */
  unreadable = 0

  problem({ file, writer, seq }: FoundAt, what: string): void {
    this.problemsTotal++
    if (this.problems.length >= FINDINGS_MAX) return
    this.problems.push({ file, writer, seq, what })
  }

  note({ file, writer, seq }: FoundAt, what: string): void {
    if (this.notes.length >= FINDINGS_MAX) return
    this.notes.push({ file, writer, seq, what })
  }

  cannotRead(file: string, why: string): void {
    this.unreadable++
    this.note({ file, writer: '', seq: 0 }, `It cannot be read: ${why}`)
  }
}
