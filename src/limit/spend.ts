import type { Rate } from '../config/snapshot.ts'
import type { Calendar, Period } from './calendar.ts'

/**
 * Arithmetic of tokens and cost, without a clock: integers, and amounts instead of calls. What a call
 * will take is reserved; what it took is charged when it ends and may exceed what was left. That is
 * debt, and it is paid at N in T before anything new is admitted.
 */

/** What was used of one figure by one subject. */
export interface SpendCounter {
  /** Which time it takes: wall, or one that never goes back. */
  readonly clock: 'wall' | 'steady'
  /** What counts now; above `limit` it is debt. */
  used(limit: number, nowMs: number): number
  charge(amount: number, limit: number, nowMs: number): void
  /** Until no more than `room` counts, milliseconds; 0 when it does not now. */
  waitFor(room: number, limit: number, nowMs: number): number
}

const SUB_WINDOWS = 10
const SKIPPED_WINDOWS_MIN = 16
/** Without a bound, the sum of many debts would leave the exact integers. */
const USED_MAX = 4e15

interface Group {
  readonly sub: number
  amount: number
  lastMs: number
}

/**
 * At most N in any T: amounts of one tenth of T leave together, when the last of them is T old. What
 * leaves while more than N counts pays nothing off: as much of it as is debt comes back, as if it were
 * used then, so that debt takes T for each N of it.
 */
export class SpendWindow implements SpendCounter {
  readonly clock = 'steady'
  readonly #windowMs: number
  readonly #subMs: number
  /** Oldest first, one for each tenth. */
  #groups: Group[] = []
  #total = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
    this.#subMs = Math.max(1, Math.ceil(windowMs / SUB_WINDOWS))
  }

  used(limit: number, nowMs: number): number {
    this.#forget(limit, nowMs)
    return this.#total
  }

  charge(amount: number, limit: number, nowMs: number): void {
    this.#forget(limit, nowMs)
    const newest = this.#groups.at(-1)
    // Time that went backwards counts in the newest group, so that it cannot leave early.
    this.#add(Math.min(amount, USED_MAX - this.#total), Math.max(nowMs, newest?.lastMs ?? 0))
  }

  waitFor(room: number, limit: number, nowMs: number): number {
    this.#forget(limit, nowMs)
    let over = this.#total - room
    if (over <= 0) return 0
    // Whole windows first, each of which pays N; then the groups of the last one.
    const debt = Math.max(0, this.#total - limit)
    const windows = limit === 0 ? 0 : Math.ceil(debt / limit)
    over -= windows * limit
    let leftMs = nowMs
    for (const group of this.#groups) {
      leftMs = group.lastMs + this.#windowMs
      over -= group.amount
      if (over <= 0) break
    }
    return Math.max(1, Math.ceil(leftMs - nowMs)) + Math.max(0, windows) * this.#windowMs
  }

  #add(amount: number, atMs: number): void {
    if (amount <= 0) return
    const sub = Math.floor(atMs / this.#subMs)
    let index = this.#groups.length
    while (index > 0 && this.#groups[index - 1]!.sub >= sub) index--
    const group = this.#groups[index]
    this.#total += amount
    if (group?.sub === sub) {
      group.amount += amount
      group.lastMs = Math.max(group.lastMs, atMs)
    } else this.#groups.splice(index, 0, { sub, amount, lastMs: atMs })
  }

  /** After a long time without a call, windows of nothing but debt are paid off at once. */
  #skip(limit: number, nowMs: number): void {
    const newest = this.#groups.at(-1)
    if (newest === undefined || this.#total <= limit * SKIPPED_WINDOWS_MIN) return
    const passed = Math.floor((nowMs - newest.lastMs) / this.#windowMs)
    const windows = Math.min(passed, Math.floor(this.#total / limit) - 1)
    if (windows < SKIPPED_WINDOWS_MIN) return
    const left = this.#total - windows * limit
    this.#groups = []
    this.#total = 0
    this.#add(left, newest.lastMs + windows * this.#windowMs)
  }

  #forget(limit: number, nowMs: number): void {
    this.#skip(limit, nowMs)
    while (this.#groups.length > 0 && this.#groups[0]!.lastMs + this.#windowMs <= nowMs) {
      const { amount, lastMs } = this.#groups.shift()!
      const debt = Math.min(amount, Math.max(0, this.#total - limit))
      this.#total -= amount
      this.#add(debt, lastMs + this.#windowMs)
    }
  }
}

/** At most N in a calendar period; each period that begins pays N of what was used. */
export class SpendPeriod implements SpendCounter {
  readonly clock = 'wall'
  readonly #calendar: Calendar
  #period: Period = { startMs: 0, endMs: 0 }
  #used = 0
  /** As it was in the period before, while the clock may still return to it. */
  #former = 0

  constructor(calendar: Calendar) {
    this.#calendar = calendar
  }

  used(limit: number, wallMs: number): number {
    this.#enter(limit, wallMs)
    return this.#used
  }

  charge(amount: number, limit: number, wallMs: number): void {
    this.#enter(limit, wallMs)
    this.#used = Math.min(USED_MAX, this.#used + amount)
  }

  waitFor(room: number, limit: number, wallMs: number): number {
    this.#enter(limit, wallMs)
    const over = this.#used - room
    if (over <= 0) return 0
    const untilEndMs = Math.max(1, Math.ceil(this.#period.endMs - wallMs))
    const more = limit === 0 ? 0 : Math.ceil(over / limit) - 1
    return untilEndMs + Math.max(0, more) * (this.#period.endMs - this.#period.startMs)
  }

  #enter(limit: number, wallMs: number): void {
    if (wallMs < this.#period.startMs) {
      this.#period = this.#calendar.period(wallMs)
      this.#used = Math.max(this.#used, this.#former)
      return
    }
    while (wallMs >= this.#period.endMs) {
      this.#former = this.#used
      this.#used = Math.max(0, this.#used - limit)
      const next = this.#used === 0 ? wallMs : this.#period.endMs
      this.#period = this.#calendar.period(next)
    }
  }
}

/** A limit's figure on tokens or cost. */
export interface SpendFigure {
  readonly what: 'tokens' | 'cost'
  readonly rate: Rate
  /** Tokens reserved for an answer at most. */
  readonly reserveOutput: number
  /** Same shape, same counter: a new N over the same T goes on counting. */
  readonly shape: string
  readonly makeCounter: () => SpendCounter
}

/** What one subject has used of a figure and what its calls under way hold. */
export interface Spend {
  readonly what: 'tokens' | 'cost'
  shape: string
  counter: SpendCounter
  reserved: number
}

/** An empty account for each figure. */
export function makeSpends(figures: readonly SpendFigure[]): readonly Spend[] {
  if (figures.length === 0) return NO_SPENDS
  return figures.map(({ what, shape, makeCounter }) => {
    return { what, shape, counter: makeCounter(), reserved: 0 }
  })
}

/** What most buckets have. */
export const NO_SPENDS: readonly Spend[] = []

/** The accounts of a bucket under new figures: those about the same thing are kept. */
export function adoptSpends(
  figures: readonly SpendFigure[],
  former: readonly Spend[],
): readonly Spend[] {
  return makeSpends(figures).map((fresh) => {
    const spend = former.find(({ what }) => what === fresh.what)
    if (spend === undefined) return fresh
    if (spend.shape !== fresh.shape) {
      spend.counter = fresh.counter
      spend.shape = fresh.shape
    }
    return spend
  })
}
