import { hash } from 'node:crypto'

import type { Rate } from '../config/snapshot.ts'
import type { Principal } from '../exchange.ts'
import type { LimitState } from '../lease.ts'
import { bucketDigest, type LimitCall, type Tier } from './bucket.ts'
import { Calendar } from './calendar.ts'
import { needOf } from './forecast.ts'

/** What one figure of a tier is to the scripts. */
export interface Account {
  readonly tier: Tier
  readonly kind: 'count' | 'bucket' | 'slots' | 'spend'
  readonly what: LimitState['what']
  readonly limit: number
  readonly windowMs: number
  readonly burst: number
  /** Index in the tier's `spending`; -1 for others. */
  readonly spendIndex: number
  /** Ends the names of its keys: another window counts anew. */
  readonly suffix: string
  readonly calendar: Calendar | null
  /** Starts of the period before this one, of this one and of the two after it, wall ms. */
  periods: readonly [number, number, number, number]
}

const NO_PERIODS = [0, 0, 0, 0] as const

/** The accounts of a tier, in the order requests, concurrent, tokens, cost. */
export function accountsOf(tier: Tier, timeZone: string): readonly Account[] {
  const { requests, burst, concurrent } = tier.figures
  const accounts: Account[] = []
  if (requests !== null) {
    const kind = burst === null ? 'count' : 'bucket'
    const own = { kind, what: 'requests', burst: burst ?? 0, spendIndex: -1 } as const
    accounts.push({ tier, ...own, ...windowOf(requests, timeZone, `r${burst ?? ''}`) })
  }
  if (concurrent !== null) {
    const rate = { count: concurrent, windowMs: 1, calendar: null }
    const own = { kind: 'slots', what: 'concurrent', burst: 0, spendIndex: -1 } as const
    accounts.push({ tier, ...own, ...windowOf(rate, timeZone, 'c') })
  }
  for (const [spendIndex, { what, rate }] of tier.spending.entries()) {
    const own = { kind: 'spend', what, burst: 0, spendIndex } as const
    accounts.push({ tier, ...own, ...windowOf(rate, timeZone, what) })
  }
  return accounts
}

function windowOf({ count, windowMs, calendar }: Rate, timeZone: string, name: string) {
  const window = calendar === null ? windowMs : `${calendar},${timeZone}`
  return {
    limit: count,
    windowMs,
    suffix: `${name},${window}`,
    calendar: calendar === null ? null : new Calendar(calendar, timeZone),
    periods: NO_PERIODS,
  }
}

/** The periods around `wallMs`; asked for anew only when one has passed. */
export function periodsAt(account: Account, wallMs: number): Account['periods'] {
  const { calendar, periods } = account
  if (calendar === null || (wallMs >= periods[1] && wallMs < periods[2])) return periods
  const { startMs, endMs } = calendar.period(wallMs)
  const before = calendar.period(startMs - 1).startMs
  const after = calendar.period(endMs).endMs
  account.periods = [before, startMs, endMs, after]
  return account.periods
}

/** What a call asks of an account: 1, or what it is expected to spend; null without a price. */
export function asked({ kind, tier, spendIndex }: Account, call: LimitCall): number | null {
  if (kind !== 'spend') return 1
  return call.forecast == null ? 0 : needOf(tier.spending[spendIndex]!, call.forecast)
}

/** Names of keys: `{…}` puts those of one tenant in one slot of a cluster. */
export class KeyNames {
  /** A caller's principal is the same object from call to call. */
  readonly #cache = new WeakMap<Principal, Map<Tier, { prefix: string; digest: string }>>()

  of(tier: Tier, principal: Principal): { readonly prefix: string; readonly digest: string } {
    let known = this.#cache.get(principal)
    if (known === undefined) {
      known = new Map()
      this.#cache.set(principal, known)
    }
    let names = known.get(tier)
    if (names === undefined) {
      const digest = bucketDigest(tier, principal)
      const isShared = tier.per === 'global' || tier.per === 'ip'
      const tag = isShared ? 'all' : hash('sha256', principal.tenant).slice(0, 16)
      names = { prefix: `governor:{${tag}}:${digest}:`, digest }
      known.set(tier, names)
    }
    return names
  }
}
