import type { Rate } from '../config/snapshot.ts'

/**
 * Arithmetic of "at most N in any T", without a clock: every call takes the time. Counts are
 * integers. Times of windows and buckets are monotonic milliseconds; those of calendars wall time.
 */

/** Where a counter stands. */
export interface Standing {
  readonly remaining: number
  /** Until a unit more is free than now, milliseconds; 0 when none is used. */
  readonly resetMs: number
  /** Until one more call may pass, milliseconds; 0 when it may pass now, Infinity when never. */
  readonly waitMs: number
}

/** Counts the calls of one subject under one limit. */
export interface Counter {
  /** Which time it takes: wall, or one that never goes back. */
  readonly clock: 'wall' | 'steady'
  standing(limit: number, nowMs: number): Standing
  /** Counts one call; whether it may pass was asked before. */
  charge(nowMs: number): void
  /** Whether forgetting this counter at `nowMs` would change nothing. */
  idle(nowMs: number): boolean
}

const SUB_WINDOWS = 10

/** Calls counted together, until the last of them is T old. */
interface Group {
  readonly sub: number
  count: number
  lastMs: number
}

/**
 * At most N in any T: calls of one tenth of T are counted together and leave together, when the last
 * of them is T old. So no T holds more than N, a call is counted at most T ÷ 10 too long, and nobody
 * ever waits longer than T.
 */
export class SlidingWindow implements Counter {
  readonly clock = 'steady'
  readonly #windowMs: number
  readonly #subMs: number
  /** Oldest first; at most eleven tenths touch one T. */
  #groups: Group[] = []
  #total = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
    this.#subMs = Math.max(1, Math.ceil(windowMs / SUB_WINDOWS))
  }

  standing(limit: number, nowMs: number): Standing {
    this.#forget(nowMs)
    const remaining = Math.max(0, limit - this.#total)
    const resetMs = this.#total === 0 ? 0 : this.#waitFor(1, nowMs)
    const waitMs = remaining > 0 ? 0 : this.#waitFor(this.#total - limit + 1, nowMs)
    return { remaining, resetMs, waitMs: limit === 0 ? Infinity : waitMs }
  }

  charge(nowMs: number): void {
    this.#forget(nowMs)
    const sub = Math.floor(nowMs / this.#subMs)
    const newest = this.#groups.at(-1)
    // Time that went backwards counts in the newest group, so that it cannot leave early.
    if (newest === undefined || newest.sub < sub)
      this.#groups.push({ sub, count: 1, lastMs: nowMs })
    else {
      newest.count++
      newest.lastMs = Math.max(newest.lastMs, nowMs)
    }
    this.#total++
  }

  idle(nowMs: number): boolean {
    this.#forget(nowMs)
    return this.#total === 0
  }

  #forget(nowMs: number): void {
    while (this.#groups.length > 0 && this.#groups[0]!.lastMs + this.#windowMs <= nowMs) {
      this.#total -= this.#groups.shift()!.count
    }
  }

  /** Until `count` of the oldest calls have left. */
  #waitFor(count: number, nowMs: number): number {
    let gone = 0
    for (const group of this.#groups) {
      gone += group.count
      if (gone >= count) return Math.max(1, Math.ceil(group.lastMs + this.#windowMs - nowMs))
    }
    return Infinity
  }
}

/**
 * A bucket of B calls, refilled at N in T. Its level is kept in units of 1/T of a call, of which N
 * come back every millisecond, so that no rounding adds up.
 */
export class TokenBucket implements Counter {
  readonly clock = 'steady'
  readonly #count: number
  readonly #windowMs: number
  readonly #full: number
  #level: number
  #filledAtMs = 0

  constructor(rate: Pick<Rate, 'count' | 'windowMs'>, burst: number) {
    this.#count = rate.count
    this.#windowMs = rate.windowMs
    this.#full = burst * rate.windowMs
    this.#level = this.#full
  }

  /** The bucket's size was given when it was made; a limit is not looked at. */
  standing(_limit: number, nowMs: number): Standing {
    this.#refill(nowMs)
    const missing = this.#windowMs - this.#level
    const used = this.#full - this.#level
    return {
      remaining: Math.floor(this.#level / this.#windowMs),
      resetMs: used === 0 ? 0 : this.#timeFor(Math.min(used, this.#toNextUnit())),
      waitMs: missing <= 0 ? 0 : this.#timeFor(missing),
    }
  }

  charge(nowMs: number): void {
    this.#refill(nowMs)
    this.#level = Math.max(0, this.#level - this.#windowMs)
  }

  idle(nowMs: number): boolean {
    this.#refill(nowMs)
    return this.#level === this.#full
  }

  #refill(nowMs: number): void {
    const atMs = Math.floor(nowMs)
    if (atMs <= this.#filledAtMs) return
    const refilled = this.#level + (atMs - this.#filledAtMs) * this.#count
    this.#level = Math.min(this.#full, refilled)
    this.#filledAtMs = atMs
  }

  #toNextUnit(): number {
    return this.#windowMs - (this.#level % this.#windowMs)
  }

  #timeFor(units: number): number {
    return this.#count === 0 ? Infinity : Math.ceil(units / this.#count)
  }
}
