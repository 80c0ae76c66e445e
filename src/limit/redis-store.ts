import { randomUUID } from 'node:crypto'

import { every, monotonicMs } from '../clock.ts'
import type { LimitConfig, RedisPlace } from '../config/snapshot.ts'
import type { Principal } from '../exchange.ts'
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
import { type Account, accountsOf, accountText, asked, KeyNames } from './redis-plan.ts'
import { redisStanding } from './redis-standing.ts'
import { longest, shareOf, type Standing, stateOf } from './redis-states.ts'
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

/** What one script call is about: all of a call, or in a cluster the part of it that has one tag. */
interface Part {
  readonly id: string
  readonly tag: string
  readonly accounts: Account[]
  /** State and holders of each account. */
  readonly keys: string[]
  readonly needs: number[]
  /** Each account as the scripts are told of it. */
  readonly texts: string[]
  /** Of each account's bucket. */
  readonly digests: string[]
}

/** How a part stands once Redis has answered at its time `atMs`. */
interface Answered {
  readonly atMs: number
  readonly standings: readonly Standing[]
  readonly refusal: Refusal | null
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
  readonly #unsettled: { readonly call: ScriptCall; readonly atMs: number }[] = []
  readonly #timers: readonly (() => void)[]
  #configs: readonly LimitConfig[] = []
  #limits: readonly Limit[] = []
  #matches: Matches = () => false
  #spends = false
  #accounts = new Map<Tier, readonly Account[]>()
  #names = new KeyNames(this.#accounts)
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
    this.#names = new KeyNames(this.#accounts)
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
    const parts = this.#parts(call, tiers, now)
    if ('kind' in parts) return parts
    const [only] = parts
    if (parts.length === 1) {
      return this.#ask(only!).then((answer) => {
        if (answer === null) return this.#lost(call, tiers, now)
        return answer.refusal ?? this.#granted(parts, answer.standings)
      })
    }
    return Promise.all(parts.map((part) => this.#ask(part))).then(
      (answers) => this.#together(parts, answers) ?? this.#lost(call, tiers, now),
    )
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
      names: this.#names,
      accounts: this.#accounts,
      wallMs: now.wallMs,
      leaseMs: this.#leaseMs,
      reserve: (call) => this.#link.run('RESERVE', call),
    }).catch(() => this.#local.standing(principal, now))
  }

  /** What could not be settled is sent once more. */
  async close(): Promise<void> {
    for (const stopTimer of this.#timers) stopTimer()
    while (this.#link.usable && this.#unsettled.length > 0) this.#resettle()
    await this.#link.close()
  }

  /** Names and figures of every account of a call, by the node that has them. */
  #parts(call: LimitCall, tiers: readonly Tier[], { wallMs }: Instant): Part[] | Refusal {
    const id = randomUUID()
    const parts: Part[] = []
    for (const tier of tiers) {
      const names = this.#names.of(tier, call.principal)
      let part = this.#link.splits ? parts.find(({ tag }) => tag === names.tag) : parts[0]
      if (part === undefined) {
        const { tag } = names
        parts.push((part = { id, tag, accounts: [], keys: [], needs: [], texts: [], digests: [] }))
      }
      for (const [index, account] of this.#accounts.get(tier)!.entries()) {
        if (call.isPart === true && account.kind === 'slots') continue
        const need = asked(account, call)
        if (need === null) return { kind: 'unpriced', id: tier.id }
        part.accounts.push(account)
        part.needs.push(need)
        part.texts.push(accountText(account, need, wallMs))
        part.digests.push(names.digest)
        part.keys.push(names.keys[index * 2]!, names.keys[index * 2 + 1]!)
      }
    }
    return parts
  }

  /** Null when it was too late for Redis to do anything, or it said nothing in time. */
  async #ask(part: Part): Promise<Answered | null> {
    const { id, tag, keys, texts } = part
    const args = [id, this.#leaseMs, this.#link.deadlineMs, ...texts]
    let answer: string
    try {
      answer = (await this.#link.run('RESERVE', { tag, keys, args })) as string
    } catch {
      return null
    }
    const figures = answer.split(',').map(Number)
    const [refused, atMs = 0] = figures
    if (refused === -1) {
      this.#link.late(atMs)
      return null
    }
    this.#link.answered(atMs)
    const standings = part.accounts.map((account, index) => {
      const at = 2 + index * 4
      const used = figures[at]! + figures[at + 1]!
      const digest = part.digests[index]!
      const state = stateOf(account, { used, reset: figures[at + 3]!, digest })
      return { state, wait: figures[at + 2]!, account }
    })
    return { atMs, standings, refusal: refused === 1 ? longest(standings) : null }
  }

  /** All parts or none: where one is refused or lost, the others are taken back. Null when one is lost. */
  #together(parts: readonly Part[], answers: readonly (Answered | null)[]): Lease | Refusal | null {
    const standings = answers.flatMap((answer) => answer?.standings ?? [])
    const isLost = answers.includes(null)
    if (!isLost && answers.every((answer) => answer?.refusal === null)) {
      return this.#granted(parts, standings)
    }
    for (const [index, answer] of answers.entries()) {
      if (answer?.refusal === null) this.#undo(parts[index]!, answer.atMs)
    }
    return isLost ? null : longest(standings)
  }

  #granted(parts: readonly Part[], standings: readonly Standing[]): Lease {
    const needs = parts.length === 1 ? parts[0]!.needs : parts.flatMap((part) => part.needs)
    const states = standings.map(({ state, account: { kind } }, index) =>
      kind === 'spend' ? { ...state, reserved: needs[index]! } : state,
    )
    const holding = parts.filter(holds)
    if (holding.length === 0) return new RedisLease(states, null)
    for (const part of holding) this.#live.add(part)
    return new RedisLease(states, (spent) => {
      for (const part of holding) this.#settle(part, spent)
    })
  }

  #lost(call: LimitCall, tiers: readonly Tier[], now: Instant): Lease | Refusal {
    const how = 'local_share'
    for (const { id } of tiers) if (this.#denying.has(id)) return { kind: 'lost', how, id }
    const outcome = this.#local.reserve(call, now)
    return 'kind' in outcome ? { ...outcome, how } : outcome
  }

  #settle(part: Part, spent: Spent | null): void {
    if (!this.#live.delete(part)) return
    const { id, tag, accounts, keys, texts } = part
    const settled: string[] = [`${tag}:lease:${id}`]
    const args: string[] = [id, '0']
    for (const [index, { kind, what }] of accounts.entries()) {
      if (kind !== 'slots' && kind !== 'spend') continue
      const used = what === 'tokens' || what === 'cost' ? amountOf(what, spent) : 0
      settled.push(keys[index * 2]!, keys[index * 2 + 1]!)
      args.push(`${texts[index]!},${used}`)
    }
    this.#send({ tag, keys: settled, args }, monotonicMs())
  }

  /** As if it had never been asked for. */
  #undo({ id, tag, keys, texts }: Part, atMs: number): void {
    const args = [id, atMs, ...texts.map((text) => `${text},0`)]
    this.#send({ tag, keys: [`${tag}:lease:${id}`, ...keys], args }, monotonicMs())
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
    for (const { id, tag, accounts, keys, needs } of this.#live) {
      let group = byTag.get(tag)
      if (group === undefined) byTag.set(tag, (group = { keys: [], members: [] }))
      for (const [index, { kind }] of accounts.entries()) {
        const need = needs[index]!
        if (kind !== 'slots' && (kind !== 'spend' || need === 0)) continue
        group.keys.push(keys[index * 2 + 1]!)
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
function holds({ accounts, needs }: Part): boolean {
  return accounts.some(
    ({ kind }, index) => kind === 'slots' || (kind === 'spend' && needs[index]! > 0),
  )
}

/** What one call holds; settled once. */
class RedisLease implements Lease {
  readonly how = 'redis'
  readonly states: readonly LimitState[]
  #onSettle: ((spent: Spent | null) => void) | null

  constructor(states: readonly LimitState[], onSettle: ((spent: Spent | null) => void) | null) {
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
