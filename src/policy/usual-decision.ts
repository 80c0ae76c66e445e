import type { Decision, Facts } from '../exchange.ts'
import type { Applicant } from './applicants.ts'
import type { Asked } from './asked.ts'

/**
 * The decision on calls in whose texts nothing was found. Who makes the same kind of calls gets the same
 * one each time, unless something else of the call can matter: then it is worked out anew.
 */

/** What is known of one caller's calls of one kind. */
interface Usual {
  /** Up to this length of the prompt no policy tells one call from another; -1: some always may. */
  readonly charsMax: number
  /** Null until it was made once. */
  decision: Decision | null
}

/** Applicants are one list a caller and kind of calls, and live as long as the caller's principal. */
const usuals = new WeakMap<readonly Applicant[], Usual>()

/** The decision made of such a call before; null where there is none, or it may be another. */
export function usualDecision(asked: Asked, facts: Facts): Decision | null {
  const usual = usuals.get(asked.applicants)
  return usual !== undefined && isUsual(usual, facts) ? usual.decision : null
}

/** Keeps a decision for the next such call, where it would be the same; hands it back. */
export function keepDecision<Made extends Decision | Promise<Decision>>(
  asked: Asked,
  facts: Facts,
  decision: Made,
): Made {
  if (!asked.isUsual || decision instanceof Promise) return decision
  let usual = usuals.get(asked.applicants)
  if (usual === undefined) {
    usual = { charsMax: charsMaxOf(asked.applicants), decision: null }
    usuals.set(asked.applicants, usual)
  }
  if (!isUsual(usual, facts)) return decision
  usual.decision = decision
  // Calls share it, and what is written of it is remembered by its list of policies.
  Object.freeze(decision.policies)
  Object.freeze(decision)
  return decision
}

function isUsual({ charsMax }: Usual, { inputChars, uninspectable }: Facts): boolean {
  return inputChars <= charsMax && uninspectable.length === 0
}

/** The shortest prompt that is too long for some policy, less one; -1 where time, tokens or services count. */
function charsMaxOf(applicants: readonly Applicant[]): number {
  let charsMax = Infinity
  for (const { policy, exceptions } of applicants) {
    if (exceptions !== null || policy.external.length > 0) return -1
    for (const selectors of [policy.for, policy.own]) {
      if (selectors.tokensMax !== null || selectors.when !== null) return -1
      charsMax = Math.min(charsMax, selectors.charsMax ?? Infinity)
    }
  }
  return charsMax
}
