import type { LimitConfig, LimitFigures } from '../config/snapshot.ts'
import type { LimitState } from '../nouns/lease.ts'
import type { Account } from './redis-plan.ts'
import type { Refusal } from './store.ts'

/** When a slot or a reservation will be free is not known; this is what clients are told. */
const UNKNOWN_WAIT_MS = 1_000

/** How an account stands, as RESERVE said. */
export interface Standing {
  readonly state: LimitState
  /** 0 lets pass, -1 is not known, ms. */
  readonly wait: number
  readonly account: Account
}

/** The state of an account from its sums, for headers and the entry. */
export function stateOf(
  { tier, what, limit, burst, kind }: Account,
  { used, reset, digest }: { readonly used: number; reset: number; readonly digest: string },
): LimitState {
  const size = kind === 'bucket' ? burst : limit
  const isFree = kind === 'slots' && used < limit
  return {
    id: tier.id,
    what,
    limit: size,
    remaining: Math.max(0, size - used),
    resetMs: isFree ? 0 : reset < 0 ? UNKNOWN_WAIT_MS : reset,
    bucket: digest,
  }
}

/** The refusal of the limit with the longest wait; null where all let pass. */
export function longest(standings: readonly Standing[]): Refusal | null {
  let found: Standing | null = null
  for (const standing of standings) {
    if (standing.wait === 0) continue
    if (found === null || waitOf(standing) > waitOf(found)) found = standing
  }
  if (found === null) return null
  const { state, account } = found
  return { kind: 'over', how: 'redis', state, waitMs: waitOf(found), tier: account.tier }
}

function waitOf({ wait, account }: Standing): number {
  if (wait < 0) return UNKNOWN_WAIT_MS
  return account.kind === 'spend' ? Math.max(UNKNOWN_WAIT_MS, wait) : wait
}

/** A limit ÷ `sidecars`, rounded up: what one of them may let pass while the store is lost. */
export function shareOf(limit: LimitConfig, sidecars: number): LimitConfig {
  const part = (count: number) => Math.ceil(count / sidecars)
  const figures = ({ requests, burst, concurrent, tokens, cost }: LimitFigures) => ({
    requests: requests && { ...requests, count: part(requests.count) },
    burst: burst && part(burst),
    concurrent: concurrent && part(concurrent),
    tokens: tokens && { ...tokens, count: part(tokens.count) },
    cost: cost && { ...cost, count: part(cost.count) },
  })
  return {
    ...limit,
    ...figures(limit),
    overrides: limit.overrides.map((override) => ({ for: override.for, ...figures(override) })),
  }
}
