import type { Snapshot } from '../config/snapshot.ts'
import type { Upstream } from '../exchange.ts'
import type { CompiledPolicies, CompiledPolicy } from './compile.ts'
import { upstreamRouter } from './described-call.ts'
import { explain, type Explanation } from './explain.ts'
import type { Recorded, RecordedDecision, RecordedResult } from './recorded.ts'
import { ruleDigest } from './rule.ts'
import { scanWhole, type TextMatches } from './scan.ts'

/** What a candidate would have said to recorded calls, counted; memory does not grow with the log. */

/** How a decision would change, in the words of the report. */
export type ChangeKind =
  | 'refused'
  | 'let through'
  | 'refused by another'
  | 'without upstream'
  | 'warned'
  | 'not warned'
  | 'masked'
  | 'not masked'

/** Decisions that would change alike. */
export interface Change {
  readonly kind: ChangeKind
  /** The policy that makes the difference; '' when it is none. */
  readonly policy: string
  readonly count: number
  /** Request ids of the first few. */
  readonly examples: readonly string[]
}

/** What all recorded decisions came to. */
export interface ReplayReport {
  readonly decisions: number
  readonly same: number
  readonly changed: number
  readonly unknown: number
  readonly changes: readonly Change[]
  /** Unknown decisions by the policy that would need what was not recorded. */
  readonly unknowns: readonly { readonly policy: string; readonly count: number }[]
  /** Refused before any policy was asked, or too many at once to be recorded one by one. */
  readonly refused: number
  readonly unreadable: number
}

const EXAMPLES_MAX = 3
/** Snapshots remembered at once; a log with more forgets the oldest, and knows less of its calls. */
const LOADS_MAX = 10_000
const NO_TEXT: TextMatches = {
  pattern: () => false,
  words: () => false,
  detectedAny: () => false,
  detections: { counts: {}, among: () => [] },
}

/** A snapshot that recorded decisions are held against. */
export class Candidate {
  readonly #compiled: CompiledPolicies
  readonly #route: ReturnType<typeof upstreamRouter>
  readonly #asksServices: boolean
  /** Rule of each policy, by id. */
  readonly #rules: ReadonlyMap<string, string>
  /** Of each loaded snapshot, by digest: the id that a rule of ours had there. */
  readonly #loads = new Map<string, ReadonlyMap<string, string>>()

