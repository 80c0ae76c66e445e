import type { CompiledPolicies } from './compile.ts'
import type { ExplainedPolicy, Explanation, Finding } from './explain.ts'

/** From what each policy says to what is decided, where some of it may be unknown. */

/** Whether content that nobody can read meets a policy on text. */
export type Opaque = 'yes' | 'no' | 'unknown'

/** Places in the file of the first policy of each kind; Infinity where there is none. */
interface Firsts {
  denied: number
  maybeDenied: number
  failed: number
  maybeFailed: number
  allowed: number
  maybeAllowed: number
}

const KINDS = {
  deny: ['denied', 'maybeDenied'],
  require: ['failed', 'maybeFailed'],
  allow: ['allowed', 'maybeAllowed'],
  redact: ['failed', 'maybeFailed'],
  set: ['failed', 'maybeFailed'],
} as const

/**
 * An error in a deny or require is what `on_error` says; an allow that failed grants nothing; what an
 * exception lifts refuses nothing.
 */
function counted(
  { policy, finding, exception }: ExplainedPolicy,
  onError: 'allow' | 'deny',
): Finding {
  if (exception !== null) return 'not matched'
  if (finding !== 'error') return finding
  return policy.verb !== 'allow' && onError === 'deny' ? 'matched' : 'not matched'
}

function firstsOf(policies: readonly ExplainedPolicy[], onError: 'allow' | 'deny'): Firsts {
  const none = Number.POSITIVE_INFINITY
  const firsts: Firsts = {
    denied: none,
    maybeDenied: none,
    failed: none,
    maybeFailed: none,
    allowed: none,
    maybeAllowed: none,
  }
  for (const [index, explained] of policies.entries()) {
    const { policy } = explained
    const finding = counted(explained, onError)
    // What is changed decides nothing; that it could not be told or done does.
    const changes = policy.verb === 'redact' || policy.verb === 'set'
    const decides = !changes || explained.finding === 'error' || explained.isUnmasked === true
    const counts =
      decides && (policy.mode === 'enforce' || (policy.mode === 'warn' && policy.verb === 'allow'))
    if (!counts || (finding !== 'matched' && finding !== 'unknown')) continue
    const [sure, maybe] = KINDS[policy.verb]
    const kind = finding === 'matched' ? sure : maybe
    firsts[kind] = Math.min(firsts[kind], index)
  }
  return firsts
}

type Conclusion = Pick<Explanation, 'effect' | 'policy' | 'named' | 'unknown'>

/** The same order as in `evaluate`: deny, require, what cannot be read, allow, the default. */
export function conclude(
  policies: readonly ExplainedPolicy[],
  opaque: Opaque,
  { decision: fallback, onError }: CompiledPolicies['defaults'],
): Explanation {
  const firsts = firstsOf(policies, onError)
  const idAt = (index: number) => policies[index]?.policy.id ?? null
  const warnings = policies
    .filter((each) => each.policy.mode === 'warn' && each.policy.verb !== 'allow')
    .filter((each) => counted(each, onError) === 'matched')
    .map(({ policy }) => policy.id)
  const conclusion = refusal(firsts, opaque, idAt) ?? grant(firsts, { opaque, fallback, idAt })
  return { ...conclusion, warnings, policies }
}

type Naming = (index: number) => string | null

/** A refusal that nothing unknown can take back; null when there is none. */
function refusal(firsts: Firsts, opaque: Opaque, idAt: Naming): Conclusion | null {
  const { denied, maybeDenied, failed, maybeFailed } = firsts
  const deny = (index: number, named: boolean): Conclusion => {
    return { effect: 'deny', policy: idAt(index), named, unknown: null }
  }
  const noDeny = maybeDenied === Number.POSITIVE_INFINITY
  if (denied < Number.POSITIVE_INFINITY) return deny(denied, denied < maybeDenied)
  if (failed < Number.POSITIVE_INFINITY) return deny(failed, noDeny && failed < maybeFailed)
  if (opaque !== 'yes') return null
  return deny(-1, noDeny && maybeFailed === Number.POSITIVE_INFINITY)
}

function grant(
  { maybeDenied, maybeFailed, allowed, maybeAllowed }: Firsts,
  {
    opaque,
    fallback,
    idAt,
  }: {
    readonly opaque: Opaque
    readonly fallback: 'allow' | 'deny'
    readonly idAt: Naming
  },
): Conclusion {
  const none = Number.POSITIVE_INFINITY
  const maybeRefused = Math.min(maybeDenied, maybeFailed)
  const passes = allowed < none || fallback === 'allow'
  if (!passes && maybeAllowed === none) {
    return { effect: 'deny', policy: null, named: maybeRefused === none, unknown: null }
  }
  const inTheWay = maybeRefused < none || passes ? maybeRefused : maybeAllowed
  if (inTheWay < none || opaque === 'unknown') {
    return { effect: 'unknown', policy: null, named: false, unknown: idAt(inTheWay) }
  }
  return { effect: 'allow', policy: idAt(allowed), named: allowed <= maybeAllowed, unknown: null }
}
