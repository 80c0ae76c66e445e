import type { LimitConfig } from '../config/snapshot.ts'
import type { Instant, Lease, LimitState, Principal, Spent } from '../exchange.ts'
import {
  type Held,
  NOTHING_RESERVED,
  reserveSpends,
  settleSpend,
  spendRefusal,
  spendsIdle,
  spendStates,
  type Times,
} from './account.ts'
import {
  addTiers,
  compileLimit,
  findBucket,
  makeBucket,
  spareBucket,
  tierFor,
  type Bucket,
  type Limit,
  type LimitCall,
  type Matches,
  type Tier,
} from './bucket.ts'
import { Calendars } from './calendar.ts'
import { requestsCountMs, spendCountsMs } from './lookback.ts'
import { adoptSpends, type SpendCounter } from './spend.ts'
import { callerTiers, type LimitStanding } from './standing.ts'
import { SLOT_WAIT_MS, standingsOf, statesOf } from './states.ts'
import type { FormerCharge, LimitStore, Refusal } from './store.ts'
import type { Counter } from './window.ts'

/** Buckets held at once: some 50 MB, and 85 where tokens and cost are counted, too. */
const BUCKETS_MAX = 100_000
/** Looking for idle buckets among all takes some 10 ms: not at every refusal. */
const SWEEP_INTERVAL_MS = 1_000
/** Room below zero for events from before this process, so that no window has a negative time. */
const STEADY_START_MS = 400 * 86_400_000

/** How the limits of a process are kept. */
export interface MemoryOptions {
  readonly bucketsMax?: number
  /** `local_share` where it stands in for a shared store that is lost. */
  readonly mode?: 'memory' | 'local_share'
}

/**
 * The limits of one process. It outlives snapshots: `reconfigure` keeps what was counted. Nothing in
 * it waits, so a check and the charge after it cannot be interleaved with another call's.
 */
export class MemoryStore implements LimitStore {
  readonly #bucketsMax: number
  readonly mode: 'memory' | 'local_share'
  #limits: readonly Limit[] = []
  #matches: Matches = () => false
  /** Counters of a former process by digest, then by shape, until their bucket is asked for. */
  readonly #restored = new Map<string, Restored>()
  readonly #calendars = new Calendars()
  #size = 0
  #spends = false
  #sweptAtMs = -Infinity
  #lastMonotonicMs = 0
  #steadyOffsetMs = STEADY_START_MS

  constructor(
    limits: readonly LimitConfig[],
    matches: Matches,
    { bucketsMax = BUCKETS_MAX, mode = 'memory' }: MemoryOptions = {},
  ) {
    this.#bucketsMax = bucketsMax
    this.mode = mode
    this.reconfigure(limits, matches)
  }

  /** Whether any limit is about tokens or cost, so that calls need a forecast. */
  get spends(): boolean {
    return this.#spends
  }

  /** How many subjects are counted at the moment. */
  get size(): number {
    return this.#size
  }

