import type { LimitConfig } from '../config/snapshot.ts'
import type { Lease, LimitState } from '../exchange.ts'
import {
  addTiers,
  compileLimit,
  findBucket,
  makeBucket,
  tierFor,
  type Bucket,
  type Limit,
  type LimitCall,
  type Matches,
  type Tier,
} from './bucket.ts'
import type { Counter } from './window.ts'

/** Buckets held at once, some 50 MB. */
const BUCKETS_MAX = 100_000
/** Looking for idle buckets among all takes some 10 ms: not at every refusal. */
const SWEEP_INTERVAL_MS = 1_000
/** Shorter windows are not restored: they have all but passed before a restarted process is asked. */
export const RESTORED_WINDOW_MIN_MS = 3_600_000
/** Room below zero for events from before this process, so that no window has a negative time. */
const STEADY_START_MS = 400 * 86_400_000
/** When a slot will be free is not known; this is what clients are told. */
const SLOT_WAIT_MS = 1_000

/** One instant on both clocks, `wallMs` and `monotonicMs` of clock.ts. */
export interface Now {
  readonly wallMs: number
  readonly monotonicMs: number
}

/** Why a call may not pass: the limit with the longest wait, or no room to count it. */
export type Refusal =
  | {
      readonly kind: 'over'
      readonly state: LimitState
      readonly waitMs: number
      readonly tier: Tier
    }
  | { readonly kind: 'full' }

/**
 * The limits of one process. It outlives snapshots: `reconfigure` keeps what was counted. Nothing in
 * it waits, so a check and the charge after it cannot be interleaved with another call's.
 */
export class MemoryStore {
  readonly #bucketsMax: number
  #limits: readonly Limit[] = []
  #matches: Matches = () => false
  /** Counters of a former process by digest, then by shape, until their bucket is asked for. */
  readonly #restored = new Map<string, Map<string, Counter>>()
  #size = 0
  #sweptAtMs = -Infinity
  #lastMonotonicMs = 0
  #steadyOffsetMs = STEADY_START_MS

