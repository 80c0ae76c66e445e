import type { Selectors } from '../config/snapshot.ts'
import type { LimitState, Principal } from '../exchange.ts'
import type { Limit, Matches, Tier } from './bucket.ts'

/** How limits stand for a caller who is not calling: nothing is charged, nobody is counted anew. */

/** What one figure of a limit says of a caller. */
export interface LimitStanding {
  /** Index among the overrides; null is the limit's own figures. */
  readonly override: number | null
  readonly state: LimitState
  /** It is about some operations, models or upstreams only. */
  readonly someCalls: boolean
}

/** A tier that holds for calls of a caller. */
export interface CallerTier {
  readonly tier: Tier
  readonly override: number | null
  readonly someCalls: boolean
}

/** What of selectors is about the caller; what is about the call may be anything. */
function callerPart(selectors: Selectors): Selectors {
  return { ...selectors, operations: null, models: null, upstreams: null, uninspectable: null }
}

function someCalls({ operations, models, upstreams }: Selectors): boolean {
  return operations !== null || models !== null || upstreams !== null
}

/** Whether the caller is one whom the limit counts: an address is known of calls only. */
function isCounted({ per }: Tier, { tenant, keyId, user }: Principal): boolean {
  if (per === 'ip') return false
  if (per === 'key') return keyId !== ''
  return per === 'user' ? user !== '' : per === 'global' || tenant !== ''
}

/**
 * The tiers that calls of `principal` can be under: overrides in their order up to the first that holds
 * whatever is called, else the limit's own figures.
 */
export function callerTiers(
  limits: readonly Limit[],
  principal: Principal,
  matches: Matches,
): CallerTier[] {
  const call = { principal, operation: 'chat', models: [], upstream: null } as const
  const found: CallerTier[] = []
  for (const { for: narrowed, base, overrides } of limits) {
    if (!isCounted(base, principal)) continue
    if (narrowed !== null && !matches(callerPart(narrowed), call)) continue
    const inPart = narrowed !== null && someCalls(narrowed)
    let isSettled = false
    for (const [override, { for: selectors, tier }] of overrides.entries()) {
      if (isSettled || !matches(callerPart(selectors), call)) continue
      isSettled = !someCalls(selectors)
      found.push({ tier, override, someCalls: inPart || !isSettled })
    }
    if (!isSettled) found.push({ tier: base, override: null, someCalls: inPart })
  }
  return found
}