  /**
   * Takes the limits of a new snapshot. Limits with the same id and `per` keep their slots, and their
   * counts where the window is the same, whatever N is now.
   */
  reconfigure(limits: readonly LimitConfig[], matches: Matches): void {
    const former = new Map(this.#tiers().map((tier) => [tier.key, tier]))
    this.#limits = limits.map((limit) => compileLimit(limit, this.#calendars))
    this.#matches = matches
    for (const tier of this.#tiers()) adopt(tier, former.get(tier.key))
    this.#spends = this.#tiers().some(({ spending }) => spending.length > 0)
    this.#size = this.#restored.size
    for (const tier of this.#tiers()) {
      for (const buckets of tier.buckets.values()) this.#size += buckets.size
    }
  }

  /** Checks all limits of a call, then charges all. A refusal charges nothing. */
  reserve(call: LimitCall, now: Instant): Lease | Refusal {
    const steadyMs = this.steadyMs(now.monotonicMs)
    const tiers: Tier[] = []
    const about = { call, matches: this.#matches }
    for (const limit of this.#limits) addTiers(tiers, limit, about)
    // All room is made first: a bucket just made is idle, and must not make room for the next.
    const hasRoom = this.#makeRoom(tiers.length, now.wallMs, steadyMs)
    const held: Held[] = []
    const times = { wallMs: now.wallMs, steadyMs }
    let refusal: Refusal | null = null
    for (const tier of tiers) {
      const found = findBucket(tier, call.principal)
      if (found === undefined && !hasRoom) return { kind: 'full' }
      const bucket = found ?? this.#newBucket(tier, call)
      refusal = longer(
        refusal,
        (call.isPart === true ? rateRefusal : refusalOf)(tier, bucket, times),
      )
      if (tier.spending.length > 0) {
        refusal = longer(refusal, spendRefusal(tier, bucket, { call, times }))
      }
      const hasSlot = tier.figures.concurrent !== null && call.isPart !== true
      held.push({ tier, bucket, hasSlot, reserved: NOTHING_RESERVED })
    }
    return refusal ?? this.#hold(held, call, times)
  }

  /** Charges what every limit has let pass. */
  #hold(held: readonly Held[], call: LimitCall, times: Times): Lease {
    const { wallMs, steadyMs } = times
    const states: LimitState[] = []
    for (const each of held) {
      const { tier, bucket, hasSlot } = each
      bucket.counter?.charge(timeFor(bucket.counter, wallMs, steadyMs))
      if (hasSlot) bucket.inFlight++
      for (const state of statesOf(tier, bucket, wallMs, steadyMs)) states.push(state)
      if (tier.spending.length > 0) {
        each.reserved = reserveSpends(tier, bucket, call)
        for (const state of spendStates(each, times)) states.push(state)
      }
    }
    return new HeldLease(states, held, this)
  }

  /**
   * The refusal a call is sure to meet, from what its headers tell; null when there is none. Limits
   * about models or upstreams are left out. Charges nothing and counts nobody anew.
   */
  peek(call: Pick<LimitCall, 'principal' | 'operation'>, now: Instant): Refusal | null {
    const steadyMs = this.steadyMs(now.monotonicMs)
    const subject = { ...call, models: [], upstream: null }
    let refusal: Refusal | null = null
    for (const limit of this.#limits) {
      const tier = limit.fromHeaders ? tierFor(limit, subject, this.#matches) : null
      const bucket = tier === null ? undefined : findBucket(tier, call.principal)
      if (tier === null || bucket === undefined) continue
      const times = { wallMs: now.wallMs, steadyMs }
      refusal = longer(refusal, refusalOf(tier, bucket, times))
    }
    return refusal
  }

  /** How limits stand for a caller; one that nobody counts yet has all of them free. */
  standing(principal: Principal, now: Instant): LimitStanding[] {
    const times = { wallMs: now.wallMs, steadyMs: this.steadyMs(now.monotonicMs) }
    return callerTiers(this.#limits, principal, this.#matches).flatMap((at) => {
      const bucket = findBucket(at.tier, principal) ?? spareBucket(at.tier, principal)
      this.#restoreInto(bucket, at.tier)
      return standingsOf(at, bucket, times)
    })
  }

  /**
   * Counts a call that a former process admitted at `atWallMs`, by the limit id and the bucket digest
   * of its audit entry; in order of time, before the first call. False when there is nothing to
   * restore: an unknown limit, one that forgets within an hour or has forgotten this, or no room.
   */
  restore(entry: FormerCharge, now: Instant): boolean {
    if (entry.what !== 'requests') return this.#restoreSpend(entry, now)
    const agoMs = Math.max(0, now.wallMs - entry.atWallMs)
    const tiers = this.#tiers().filter(({ id, figures }) => {
      const countsMs = requestsCountMs(figures)
      return id === entry.id && countsMs > 0 && agoMs <= countsMs
    })
    if (tiers.length === 0) return false
    const restored = this.#restoredFor(entry.bucket)
    if (restored === null) return false
    const { counters } = restored
    const steadyMs = this.steadyMs(now.monotonicMs) - agoMs
    const charged = new Set<Counter>()
    for (const tier of tiers) {
      const counter = counters.get(tier.shape) ?? tier.makeCounter()
      if (counter === null) continue
      // Tiers of one limit may share a shape, and then one counter: the digest tells them apart.
      if (charged.has(counter)) continue
      charged.add(counter)
      counters.set(tier.shape, counter)
      counter.charge(timeFor(counter, now.wallMs - agoMs, steadyMs))
    }
    return true
  }

  /** The same for tokens and cost, of which a call is charged an amount. */
  #restoreSpend({ id, bucket, what, amount, atWallMs }: FormerCharge, now: Instant): boolean {
    const agoMs = Math.max(0, now.wallMs - atWallMs)
    const figures = this.#tiers()
      .filter((tier) => tier.id === id)
      .flatMap(({ spending }) => spending)
      .filter((figure) => figure.what === what && spendCountsMs(figure.rate) > 0)
    if (figures.length === 0 || amount <= 0) return false
    const restored = this.#restoredFor(bucket)
    if (restored === null) return false
    const charged = new Set<string>()
    for (const { shape, rate, makeCounter } of figures) {
      if (charged.has(shape)) continue
      charged.add(shape)
      const counter = restored.spends.get(shape)?.counter ?? makeCounter()
      restored.spends.set(shape, { counter, limit: rate.count })
      const steadyMs = this.steadyMs(now.monotonicMs) - agoMs
      counter.charge(amount, rate.count, counter.clock === 'wall' ? atWallMs : steadyMs)
    }
    return true
  }

