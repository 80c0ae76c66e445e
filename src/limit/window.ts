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

/**
 * At most N in any T: T is cut in ten sub-windows, and the current one and the ten before it are
 * counted. That covers T wherever it begins, and is too strict by at most T ÷ 10.
 */
export class SlidingWindow implements Counter {
  readonly clock = 'steady'
  readonly #subMs: number
  /** Calls by sub-window, a ring. */
  readonly #counts: number[] = Array.from({ length: SUB_WINDOWS + 1 }, () => 0)
  /** Number of the newest sub-window counted. */
  #newest = 0
  #total = 0

  constructor(windowMs: number) {
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
    const slot = this.#newest % this.#counts.length
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1
    this.#total++
  }

  idle(nowMs: number): boolean {
    this.#forget(nowMs)
    return this.#total === 0
  }

  /** Empties the sub-windows that left. Time that went backwards counts in the newest one. */
  #forget(nowMs: number): void {
    const current = Math.floor(nowMs / this.#subMs)
    if (current <= this.#newest) return
    const steps = Math.min(current - this.#newest, this.#counts.length)
    for (let i = 0; i < steps && this.#total > 0; i++) {
      const slot = (current - i) % this.#counts.length
      this.#total -= this.#counts[slot] ?? 0
      this.#counts[slot] = 0
    }
    this.#newest = current
  }

  /** Until `count` of the oldest calls have left. */
  #waitFor(count: number, nowMs: number): number {
    let gone = 0
    for (let age = SUB_WINDOWS; age >= 0; age--) {
      const sub = this.#newest - age
      gone += sub < 0 ? 0 : (this.#counts[sub % this.#counts.length] ?? 0)
      if (gone >= count)
        return Math.max(1, Math.ceil((sub + SUB_WINDOWS + 1) * this.#subMs - nowMs))
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
