import { randomUUID } from 'node:crypto'

import { every, monotonicMs } from '../clock.ts'
import type { LimitConfig, RedisPlace } from '../config/snapshot.ts'
import type { Principal } from '../exchange.ts'
import type { PoolState } from '../metrics.ts'
import type { Instant, Lease, LimitState, Spent } from '../nouns/lease.ts'
import {
  addTiers,
  compileLimit,
  type Limit,
  type LimitCall,
  type Matches,
  type Tier,
} from './bucket.ts'
import { Calendars } from './calendar.ts'
import { MemoryStore } from './memory-store.ts'
import { type Answered, Batches, type Part, type Settlement } from './redis-batches.ts'
import { RedisLink } from './redis-link.ts'
import { type Account, accountsOf, needsOf, Plans } from './redis-plan.ts'
import { redisStanding } from './redis-standing.ts'
import { shareOf } from './redis-states.ts'
import { callerTiers, type LimitStanding } from './standing.ts'
import type { LimitStore, Refusal } from './store.ts'

/** A place or a reservation nobody renews is free again after this. */
const LEASE_MS = 30_000
/** Members renewed in one call. */
const RENEWED_MAX = 500
/** What could not be settled is tried again every second; the mark of a lease lives 10 minutes. */
const RESETTLE_MS = 1_000
const UNSETTLED_MAX = 10_000
const UNSETTLED_MS_MAX = 9 * 60_000
const PRESENT_KEY = 'governor:sidecars'

/** Where the shared store is, and its times. */
export interface RedisStoreOptions {
  /** A redis:// or rediss:// URL, with user and password where needed, or more than a URL says. */
  readonly place: string | RedisPlace
  /** How many sidecars share it at least: what a lost store is divided by. */
  readonly sidecars: number
  /** The longest a call waits for Redis; 100 ms. */
  readonly waitMs?: number
  /** After this, what nobody renews is free again; renewed three times as often. 30 s. */
  readonly leaseMs?: number
  /** Called when Redis is lost and when it is back. */
  readonly onChange?: (usable: boolean) => void
}

/** What is to be settled once Redis answers again. */
interface Unsettled {
  readonly part: Part
  readonly settlement: Settlement
  /** When it was first to be, monotonic ms. */
  readonly atMs: number
}

/**
 * Limits that any number of sidecars share. One script call checks and charges all that is about a
 * call; it is the only wait, of at most 100 ms. Where Redis is lost, each limit does what its
 * `on_store_loss` says, until Redis is back.
 */