  constructor(limits: readonly LimitConfig[], matches: Matches, bucketsMax = BUCKETS_MAX) {
    this.#bucketsMax = bucketsMax
    this.reconfigure(limits, matches)
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
    this.#limits = limits.map(compileLimit)
    this.#matches = matches
    for (const tier of this.#tiers()) adopt(tier, former.get(tier.key))
    this.#size = this.#restored.size
    for (const tier of this.#tiers()) {
      for (const buckets of tier.buckets.values()) this.#size += buckets.size
    }
  }

  /** Checks all limits of a call, then charges all. A refusal charges nothing. */
  reserve(call: LimitCall, now: Now): Lease | Refusal {
    const steadyMs = this.#steady(now.monotonicMs)
    const tiers: Tier[] = []
    const about = { call, matches: this.#matches }
    for (const limit of this.#limits) addTiers(tiers, limit, about)
    // All room is made first: a bucket just made is idle, and must not make room for the next.
    const hasRoom = this.#makeRoom(tiers.length, now.wallMs, steadyMs)
    const held: { tier: Tier; bucket: Bucket }[] = []
    let refusal: Refusal | null = null
    for (const tier of tiers) {
      const found = findBucket(tier, call.principal)
      if (found === undefined && !hasRoom) return { kind: 'full' }
      const bucket = found ?? this.#newBucket(tier, call)
      refusal = longer(refusal, refusalOf(tier, bucket, now.wallMs, steadyMs))
      held.push({ tier, bucket })
    }
    if (refusal !== null) return refusal
    const states: LimitState[] = []
    for (const { tier, bucket } of held) {
      bucket.counter?.charge(timeFor(bucket.counter, now.wallMs, steadyMs))
      if (tier.figures.concurrent !== null) bucket.inFlight++
      for (const state of statesOf(tier, bucket, now.wallMs, steadyMs)) states.push(state)
    }
    return new HeldLease(states, held)
  }

  /**
   * The refusal a call is sure to meet, from what its headers tell; null when there is none. Limits
   * about models or upstreams are left out. Charges nothing and counts nobody anew.
   */
  peek(call: Pick<LimitCall, 'principal' | 'operation'>, now: Now): Refusal | null {
    const steadyMs = this.#steady(now.monotonicMs)
    const subject = { ...call, models: [], upstream: null }
    let refusal: Refusal | null = null
    for (const limit of this.#limits) {
      const tier = limit.fromHeaders ? tierFor(limit, subject, this.#matches) : null
      const bucket = tier === null ? undefined : findBucket(tier, call.principal)
      if (tier === null || bucket === undefined) continue
      refusal = longer(refusal, refusalOf(tier, bucket, now.wallMs, steadyMs))
    }
    return refusal
  }

  /**
   * Counts a call that a former process admitted at `atWallMs`, by the limit id and the bucket digest
   * of its audit entry; in order of time, before the first call. False when there is nothing to
   * restore: an unknown limit, a window under an hour or long past, or no room.
   */
  restore(
    entry: { readonly id: string; readonly bucket: string; readonly atWallMs: number },
    now: Now,
  ): boolean {
    const agoMs = Math.max(0, now.wallMs - entry.atWallMs)
    const tiers = this.#tiers().filter((tier) => {
      const windowMs = tier.figures.requests?.windowMs ?? 0
      // A window covers up to a tenth more than its length.
      return tier.id === entry.id && windowMs >= RESTORED_WINDOW_MIN_MS && agoMs <= windowMs * 1.1
    })
    if (tiers.length === 0) return false
    let counters = this.#restored.get(entry.bucket)
    if (counters === undefined) {
      if (this.#size >= this.#bucketsMax) return false
      counters = new Map()
      this.#restored.set(entry.bucket, counters)
      this.#size++
    }
    const steadyMs = this.#steady(now.monotonicMs) - agoMs
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

  #newBucket(tier: Tier, call: LimitCall): Bucket {
    const bucket = makeBucket(tier, call.principal)
    const restored = this.#restored.get(bucket.digest)
    if (restored === undefined) this.#size++
    else {
      bucket.counter = restored.get(tier.shape) ?? bucket.counter
      this.#restored.delete(bucket.digest)
    }
    return bucket
  }

  /** Time that never goes back: a step back counts as no time passed, and time goes on from there. */
  #steady(monotonicMs: number): number {
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
    for (const { buckets } of this.#tiers()) {
      for (const [group, members] of buckets) {
        this.#size -= forgetIdle(members, wallMs, steadyMs)
        if (members.size === 0) buckets.delete(group)
      }
    }
    for (const [digest, counters] of this.#restored) {
      const isIdle = [...counters.values()].every((counter) =>
        counter.idle(timeFor(counter, wallMs, steadyMs)),
      )
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

/** Places held by one call; settled once. */
class HeldLease implements Lease {
  readonly states: readonly LimitState[]
  #held: readonly { readonly tier: Tier; readonly bucket: Bucket }[]

  constructor(states: readonly LimitState[], held: readonly { tier: Tier; bucket: Bucket }[]) {
    this.states = states
    this.#held = held
  }

  settle(): void {
    const held = this.#held
    this.#held = []
    for (const { tier, bucket } of held) if (tier.figures.concurrent !== null) bucket.inFlight--
  }
}

/** Takes over the buckets of the same limit in the former snapshot. */
function adopt(tier: Tier, former: Tier | undefined): void {
  if (former === undefined) return
  for (const [group, members] of former.buckets) {
    tier.buckets.set(group, members)
    if (former.shape === tier.shape) continue
    for (const bucket of members.values()) bucket.counter = tier.makeCounter()
  }
}

function forgetIdle(members: Map<string, Bucket>, wallMs: number, steadyMs: number): number {
  let forgotten = 0
  for (const [subject, { counter, inFlight }] of members) {
    if (inFlight > 0) continue
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

function refusalOf(tier: Tier, bucket: Bucket, wallMs: number, steadyMs: number): Refusal | null {
  const { requests, concurrent } = tier.figures
  const { counter, inFlight } = bucket
  if (requests !== null && counter !== null) {
    const { waitMs } = counter.standing(requests.count, timeFor(counter, wallMs, steadyMs))
    if (waitMs > 0) {
      const [state] = statesOf(tier, bucket, wallMs, steadyMs)
      if (state !== undefined) return { kind: 'over', state, waitMs, tier }
    }
  }
  if (concurrent === null || inFlight < concurrent) return null
  const state = statesOf(tier, bucket, wallMs, steadyMs).at(-1)
  return state === undefined ? null : { kind: 'over', state, waitMs: SLOT_WAIT_MS, tier }
}

function statesOf(tier: Tier, bucket: Bucket, wallMs: number, steadyMs: number): LimitState[] {
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
