import { findCall, scanKind, type StoredEntry } from './audit/query.ts'
import type { Snapshot } from './config/snapshot.ts'
import { compilePolicies } from './policy/compile.ts'
import { type ExplainedPolicy, whyText } from './policy/explain.ts'
import { readDecision, type RecordedDecision } from './policy/recorded.ts'
import { Candidate } from './policy/replay.ts'

/** What one policy makes of a call, in words: a row of `governor explain`. */
export interface ExplainedRow {
  readonly id: string
  readonly verb: string
  readonly mode: string
  /** `excepted` where an exception lifts it. */
  readonly finding: ExplainedPolicy['finding'] | 'excepted'
  readonly why: string
  readonly exception: string | null
}

/** What all policies of one snapshot make of a recorded call. */
export interface ExplainedVerdict {
  /** Of the snapshot that decided then, hex. */
  readonly digest: string
  /** Whether it is the one that explains now. */
  readonly same: boolean
  readonly effect: 'allow' | 'deny' | 'unknown'
  readonly policy: string | null
  /** False when a policy that is unknown could be the one that is named. */
  readonly named: boolean
  /** Where `effect` is unknown, the first policy in the way. */
  readonly unknown: string | null
  /** False where no upstream of this snapshot serves its model. */
  readonly served: boolean
  readonly policies: readonly ExplainedRow[]
}

/** A call of the audit, and why it was decided so. */
export interface ExplainedCall {
  /** Oldest first. */
  readonly entries: readonly StoredEntry[]
  readonly told:
    | ({ readonly kind: 'decided' } & ExplainedVerdict)
    /** Before any policy was asked. */
    | { readonly kind: 'refused'; readonly code: string }
    | { readonly kind: 'unreadable' }
}

/**
 * Explains a recorded call by `snapshot`; null when the audit has no decision of that id or, with a
 * `tenant`, none of that tenant. Reads every `policy.load`, so not for the event loop of a sidecar.
 * Throws when there is no log.
 */
export function explainRecordedCall(
  snapshot: Snapshot,
  requestId: string,
  tenant: string | null = null,
): ExplainedCall | null {
  const { path } = snapshot.audit
  const entries = findCall(path, requestId)
  const decision = entries.find(({ kind }) => kind === 'decision')
  if (decision === undefined) return null
  if (tenant !== null && tenantOf(decision.body) !== tenant) return null
  const recorded = readDecision(decision.body)
  if (recorded.kind === 'refused') return { entries, told: recorded }
  if (recorded.kind !== 'decided') return { entries, told: { kind: 'unreadable' } }
  return { entries, told: { kind: 'decided', ...verdictOf(recorded, snapshot) } }
}

/** What the policies of `snapshot` make of a recorded decision; `texts` are null where they are gone. */
export function verdictOf(
  recorded: RecordedDecision,
  snapshot: Snapshot,
  texts: readonly string[] | null = null,
): ExplainedVerdict {
  const candidate = new Candidate(snapshot, compilePolicies(snapshot))
  scanKind(snapshot.audit.path, 'policy.load', (body) => candidate.learnLoad(body))
  const { digest } = recorded
  const of = { digest, same: digest === snapshot.digest }
  const found = candidate.explain(recorded, texts)
  if (found === null) {
    return { ...of, ...UNSERVED, policies: [] }
  }
  const { effect, policy, named, unknown } = found
  return {
    ...of,
    effect,
    policy,
    named,
    unknown,
    served: true,
    policies: found.policies.map(rowOf),
  }
}

const UNSERVED = {
  effect: 'deny',
  policy: null,
  named: true,
  unknown: null,
  served: false,
} as const

/** An explained policy as a row. */
export function rowOf(explained: ExplainedPolicy): ExplainedRow {
  const { policy, finding, exception } = explained
  const { id, verb, mode } = policy
  const shown = exception === null ? finding : 'excepted'
  return { id, verb, mode, finding: shown, why: whyText(explained), exception }
}

function tenantOf(body: string): unknown {
  try {
    return (JSON.parse(body) as { readonly tenant?: unknown } | null)?.tenant
  } catch {
    return null
  }
}
