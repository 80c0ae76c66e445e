import type { LimitState } from '../nouns/lease.ts'
import { spendState, type Times } from './account.ts'
import type { Bucket, Tier } from './bucket.ts'
import type { CallerTier, LimitStanding } from './standing.ts'

/** How a bucket stands, in the words of headers, entries and the admin API. */

/** When a slot will be free is not known; this is what clients are told. */
export const SLOT_WAIT_MS = 1_000

/** Its requests and places, not what it spends. */
export function statesOf(
  tier: Tier,
  bucket: Bucket,
  wallMs: number,
  steadyMs: number,
): LimitState[] {
  const { id, figures } = tier
  const { counter, digest } = bucket
  const states: LimitState[] = []
  if (figures.requests !== null && counter !== null) {
    const limit = figures.burst ?? figures.requests.count
    const at = timeFor(counter, wallMs, steadyMs)
    const { remaining, resetMs } = counter.standing(figures.requests.count, at)
    states.push({ id, what: 'requests', limit, remaining, resetMs, bucket: digest })
  }
  if (figures.concurrent !== null) {
    const limit = figures.concurrent
    const remaining = Math.max(0, limit - bucket.inFlight)
    const resetMs = remaining > 0 ? 0 : SLOT_WAIT_MS
    states.push({ id, what: 'concurrent', limit, remaining, resetMs, bucket: digest })
  }
  return states
}

/** All of its figures, for a caller who is not calling. */
export function standingsOf(at: CallerTier, bucket: Bucket, times: Times): LimitStanding[] {
  const { tier, override, someCalls } = at
  const states = statesOf(tier, bucket, times.wallMs, times.steadyMs)
  const spends = bucket.spends.map((_, index) => spendState(tier, bucket, { index, times }))
  return [...states, ...spends].map((state) => ({ override, someCalls, state }))
}

function timeFor({ clock }: NonNullable<Bucket['counter']>, wallMs: number, steadyMs: number) {
  return clock === 'wall' ? wallMs : steadyMs
}