  #restoredFor(digest: string): Restored | null {
    let restored = this.#restored.get(digest)
    if (restored === undefined) {
      if (this.#size >= this.#bucketsMax) return null
      restored = { counters: new Map(), spends: new Map() }
      this.#restored.set(digest, restored)
      this.#size++
    }
    return restored
  }

  close(): void {}

  #newBucket(tier: Tier, call: LimitCall): Bucket {
    const bucket = makeBucket(tier, call.principal)
    if (this.#restoreInto(bucket, tier)) this.#restored.delete(bucket.digest)
    else this.#size++
    return bucket
  }

  /** Gives a bucket what a former process counted in it; false where that was nothing. */
  #restoreInto(bucket: Bucket, tier: Tier): boolean {
    const restored = this.#restored.get(bucket.digest)
    if (restored === undefined) return false
    bucket.counter = restored.counters.get(tier.shape) ?? bucket.counter
    for (const spend of bucket.spends) {
      spend.counter = restored.spends.get(spend.shape)?.counter ?? spend.counter
    }
    return true
  }

  /** Time that never goes back: a step back counts as no time passed, and time goes on from there. */
  steadyMs(monotonicMs: number): number {
    if (monotonicMs < this.#lastMonotonicMs) {
      this.#steadyOffsetMs += this.#lastMonotonicMs - monotonicMs
    }
    this.#lastMonotonicMs = monotonicMs
    return monotonicMs + this.#steadyOffsetMs
  }

  /** Makes sure that `count` buckets fit, forgetting idle ones only. */
  #makeRoom(count: number, wallMs: number, steadyMs: number): boolean {
    if (this.#size + count <= this.#bucketsMax) return true
    if (steadyMs - this.#sweptAtMs < SWEEP_INTERVAL_MS) return false
    this.#sweptAtMs = steadyMs
    for (const tier of this.#tiers()) {
      for (const [group, members] of tier.buckets) {
        this.#size -= forgetIdle(tier, members, { wallMs, steadyMs })
        if (members.size === 0) tier.buckets.delete(group)
      }
    }
    for (const [digest, { counters, spends }] of this.#restored) {
      const isPaid = ({ counter, limit }: RestoredSpend) =>
        counter.used(limit, counter.clock === 'wall' ? wallMs : steadyMs) === 0
      const isIdle =
        [...spends.values()].every(isPaid) &&
        [...counters.values()].every((counter) => counter.idle(timeFor(counter, wallMs, steadyMs)))
      if (isIdle && this.#restored.delete(digest)) this.#size--
    }
    return this.#size + count <= this.#bucketsMax
  }

  #tiers(): readonly Tier[] {
    return this.#limits.flatMap(({ base, overrides }) => [
      base,
      ...overrides.map((override) => override.tier),
    ])
  }
}

