import { escapeText } from '../audit/format.ts'
import { decisionsSince, scanKind } from '../audit/query.ts'
import { recordReading } from '../audit/read-content.ts'
import { renderProblems } from '../config/problem.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { loadConfig } from '../load-config.ts'
import { compilePolicies } from '../policy/compile.ts'
import { readDecision } from '../policy/recorded.ts'
import { Candidate, Replay, type Change, type ReplayReport } from '../policy/replay.ts'
import { recordedTexts } from '../recorded-texts.ts'

/** The arguments of `governor replay`, and where its output goes. */
export interface ReplayOptions {
  /** The present configuration: its audit is replayed. */
  readonly snapshot: Snapshot
  /** The candidate. */
  readonly against: string
  /** Only decisions since then, milliseconds since 1970; 0 is all. */
  readonly sinceMs: number
  readonly json: boolean
  /** Let policies see prompts that were kept, and record that; null does neither. */
  readonly content?: { readonly version: string } | null
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/**
 * `governor replay`: what the candidate would have decided of every decision in the local audit. Exit
 * code 0 when nothing would change, 1 when something would, 2 when there is no log or no candidate.
 */
export async function replay(options: ReplayOptions): Promise<number> {
  const { snapshot, against, sinceMs, json, write, content = null } = options
  const { writeError = write } = options
  const loaded = loadConfig(against, { forRun: false, candidate: 'ignore' })
  if (!loaded.ok) {
    writeError(renderProblems(loaded.problems, 'Nothing was replayed.', loaded.excerptOf))
    return 2
  }
  const candidate = new Candidate(loaded.snapshot, compilePolicies(loaded.snapshot))
  candidate.learn(snapshot)
  const run = new Replay(candidate)
  try {
    const { path } = snapshot.audit
    scanKind(path, 'policy.load', (body) => candidate.learnLoad(body))
    if (content !== null) {
      recordReading({ path, ...content, command: 'replay', about: { against } })
    }
    for (const { body } of decisionsSince(path, sinceMs * 1000)) {
      const recorded = readDecision(body)
      const reads = content !== null && recorded.kind === 'decided'
      run.add(recorded, reads ? await recordedTexts(recorded, snapshot) : null)
    }
  } catch (error) {
    writeError(`${escapeText((error as Error).message)}\n`)
    return 2
  }
  const report = run.report()
  write(json ? `${escapeText(JSON.stringify(report))}\n` : reportText(report, against))
  return report.changed > 0 ? 1 : 0
}

function reportText(report: ReplayReport, against: string): string {
  const { decisions, same, changed, unknown, refused, unreadable } = report
  const lines = [`${count(decisions)} decisions against ${against}`]
  lines.push(`${column(same)}  the same`, `${column(changed)}  would change`)
  if (unknown > 0) lines.push(`${column(unknown)}  unknown: need what was not recorded`)
  if (refused > 0)
    lines.push(`${column(refused)}  beside them, refused before any policy was asked`)
  if (unreadable > 0) lines.push(`${column(unreadable)}  beside them, entries that cannot be read`)
  if (report.changes.length > 0) lines.push('', ...report.changes.map(changeLine))
  if (report.unknowns.length > 0) {
    lines.push('', ...report.unknowns.map((each) => unknownLine(each.count, each.policy)))
  }
  return `${lines.map(escapeText).join('\n')}\n`
}

const KINDS = {
  refused: 'would be refused',
  'let through': 'would be let through',
  'refused by another': 'would be refused by another policy',
  'without upstream': 'would find no upstream',
  warned: 'would get a warning',
  'not warned': 'would get no warning',
  masked: 'would be masked',
  'not masked': 'would not be masked',
} as const

function changeLine({ kind, policy, count: number, examples }: Change): string {
  return `${column(number)}  ${KINDS[kind]}  ${byPolicy(kind, policy)}  e.g. ${examples.join(' ')}`
}

function byPolicy(kind: Change['kind'], policy: string): string {
  if (kind === 'without upstream') return 'none serves the model'
  if (kind === 'let through') return `now: ${policy === '' ? 'no policy allows it' : policy}`
  return policy === '' ? 'no policy allows it' : policy
}

function unknownLine(number: number, policy: string): string {
  return `${column(number)}  unknown  ${policy === '' ? 'content that cannot be read' : policy}`
}

function column(number: number): string {
  return count(number).padStart(9)
}

function count(number: number): string {
  return number.toLocaleString('en-US')
}