  constructor(snapshot: Snapshot, compiled: CompiledPolicies) {
    this.#compiled = compiled
    this.#route = upstreamRouter(snapshot)
    this.#asksServices = snapshot.detectors.some((each) => !('matches' in each))
    this.#rules = new Map(
      snapshot.policies.map((policy) => [policy.id, ruleDigest(policy, snapshot)]),
    )
    this.learn(snapshot)
  }

  /** Learns the rules of another snapshot that may have decided. */
  learn(snapshot: Pick<Snapshot, 'digest' | 'policies' | 'aliases' | 'detectors'>): void {
    const rules = snapshot.policies.map(({ id, ...policy }) => {
      return [ruleDigest({ id, ...policy }, snapshot), id] as const
    })
    this.#remember(snapshot.digest, rules)
  }

  /** Learns the rules a `policy.load` entry lists. What is no such entry is passed over. */
  learnLoad(body: string): void {
    const load = readLoad(body)
    if (load.rules.length > 0) this.#remember(load.digest, load.rules)
  }

  #remember(digest: string, rules: readonly (readonly [string, string])[]): void {
    const wanted = new Set(this.#rules.values())
    this.#loads.set(digest, new Map(rules.filter(([rule]) => wanted.has(rule))))
    const [oldest] = this.#loads.keys()
    if (this.#loads.size > LOADS_MAX && oldest !== undefined) this.#loads.delete(oldest)
  }

  /**
   * Explains a recorded call by this snapshot, with its texts where somebody has them; null when no upstream of it
   * would serve the call.
   */
  explain(recorded: RecordedDecision, texts: readonly string[] | null = null): Explanation | null {
    const { call } = recorded
    const former = call.upstream?.name ?? null
    const upstream = this.#upstream(recorded, former)
    if (upstream === null) return null
    const known = upstream.name === former
    const ids = this.#loads.get(recorded.digest)
    return explain(
      this.#compiled,
      { ...call, upstream },
      {
        texts: recorded.textless ? NO_TEXT : this.#found(texts),
        detected: recorded.detected,
        partial: recorded.partial,
        matched: (policy) => (known ? this.#matched(policy, recorded, ids) : null),
        unmasked: ({ id, verb }) => {
          return verb === 'redact' && known && this.#former(id, recorded, ids) === 'failed'
        },
      },
    )
  }

  /** What a service would find in them nobody knows here. */
  #found(texts: readonly string[] | null): TextMatches | null {
    return texts === null || this.#asksServices ? null : scanWhole(this.#compiled.texts, texts)
  }

  #upstream({ call, partial }: RecordedDecision, former: string | null): Upstream | null {
    const { principal, route, facts } = call
    const { endpoint, pathModel } = route
    const models = pathModel === null ? facts.models : [...facts.models, pathModel]
    const subject = { principal, operation: endpoint.operation, models, upstream: null }
    const found = this.#route(subject, former)
    return found === null && partial.has('models') ? call.upstream : found
  }

  #matched(
    { id }: CompiledPolicy,
    recorded: RecordedDecision,
    ids: ReadonlyMap<string, string> | undefined,
  ): boolean | null {
    const result = this.#former(id, recorded, ids)
    if (result === null) return null
    // What was excepted or skipped may have matched, or could not be told.
    return result !== undefined && UNTOLD.has(result) ? null : result !== undefined
  }

  /** What the policy of the same rule found then; undefined for nothing, null when nobody can say. */
  #former(
    id: string,
    { results }: RecordedDecision,
    ids: ReadonlyMap<string, string> | undefined,
  ): RecordedResult['result'] | null | undefined {
    const rule = this.#rules.get(id)
    const former = rule === undefined ? undefined : ids?.get(rule)
    return former === undefined || results === null ? null : results.get(former)?.result
  }
}

/** Rule and id of every policy in a `policy.load` entry; none where it is no such entry. */
function readLoad(json: string) {
  try {
    const { policy_digest: digest, policies } = JSON.parse(json) as {
      readonly policy_digest?: unknown
      readonly policies?: unknown
    }
    const listed = Array.isArray(policies) ? (policies as readonly Listed[]) : []
    const rules = listed.flatMap((each) => {
      const { id, rule } = each ?? {}
      return typeof id === 'string' && typeof rule === 'string' ? [[rule, id] as const] : []
    })
    return { digest: String(digest), rules }
  } catch {
    return { digest: '', rules: [] }
  }
}

type Listed = { readonly id?: unknown; readonly rule?: unknown } | null

interface Counted {
  count: number
  readonly examples: string[]
}

/** Counts what a candidate would change, one recorded decision after the other. */
export class Replay {
  readonly #candidate: Candidate
  readonly #changes = new Map<
    string,
    Counted & { readonly kind: ChangeKind; readonly policy: string }
  >()
  readonly #unknowns = new Map<string, number>()
  #decisions = 0
  #changed = 0
  #unknown = 0
  #refused = 0
  #unreadable = 0

  constructor(candidate: Candidate) {
    this.#candidate = candidate
  }

  /** `texts` are those of the call, where somebody has them. */
  add(recorded: Recorded, texts: readonly string[] | null = null): void {
    if (recorded.kind === 'refused') this.#refused++
    else if (recorded.kind === 'folded') this.#refused += recorded.count
    else if (recorded.kind === 'unreadable') this.#unreadable++
    else this.#compare(recorded, texts)
  }

