import { hash } from 'node:crypto'

import type { Rate } from '../config/snapshot.ts'
import type { Principal } from '../exchange.ts'
import type { LimitState } from '../nouns/lease.ts'
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

/** An account as the script is told of it, at `wallMs`: its periods are looked up only when one has passed. */
export function accountText(account: Account, wallMs: number): string {
  const { calendar, periods } = account
  if (calendar !== null && (wallMs < periods[1] || wallMs >= periods[2])) {
    const { startMs, endMs } = calendar.period(wallMs)
    const before = calendar.period(startMs - 1).startMs
    const after = calendar.period(endMs).endMs
    account.periods = [before, startMs, endMs, after]
    account.periodsText = account.periods.join(',')
  }
  return `${account.fixed},${account.periodsText}`
}

/** What a call asks of an account: 1, or what it is expected to spend; null without a price. */
function asked({ kind, tier, spendIndex }: Account, call: LimitCall): number | null {
  if (kind !== 'spend') return 1
  return call.forecast == null ? 0 : needOf(tier.spending[spendIndex]!, call.forecast)
}

/** The accounts that are about a call and live on one node, and the names of their keys. */
export interface Plan {
  /** `governor:{…}`: keys with the same live on the same node of a cluster. */
  readonly tag: string
  readonly accounts: readonly Account[]
  /** Of each account's bucket. */
  readonly digests: readonly string[]
  /** State, holders or both of each account, as its kind has them. */
  readonly keys: readonly string[]
  /** Who holds what of each account; '' where nobody can. */
  readonly holders: readonly string[]
  /** What a call asks of each account; null where that differs from call to call. */
  readonly needs: readonly number[] | null
  /** Whether every call gives something back. */
  readonly hasSlots: boolean
}

/** What a call asks of each account of a plan; the id of the limit on cost where it has no price. */
export function needsOf({ needs, accounts }: Plan, call: LimitCall): readonly number[] | string {
  if (needs !== null) return needs
  const found: number[] = []
  for (const account of accounts) {
    const need = asked(account, call)
    if (need === null) return account.tier.id
    found.push(need)
  }
  return found
}

interface Known {
  readonly tiers: readonly Tier[]
  readonly isPart: boolean
  readonly plans: readonly Plan[]
}

/** Plans kept for one caller: one for each set of overrides its calls meet. */
const KNOWN_MAX = 16

/** Plans, made once for each caller. */
export class Plans {
  readonly #accounts: ReadonlyMap<Tier, readonly Account[]>
  readonly #splits: boolean
  /** A caller's principal is the same object from call to call. */
  readonly #known = new WeakMap<Principal, Known[]>()

  /** `splits`: whether keys of different tags cannot be in one plan. */
  constructor(accounts: ReadonlyMap<Tier, readonly Account[]>, splits: boolean) {
    this.#accounts = accounts
    this.#splits = splits
  }

  /** One for each tag, or one for all; `isPart` leaves places out, which the session holds. */
  of(tiers: readonly Tier[], principal: Principal, isPart: boolean): readonly Plan[] {
    let known = this.#known.get(principal)
    if (known === undefined) this.#known.set(principal, (known = []))
    for (const each of known) {
      if (each.isPart === isPart && isSame(each.tiers, tiers)) return each.plans
    }
    const plans = this.#make(tiers, principal, isPart)
    if (known.length < KNOWN_MAX) known.push({ tiers: [...tiers], isPart, plans })
    return plans
  }

  #make(tiers: readonly Tier[], principal: Principal, isPart: boolean): readonly Plan[] {
    const found = new Map<string, Named[]>()
    for (const tier of tiers) {
      const digest = bucketDigest(tier, principal)
      const tag = tagOf(tier, principal, digest)
      const group = this.#splits ? tag : ''
      const named = found.get(group) ?? []
      found.set(group, named)
      for (const account of this.#accounts.get(tier) ?? []) {
        if (!isPart || account.kind !== 'slots') named.push({ account, digest, tag })
      }
    }
    return [...found.values()].filter((named) => named.length > 0).map(planOf)
  }
}

/** An account of one subject. */
export interface Named {
  readonly account: Account
  readonly digest: string
  readonly tag: string
}

/** The plan of accounts that one script call may ask about. */
export function planOf(named: readonly Named[]): Plan {
  const keys: string[] = []
  const holders: string[] = []
  for (const { account, digest, tag } of named) {
    const state = `${tag}:${digest}:${account.suffix}`
    const isHeld = account.kind === 'slots' || account.kind === 'spend'
    if (account.kind !== 'slots') keys.push(state)
    if (isHeld) keys.push(`${state}:h`)
    holders.push(isHeld ? `${state}:h` : '')
  }
  const accounts = named.map(({ account }) => account)
  return {
    tag: named[0]!.tag,
    accounts,
    digests: named.map(({ digest }) => digest),
    keys,
    holders,
    needs: accounts.some(({ kind }) => kind === 'spend') ? null : accounts.map(() => 1),
    hasSlots: accounts.some(({ kind }) => kind === 'slots'),
  }
}

function isSame(one: readonly Tier[], other: readonly Tier[]): boolean {
  if (one.length !== other.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false
  return true
}

/** The hash tag of a subject: its tenant's, or one of its own where it is of none. */
export function tagOf({ per }: Tier, { tenant }: Principal, digest: string): string {
  if (per === 'global') return 'governor:{all}'
  return `governor:{${per === 'ip' ? digest : hash('sha256', tenant).slice(0, 16)}}`
}
