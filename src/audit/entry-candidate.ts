import type { CandidateDecision, Decision, PolicyResult } from '../exchange.ts'

/** What a decision entry says of a candidate: what it would have decided, and where it differs. */

const NAME_CHARS_MAX = 128
const WHY_CHARS_MAX = 160
/** Policies told of; an entry has room for a few. */
const POLICIES_MAX = 8

/** How a candidate differs, from the candidate's point of view. */
export type Difference = 'same' | 'refuses' | 'lets_through' | 'other_policy' | 'other_changes'

/** Labels of `governor_candidate_decisions_total`; `policy` is the one that makes the difference. */
export function differenceOf(
  ours: Decision,
  candidate: Decision,
): { readonly result: Difference; readonly policy: string } {
  const by = (result: Difference, policy: string | null) => ({ result, policy: policy ?? 'none' })
  if (ours.effect !== candidate.effect) {
    return candidate.effect === 'deny'
      ? by('refuses', candidate.policy)
      : by('lets_through', ours.policy)
  }
  if (ours.effect === 'deny') {
    return ours.policy === candidate.policy
      ? by('same', null)
      : by('other_policy', candidate.policy)
  }
  const before = changing(ours)
  const after = changing(candidate)
  const other = after.find((id) => !before.includes(id)) ?? before.find((id) => !after.includes(id))
  return other === undefined ? by('same', null) : by('other_changes', other)
}

/** Policies that would change the bytes. */
function changing({ policies }: Decision): string[] {
  return policies
    .filter(({ mode, result }) => mode === 'enforce' && (result === 'redacted' || result === 'set'))
    .map(({ id }) => id)
}

/** The member of the entry, comma first. Of its policies, those that ours do not say the same of. */
export function candidateMember(
  { digest, decision }: CandidateDecision,
  ours: Decision | null,
): string {
  const others = decision.policies.filter((each) => !saysSo(ours?.policies ?? [], each))
  const said = {
    policy_digest: digest,
    decision: decision.effect,
    policy: decision.policy ?? undefined,
    policies: others.length === 0 ? undefined : others.slice(0, POLICIES_MAX).map(shown),
    more_policies: others.length > POLICIES_MAX || undefined,
  }
  return `,"candidate":${JSON.stringify(said)}`
}

function saysSo(policies: readonly PolicyResult[], { id, mode, result }: PolicyResult): boolean {
  return policies.some((each) => each.id === id && each.mode === mode && each.result === result)
}

function shown({ id, mode, result, why, exception }: PolicyResult) {
  const text = why.slice(0, WHY_CHARS_MAX).toWellFormed().replaceAll('\0', '\u2400')
  return { id: id.slice(0, NAME_CHARS_MAX), mode, result, why: text, exception }
}
