import { randomUUID } from 'node:crypto'

import { every, monotonicMs } from '../clock.ts'
import type { LimitConfig, LimitFigures } from '../config/snapshot.ts'
import type { Instant, Lease, LimitState, Spent } from '../lease.ts'
import { amountOf } from './account.ts'
import {
  addTiers,
  compileLimit,
  type Limit,
  type LimitCall,
  type Matches,
  type Tier,
} from './bucket.ts'
import { MemoryStore } from './memory-store.ts'
import { RedisLink, type ScriptCall } from './redis-link.ts'
import { type Account, accountsOf, asked, KeyNames, periodsAt } from './redis-plan.ts'
import type { LimitStore, Refusal } from './store.ts'

/** A place or a reservation nobody renews is free again after this. */
const LEASE_MS = 30_000
/** Members renewed in one call. */
const RENEWED_MAX = 500
/** When a slot or a reservation will be free is not known; this is what clients are told. */
const UNKNOWN_WAIT_MS = 1_000
/** What could not be settled is tried again every second; the mark of a lease lives 10 minutes. */
const RESETTLE_MS = 1_000
const UNSETTLED_MAX = 10_000
const UNSETTLED_MS_MAX = 9 * 60_000
const PRESENT_KEY = 'governor:sidecars'

export interface RedisStoreOptions {
  /** redis:// or rediss://, with user and password where needed. */
  readonly url: string
  /** How many sidecars share it at least: what a lost store is divided by. */
  readonly sidecars: number
  /** The longest a call waits for Redis; 100 ms. */
  readonly waitMs?: number
  /** After this, what nobody renews is free again; renewed three times as often. 30 s. */
  readonly leaseMs?: number
  /** Called when Redis is lost and when it is back. */
  readonly onChange?: (usable: boolean) => void
}

/** What a lease holds in Redis. */
interface Holding {
  readonly id: string
  readonly tag: string
  readonly accounts: readonly Account[]
  /** State and holders of each account. */
  readonly keys: readonly string[]
  readonly needs: readonly number[]
  /** Of each account's bucket. */
  readonly digests: readonly string[]
}

/**
 * Limits that any number of sidecars share. One script call checks and charges all that is about a
 * call; it is the only wait, of at most 100 ms. Where Redis is lost, each limit does what its
 * `on_store_loss` says, until Redis is back.
 */
export class RedisStore implements LimitStore {
  readonly #link: RedisLink
  readonly #local = new MemoryStore([], () => false, { mode: 'local_share' })
  readonly #names = new KeyNames()
  readonly #id = randomUUID()
  readonly #leaseMs: number
  readonly #sidecarsMin: number
  readonly #live = new Map<string, Holding>()
  readonly #unsettled: { readonly call: ScriptCall; readonly atMs: number }[] = []
  readonly #timers: readonly (() => void)[]
  #configs: readonly LimitConfig[] = []
  #limits: readonly Limit[] = []
  #matches: Matches = () => false
  #spends = false
  #accounts = new Map<Tier, readonly Account[]>()
  /** Ids of limits that refuse while the store is lost. */
  #denying = new Set<string>()
  #sidecars: number