  report(): ReplayReport {
    const decisions = this.#decisions
    return {
      decisions,
      same: decisions - this.#changed - this.#unknown,
      changed: this.#changed,
      unknown: this.#unknown,
      changes: [...this.#changes.values()].sort((a, b) => b.count - a.count),
      unknowns: [...this.#unknowns]
        .map(([policy, count]) => ({ policy, count }))
        .sort((a, b) => b.count - a.count),
      refused: this.#refused,
      unreadable: this.#unreadable,
    }
  }

  #compare(recorded: RecordedDecision, texts: readonly string[] | null): void {
    this.#decisions++
    const explanation = this.#candidate.explain(recorded, texts)
    if (explanation?.effect === 'unknown') {
      this.#unknown++
      const policy = explanation.unknown ?? ''
      this.#unknowns.set(policy, (this.#unknowns.get(policy) ?? 0) + 1)
      return
    }
    const changes = changesOf(recorded, explanation)
    if (changes.length > 0) this.#changed++
    for (const [kind, policy] of changes) this.#count(kind, policy, recorded.requestId)
  }

  #count(kind: ChangeKind, policy: string, requestId: string): void {
    const key = `${kind}\0${policy}`
    const counted = this.#changes.get(key) ?? { kind, policy, count: 0, examples: [] }
    this.#changes.set(key, counted)
    counted.count++
    if (counted.examples.length < EXAMPLES_MAX) counted.examples.push(requestId)
  }
}

/** Results that do not tell whether a policy matched. */
const UNTOLD: ReadonlySet<RecordedResult['result']> = new Set(['error', 'excepted', 'skipped'])
/** What a policy in mode warn warned of. */
const WARNS: ReadonlySet<RecordedResult['result']> = new Set(['denied', 'failed', 'error'])

type Changed = readonly (readonly [ChangeKind, string])[]

function changesOf(recorded: RecordedDecision, explanation: Explanation | null): Changed {
  const denied = recorded.effect === 'deny'
  if (explanation === null) return denied ? [] : [['without upstream', '']]
  const { effect, policy, named } = explanation
  if (effect === 'allow') {
    if (denied) return [['let through', recorded.policy ?? '']]
    return [...warningChanges(recorded, explanation), ...maskChanges(recorded, explanation)]
  }
  if (!denied) return [['refused', policy ?? '']]
  return policy === recorded.policy || !named ? [] : [['refused by another', policy ?? '']]
}

function maskChanges({ results }: RecordedDecision, { policies }: Explanation): Changed {
  if (results === null) return []
  const before = [...results].filter(
    ([, { mode, result }]) => mode === 'enforce' && result === 'redacted',
  )
  const masking = policies.filter(
    ({ policy, exception }) =>
      policy.verb === 'redact' && policy.mode === 'enforce' && exception === null,
  )
  const now = new Map(masking.map(({ policy, finding }) => [policy.id, finding]))
  const were = new Set(before.map(([id]) => id))
  return [
    ...[...now].flatMap(([id, finding]) => {
      return finding === 'matched' && !were.has(id) ? [['masked', id] as const] : []
    }),
    ...[...were].flatMap((id) => {
      const finding = now.get(id)
      return finding === 'matched' || finding === 'unknown' ? [] : [['not masked', id] as const]
    }),
  ]
}

function warningChanges({ results }: RecordedDecision, explanation: Explanation): Changed {
  if (results === null) return []
  const before = new Set(
    [...results]
      .filter(([, { mode, result }]) => mode === 'warn' && WARNS.has(result))
      .map(([id]) => id),
  )
  const now = new Set(explanation.warnings)
  const unsure = new Set(
    explanation.policies
      .filter(({ finding }) => finding === 'unknown')
      .map(({ policy }) => policy.id),
  )
  return [
    ...[...now].filter((id) => !before.has(id)).map((id) => ['warned', id] as const),
    ...[...before]
      .filter((id) => !now.has(id) && !unsure.has(id))
      .map((id) => ['not warned', id] as const),
  ]
}
