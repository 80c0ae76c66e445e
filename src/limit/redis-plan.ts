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
  /** What the scripts are told of it that never changes. */
  readonly fixed: string
  readonly calendar: Calendar | null
  /** Starts of the period before this one, of this one and of the two after it, wall ms. */
  periods: readonly [number, number, number, number]
  periodsText: string
}

const NO_PERIODS = [0, 0, 0, 0] as const

/** The accounts of a tier, in the order requests, concurrent, tokens, cost. */
export function accountsOf(tier: Tier, timeZone: string): readonly Account[] {
  const { requests, burst, concurrent } = tier.figures
  const accounts: Account[] = []
  if (requests !== null) {
    const kind = burst === null ? 'count' : 'bucket'
    const own = { kind, what: 'requests', burst: burst ?? 0, spendIndex: -1 } as const
    accounts.push(accountOf(tier, own, windowOf(requests, timeZone, `r${burst ?? ''}`)))
  }
  if (concurrent !== null) {
    const rate = { count: concurrent, windowMs: 1, calendar: null }
    const own = { kind: 'slots', what: 'concurrent', burst: 0, spendIndex: -1 } as const
    accounts.push(accountOf(tier, own, windowOf(rate, timeZone, 'c')))
  }
  for (const [spendIndex, { what, rate }] of tier.spending.entries()) {
    const own = { kind: 'spend', what, burst: 0, spendIndex } as const
    accounts.push(accountOf(tier, own, windowOf(rate, timeZone, what)))
  }
  return accounts
}

function accountOf(
  tier: Tier,
  own: Pick<Account, 'kind' | 'what' | 'burst' | 'spendIndex'>,
  window: ReturnType<typeof windowOf>,
): Account {
  const fixed = `${own.kind},${window.limit},${window.windowMs},${own.burst}`
  return { tier, ...own, ...window, fixed, periodsText: NO_PERIODS.join(',') }
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

/** An account as the scripts are told of it, at `wallMs`: its periods are looked up only when one has passed. */
export function accountText(account: Account, need: number, wallMs: number): string {
  const { calendar, periods } = account
  if (calendar !== null && (wallMs < periods[1] || wallMs >= periods[2])) {
    const { startMs, endMs } = calendar.period(wallMs)
    const before = calendar.period(startMs - 1).startMs
    const after = calendar.period(endMs).endMs
    account.periods = [before, startMs, endMs, after]
    account.periodsText = account.periods.join(',')
  }
  return `${account.fixed},${account.periodsText},${need}`
}

/** What a call asks of an account: 1, or what it is expected to spend; null without a price. */
export function asked({ kind, tier, spendIndex }: Account, call: LimitCall): number | null {
  if (kind !== 'spend') return 1
  return call.forecast == null ? 0 : needOf(tier.spending[spendIndex]!, call.forecast)
}

/** The keys of one subject under one tier. */
export interface Names {
  /** `{…}`: keys with the same live on the same node of a cluster. */
  readonly tag: string
  readonly digest: string
  /** State and holders of each account, in the order of `accountsOf`. */
  readonly keys: readonly string[]
}

/** Names of keys, made once for each caller. A subject of no tenant has a tag of its own. */
export class KeyNames {
  readonly #accounts: ReadonlyMap<Tier, readonly Account[]>
  /** A caller's principal is the same object from call to call. */
  readonly #cache = new WeakMap<Principal, Map<Tier, Names>>()

  constructor(accounts: ReadonlyMap<Tier, readonly Account[]>) {
    this.#accounts = accounts
  }

  of(tier: Tier, principal: Principal): Names {
    let known = this.#cache.get(principal)
    if (known === undefined) this.#cache.set(principal, (known = new Map()))
    let names = known.get(tier)
    if (names === undefined) known.set(tier, (names = this.#make(tier, principal)))
    return names
  }

  #make(tier: Tier, principal: Principal): Names {
    const digest = bucketDigest(tier, principal)
    const tag = `governor:{${tagOf(tier, principal, digest)}}`
    const accounts = this.#accounts.get(tier) ?? []
    const keys = accounts.flatMap(({ suffix }) => {
      const state = `${tag}:${digest}:${suffix}`
      return [state, `${state}:h`]
    })
    return { tag, digest, keys }
  }
}

function tagOf({ per }: Tier, { tenant }: Principal, digest: string): string {
  if (per === 'global') return 'all'
  return per === 'ip' ? digest : hash('sha256', tenant).slice(0, 16)
}