  constructor({ sidecars, onChange = () => {}, leaseMs = LEASE_MS, ...to }: RedisStoreOptions) {
    this.#leaseMs = leaseMs
    this.#sidecarsMin = this.#sidecars = sidecars
    this.#link = new RedisLink({
      ...to,
      onChange: (usable) => {
        if (usable) this.#returned()
        onChange(usable)
      },
    })
    this.#timers = [
      every(leaseMs / 3, () => this.#renew()),
      every(leaseMs / 3, () => void this.#count()),
      every(RESETTLE_MS, () => this.#resettle()),
    ]
  }

  /** Waits for Redis, for a second at most: a sidecar starts without it, too. */
  async open(): Promise<void> {
    await this.#link.open()
  }

  get spends(): boolean {
    return this.#spends
  }

  get mode(): 'redis' | 'local_share' {
    return this.#link.usable ? 'redis' : 'local_share'
  }

  /** What went wrong with Redis last; '' when nothing has. */
  get why(): string {
    return this.#link.why
  }

  /** How many sidecars share the store, as last counted. */
  get sidecars(): number {
    return this.#sidecars
  }

  reconfigure(limits: readonly LimitConfig[], matches: Matches): void {
    this.#configs = limits
    this.#matches = matches
    this.#limits = limits.map(compileLimit)
    this.#accounts = new Map()
    for (const [index, { base, overrides }] of this.#limits.entries()) {
      for (const tier of [base, ...overrides.map((override) => override.tier)]) {
        this.#accounts.set(tier, accountsOf(tier, limits[index]!.timeZone))
      }
    }
    this.#spends = [...this.#accounts.keys()].some(({ spending }) => spending.length > 0)
    const denying = limits.filter(({ onStoreLoss }) => onStoreLoss === 'deny')
    this.#denying = new Set(denying.map(({ id }) => id))
    this.#share()
  }

  reserve(call: LimitCall, now: Instant): Lease | Refusal | Promise<Lease | Refusal> {
    const tiers: Tier[] = []
    const about = { call, matches: this.#matches }
    for (const limit of this.#limits) addTiers(tiers, limit, about)
    if (tiers.length === 0) return NO_LEASE
    if (!this.#link.usable) return this.#lost(call, tiers, now)
    const asking = this.#asking(call, tiers, now)
    if ('kind' in asking) return asking
    const { holding, args } = asking
    return this.#link.run('RESERVE', { keys: holding.keys, args }).then(
      (answer) => this.#answered(answer as number[], holding) ?? this.#lost(call, tiers, now),
      () => this.#lost(call, tiers, now),
    )
  }

  /** Only a lost store knows without asking. */
  peek(call: Pick<LimitCall, 'principal' | 'operation'>, now: Instant): Refusal | null {
    return this.#link.usable ? null : this.#local.peek(call, now)
  }

  /** What could not be settled is sent once more. */
  async close(): Promise<void> {
    for (const stopTimer of this.#timers) stopTimer()
    while (this.#link.usable && this.#unsettled.length > 0) this.#resettle()
    await this.#link.close()
  }

  /** Names and figures of every account of a call. */
  #asking(
    call: LimitCall,
    tiers: readonly Tier[],
    { wallMs }: Instant,
  ): { readonly holding: Holding; readonly args: (string | number)[] } | Refusal {
    const id = randomUUID()
    const accounts: Account[] = []
    const keys: string[] = []
    const needs: number[] = []
    const digests: string[] = []
    const args: (string | number)[] = [id, this.#leaseMs, this.#link.deadlineMs]
    let tag = ''
    for (const tier of tiers) {
      const { prefix, digest } = this.#names.of(tier, call.principal)
      tag = prefix
      for (const account of this.#accounts.get(tier) ?? []) {
        if (call.isPart === true && account.kind === 'slots') continue
        const need = asked(account, call)
        if (need === null) return { kind: 'unpriced', id: tier.id }
        accounts.push(account)
        needs.push(need)
        digests.push(digest)
        keys.push(prefix + account.suffix, `${prefix}${account.suffix}:h`)
        const { kind, limit, windowMs, burst } = account
        args.push(kind, limit, windowMs, need, burst, ...periodsAt(account, wallMs))
      }
    }
    tag = tag.slice(0, tag.indexOf('}'))
    return { holding: { id, tag, accounts, keys, needs, digests }, args }
  }

  /** Null when it was too late for Redis to do anything. */
  #answered(answer: readonly number[], holding: Holding): Lease | Refusal | null {
    if (Number(answer[0]) === -1) {
      this.#link.late(Number(answer[1]))
      return null
    }
    const figures = answer.slice(2).map(Number)
    const states = holding.accounts.map((account, index) => {
      const [used = 0, held = 0, wait = 0, reset = 0] = figures.slice(index * 4, index * 4 + 4)
      const state = stateOf(account, { used: used + held, reset, digest: holding.digests[index]! })
      return { state, wait, account }
    })
    if (Number(answer[0]) === 1) return longest(states)
    const granted = states.map(({ state, account }, index) =>
      account.kind === 'spend' ? { ...state, reserved: holding.needs[index]! } : state,
    )
    const holds = holding.accounts.some(
      ({ kind }, index) => kind === 'slots' || (kind === 'spend' && holding.needs[index]! > 0),
    )
    const lease = new RedisLease(granted, (spent) => this.#settle(holding, spent))
    if (!holds) return lease
    this.#live.set(holding.id, holding)
    return lease
  }

  #lost(call: LimitCall, tiers: readonly Tier[], now: Instant): Lease | Refusal {
    for (const { id } of tiers) if (this.#denying.has(id)) return { kind: 'lost', id }
    return this.#local.reserve(call, now)
  }

  #settle({ id, tag, accounts, keys, needs }: Holding, spent: Spent | null): void {
    if (!this.#live.delete(id)) return
    const settled: string[] = [`${tag}}:lease:${id}`]
    const args: (string | number)[] = [id]
    for (const [index, account] of accounts.entries()) {
      const { kind, limit, windowMs, what, periods } = account
      const need = needs[index]!
      if (kind !== 'slots' && kind !== 'spend') continue
      const used = what === 'tokens' || what === 'cost' ? amountOf(what, spent) : 0
      settled.push(keys[index * 2]!, keys[index * 2 + 1]!)
      args.push(kind, limit, windowMs, need, used, ...periods)
    }
    this.#send({ keys: settled, args }, monotonicMs())
  }

  /** Not waited for; what fails is kept, up to a bound, and sent again: it is charged once. */
  #send(call: ScriptCall, atMs: number): void {
    const keep = () => {
      if (this.#unsettled.length < UNSETTLED_MAX) this.#unsettled.push({ call, atMs })
    }
    if (this.#link.usable) void this.#link.run('SETTLE', call).catch(keep)
    else keep()
  }

  /** It may be empty: places that are held here are put back before anybody is given one. */
  #returned(): void {
    this.#renew()
    void this.#count()
  }

  #resettle(): void {
    if (!this.#link.usable || this.#unsettled.length === 0) return
    const since = monotonicMs() - UNSETTLED_MS_MAX
    for (const { call, atMs } of this.#unsettled.splice(0, RENEWED_MAX)) {
      if (atMs > since) this.#send(call, atMs)
    }
  }

  /** One call for each tenant. */
  #renew(): void {
    if (!this.#link.usable) return
    const byTag = new Map<string, { keys: string[]; members: string[] }>()
    for (const { id, tag, accounts, keys, needs } of this.#live.values()) {
      let group = byTag.get(tag)
      if (group === undefined) byTag.set(tag, (group = { keys: [], members: [] }))
      for (const [index, { kind }] of accounts.entries()) {
        const need = needs[index]!
        if (kind !== 'slots' && (kind !== 'spend' || need === 0)) continue
        group.keys.push(keys[index * 2 + 1]!)
        group.members.push(kind === 'slots' ? id : `${id}:${need}`)
      }
    }
    for (const { keys, members } of byTag.values()) {
      for (let at = 0; at < keys.length; at += RENEWED_MAX) {
        const args = [this.#leaseMs, ...members.slice(at, at + RENEWED_MAX)]
        const call = { keys: keys.slice(at, at + RENEWED_MAX), args }
        void this.#link.run('RENEW', call).catch(() => {})
      }
    }
  }

  async #count(): Promise<void> {
    const call = { keys: [PRESENT_KEY], args: [this.#id, this.#leaseMs] }
    const count = await this.#link.run('PRESENT', call).catch(() => null)
    const sidecars = Math.max(this.#sidecarsMin, Number(count ?? this.#sidecars))
    if (sidecars === this.#sidecars) return
    this.#sidecars = sidecars
    this.#share()
  }

  /** What this sidecar may let pass by itself: its share of every figure, rounded up. */
  #share(): void {
    const shared = this.#configs.filter(({ onStoreLoss }) => onStoreLoss === 'local_share')
    this.#local.reconfigure(
      shared.map((limit) => shareOf(limit, this.#sidecars)),
      this.#matches,
    )
  }
}

function stateOf(
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

/** A limit ÷ `sidecars`. */
function shareOf(limit: LimitConfig, sidecars: number): LimitConfig {
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

interface Standing {
  readonly state: LimitState
  readonly wait: number
  readonly account: Account
}

/** The refusal of the limit with the longest wait. */
function longest(standings: readonly Standing[]): Refusal {
  const refusing = standings.filter(({ wait }) => wait !== 0)
  const waitOf = ({ wait, account }: Standing) => {
    if (wait < 0) return UNKNOWN_WAIT_MS
    return account.kind === 'spend' ? Math.max(UNKNOWN_WAIT_MS, wait) : wait
  }
  const found = refusing.reduce((one, other) => (waitOf(other) > waitOf(one) ? other : one))
  return { kind: 'over', state: found.state, waitMs: waitOf(found), tier: found.account.tier }
}

/** What one call holds; settled once. */
class RedisLease implements Lease {
  readonly how = 'redis'
  readonly states: readonly LimitState[]
  #onSettle: ((spent: Spent | null) => void) | null

  constructor(states: readonly LimitState[], onSettle: (spent: Spent | null) => void) {
    this.states = states
    this.#onSettle = onSettle
  }

  settle(spent: Spent | null = null): void {
    const onSettle = this.#onSettle
    this.#onSettle = null
    onSettle?.(spent)
  }
}

/** Of a call no limit is about. */
const NO_LEASE: Lease = { states: [], how: 'redis', settle() {} }