export class RedisStore implements LimitStore {
  readonly #link: RedisLink
  readonly #local = new MemoryStore([], () => false, { mode: 'local_share' })
  readonly #id = randomUUID()
  readonly #leaseMs: number
  readonly #sidecarsMin: number
  /** What calls under way hold. */
  readonly #live = new Set<Part>()
  readonly #unsettled: Unsettled[] = []
  readonly #calendars = new Calendars()
  readonly #batches: Batches
  readonly #timers: readonly (() => void)[]
  #configs: readonly LimitConfig[] = []
  #limits: readonly Limit[] = []
  #matches: Matches = () => false
  #spends = false
  #accounts = new Map<Tier, readonly Account[]>()
  #plans: Plans
  #leases = 0
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
    this.#batches = new Batches(this.#link, leaseMs)
    this.#plans = new Plans(this.#accounts, this.#link.splits)
    this.#timers = [
      every(leaseMs / 3, () => this.#renew()),
      every(leaseMs / 3, () => this.#link.sweep()),
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
    return this.#link.whole ? 'redis' : 'local_share'
  }

  /** What went wrong with Redis last; '' when nothing has. */
  get why(): string {
    return this.#link.why
  }

  get connections(): PoolState {
    return this.#link.connections
  }

  /** How many sidecars share the store, as last counted. */
  get sidecars(): number {
    return this.#sidecars
  }

  reconfigure(limits: readonly LimitConfig[], matches: Matches): void {
    this.#configs = limits
    this.#matches = matches
    this.#limits = limits.map((limit) => compileLimit(limit, this.#calendars))
    this.#accounts = new Map()
    for (const [index, { base, overrides }] of this.#limits.entries()) {
      for (const tier of [base, ...overrides.map((override) => override.tier)]) {
        this.#accounts.set(tier, accountsOf(tier, limits[index]!.timeZone))
      }
    }
    this.#plans = new Plans(this.#accounts, this.#link.splits)
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
    const parts = this.#parts(call, tiers)
    if ('kind' in parts) return parts
    if (parts.length === 0) return NO_LEASE
    if (parts.length > 1) {
      const asked = parts.map((part) => {
        return new Promise<Answered | null>((resolve) => this.#batches.reserve(part, resolve))
      })
      return Promise.all(asked).then(
        (answers) => this.#together(parts, answers) ?? this.#lost(call, tiers, now),
      )
    }
    return new Promise((resolve) => {
      this.#batches.reserve(parts[0]!, (answer) => {
        if (answer === null) resolve(this.#lost(call, tiers, now))
        else resolve(answer.refusal ?? this.#granted(parts, answer.states))
      })
    })
  }

  /** Only a lost store knows without asking. */
  peek(call: Pick<LimitCall, 'principal' | 'operation'>, now: Instant): Refusal | null {
    const refusal = this.#link.usable ? null : this.#local.peek(call, now)
    return refusal && { ...refusal, how: 'local_share' }
  }

  async standing(principal: Principal, now: Instant): Promise<readonly LimitStanding[]> {
    if (!this.#link.usable) return this.#local.standing(principal, now)
    const tiers = callerTiers(this.#limits, principal, this.#matches)
    return redisStanding(tiers, principal, {
      accounts: this.#accounts,
      id: this.#newId(),
      batches: this.#batches,
    }).catch(() => this.#local.standing(principal, now))
  }

  /** What could not be settled is sent once more. */
  async close(): Promise<void> {
    for (const stopTimer of this.#timers) stopTimer()
    while (this.#link.usable && this.#unsettled.length > 0) this.#resettle()
    this.#batches.flush()
    await this.#link.close()
  }

  /** What to ask of each node. */
  #parts(call: LimitCall, tiers: readonly Tier[]): Part[] | Refusal {
    const parts: Part[] = []
    const id = this.#newId()
    for (const plan of this.#plans.of(tiers, call.principal, call.isPart === true)) {
      const needs = needsOf(plan, call)
      if (typeof needs === 'string') return { kind: 'unpriced', id: needs }
      parts.push({ id, plan, needs })
    }
    return parts
  }

  #newId(): string {
    return `${this.#id}.${(this.#leases++).toString(36)}`
  }

  /** All parts or none: where one is refused or lost, the others are taken back. Null when one is lost. */
  #together(parts: readonly Part[], answers: readonly (Answered | null)[]): Lease | Refusal | null {
    const isLost = answers.includes(null)
    if (!isLost && answers.every((answer) => answer?.refusal === null)) {
      return this.#granted(
        parts,
        answers.flatMap((answer) => answer!.states),
      )
    }
    for (const [index, answer] of answers.entries()) {
      if (answer?.refusal !== null) continue
      this.#settleOnce(parts[index]!, { spent: null, undoneMs: answer.atMs }, monotonicMs())
    }
    return isLost ? null : longestOf(answers.map((answer) => answer!.refusal))
  }

  #granted(parts: readonly Part[], states: readonly LimitState[]): Lease {
    let isHeld = false
    for (const part of parts) {
      if (!holds(part)) continue
      isHeld = true
      this.#live.add(part)
    }
    return new RedisLease(states, isHeld ? parts : null, this.#settle)
  }

  #lost(call: LimitCall, tiers: readonly Tier[], now: Instant): Lease | Refusal {
    const how = 'local_share'
    for (const { id } of tiers) if (this.#denying.has(id)) return { kind: 'lost', how, id }
    const outcome = this.#local.reserve(call, now)
    return 'kind' in outcome ? { ...outcome, how } : outcome
  }

  readonly #settle = (parts: readonly Part[], spent: Spent | null): void => {
    for (const part of parts) {
      if (this.#live.delete(part)) this.#settleOnce(part, { spent, undoneMs: 0 }, monotonicMs())
    }
  }

  /** Not waited for; what fails is kept, up to a bound, and sent again: it is charged once. */
  #settleOnce(part: Part, settlement: Settlement, atMs: number): void {
    const keep = () => {
      if (this.#unsettled.length < UNSETTLED_MAX) this.#unsettled.push({ part, settlement, atMs })
    }
    if (this.#link.usable) this.#batches.settle(part, settlement, keep)
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
    for (const { part, settlement, atMs } of this.#unsettled.splice(0, RENEWED_MAX)) {
      if (atMs > since) this.#settleOnce(part, settlement, atMs)
    }
  }

  /** One call for each tenant. */
  #renew(): void {
    if (!this.#link.usable) return
    const byTag = new Map<string, { keys: string[]; members: string[] }>()
    for (const { id, needs, plan } of this.#live) {
      const { tag, accounts, holders } = plan
      let group = byTag.get(tag)
      if (group === undefined) byTag.set(tag, (group = { keys: [], members: [] }))
      for (const [index, { kind }] of accounts.entries()) {
        const need = needs[index]!
        if (kind !== 'slots' && (kind !== 'spend' || need === 0)) continue
        group.keys.push(holders[index]!)
        group.members.push(kind === 'slots' ? id : `${id}:${need}`)
      }
    }
    for (const [tag, { keys, members }] of byTag) {
      for (let at = 0; at < keys.length; at += RENEWED_MAX) {
        const args = [this.#leaseMs, ...members.slice(at, at + RENEWED_MAX)]
        const call = { tag, keys: keys.slice(at, at + RENEWED_MAX), args }
        void this.#link.run('RENEW', call).catch(() => {})
      }
    }
  }

  async #count(): Promise<void> {
    const call = { tag: PRESENT_KEY, keys: [PRESENT_KEY], args: [this.#id, this.#leaseMs] }
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

/** Whether there is anything to give back. */
function holds({ plan, needs }: Part): boolean {
  if (plan.hasSlots || plan.needs !== null) return plan.hasSlots
  return plan.accounts.some(({ kind }, index) => kind === 'spend' && needs[index]! > 0)
}

/** The refusal with the longest wait. */
function longestOf(refusals: readonly (Refusal | null)[]): Refusal | null {
  let found: (Refusal & { readonly kind: 'over' }) | null = null
  for (const refusal of refusals) {
    if (refusal?.kind !== 'over') continue
    if (found === null || refusal.waitMs > found.waitMs) found = refusal
  }
  return found
}

type OnSettle = (parts: readonly Part[], spent: Spent | null) => void

/** What one call holds; settled once. */
class RedisLease implements Lease {
  readonly how = 'redis'
  readonly states: readonly LimitState[]
  readonly #onSettle: OnSettle
  /** Null where there is nothing to give back, or no more. */
  #parts: readonly Part[] | null

  constructor(states: readonly LimitState[], parts: readonly Part[] | null, onSettle: OnSettle) {
    this.states = states
    this.#parts = parts
    this.#onSettle = onSettle
  }

  settle(spent: Spent | null = null): void {
    const parts = this.#parts
    this.#parts = null
    if (parts !== null) this.#onSettle(parts, spent)
  }
}

/** Of a call no limit is about. */
const NO_LEASE: Lease = { states: [], how: 'redis', settle() {} }