/** Counters of a former process, by shape. */
interface Restored {
  readonly counters: Map<string, Counter>
  readonly spends: Map<string, RestoredSpend>
}

interface RestoredSpend {
  readonly counter: SpendCounter
  readonly limit: number
}

/** Places held by one call; settled once. */
class HeldLease implements Lease {
  readonly states: readonly LimitState[]
  readonly #store: MemoryStore
  readonly how: 'memory' | 'local_share'
  #held: readonly Held[]

  constructor(states: readonly LimitState[], held: readonly Held[], store: MemoryStore) {
    this.states = states
    this.#held = held
    this.#store = store
    this.how = store.mode
  }

  settle(spent: Spent | null = null, now: Instant | null = null): void {
    const held = this.#held
    this.#held = []
    for (const { bucket, hasSlot, reserved } of held) {
      if (hasSlot) bucket.inFlight--
      if (reserved.length === 0) continue
      // Without a time there is nothing to charge, and none is looked at.
      const steadyMs = now === null ? 0 : this.#store.steadyMs(now.monotonicMs)
      const times = { wallMs: now?.wallMs ?? 0, steadyMs }
      for (const each of reserved) settleSpend(each, now === null ? null : spent, times)
    }
  }
}

/** Takes over the buckets of the same limit in the former snapshot. */
function adopt(tier: Tier, former: Tier | undefined): void {
  if (former === undefined) return
  for (const [group, members] of former.buckets) {
    tier.buckets.set(group, members)
    for (const bucket of members.values()) {
      if (former.shape !== tier.shape) bucket.counter = tier.makeCounter()
      bucket.spends = adoptSpends(tier.spending, bucket.spends)
    }
  }
}

function forgetIdle(tier: Tier, members: Map<string, Bucket>, times: Times): number {
  const { wallMs, steadyMs } = times
  let forgotten = 0
  for (const [subject, bucket] of members) {
    const { counter, inFlight } = bucket
    if (inFlight > 0 || !spendsIdle(tier, bucket, times)) continue
    if (counter !== null && !counter.idle(timeFor(counter, wallMs, steadyMs))) continue
    members.delete(subject)
    forgotten++
  }
  return forgotten
}

function timeFor(counter: Counter, wallMs: number, steadyMs: number): number {
  return counter.clock === 'wall' ? wallMs : steadyMs
}

function longer(one: Refusal | null, other: Refusal | null): Refusal | null {
  if (one?.kind !== 'over' || other?.kind !== 'over') return one ?? other
  return other.waitMs > one.waitMs ? other : one
}

function refusalOf(tier: Tier, bucket: Bucket, times: Times): Refusal | null {
  const refusal = rateRefusal(tier, bucket, times)
  const { concurrent } = tier.figures
  if (refusal !== null || concurrent === null || bucket.inFlight < concurrent) return refusal
  const state = statesOf(tier, bucket, times.wallMs, times.steadyMs).at(-1)
  return state === undefined ? null : { kind: 'over', state, waitMs: SLOT_WAIT_MS, tier }
}

function rateRefusal(tier: Tier, bucket: Bucket, { wallMs, steadyMs }: Times): Refusal | null {
  const { requests } = tier.figures
  const { counter } = bucket
  if (requests === null || counter === null) return null
  const { waitMs } = counter.standing(requests.count, timeFor(counter, wallMs, steadyMs))
  if (waitMs <= 0) return null
  const [state] = statesOf(tier, bucket, wallMs, steadyMs)
  return state === undefined ? null : { kind: 'over', state, waitMs, tier }
}
