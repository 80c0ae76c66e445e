import type { BreakerConfig } from '../config/snapshot.ts'

/** How an upstream is asked: like any other time, or to see whether it works again. */
export type Ticket = 'call' | 'probe'

/** An upstream that fails again soon after it recovered is left alone for up to this many times as long. */
const DAMPING_MAX = 16

/**
 * A circuit breaker: closed, calls pass; after `failures` in a row open, none does; then half-open, one
 * probe at a time passes and its outcome closes or opens it. Every opening that comes within twice the
 * last one's length of a recovery doubles the length, so that an upstream that flaps is asked ever
 * less often. Time is an argument, monotonic milliseconds.
 */
export class Breaker {
  readonly #failuresMax: number
  readonly #openMs: number
  #failures = 0
  #isOpen = false
  #isProbing = false
  #openUntilMs = 0
  #closedMs = -Infinity
  #damping = 1

  constructor({ failures, openMs }: BreakerConfig) {
    this.#failuresMax = failures
    this.#openMs = openMs
  }

  /** Whether a call would pass now. */
  passable(nowMs: number): boolean {
    return !this.#isOpen || (!this.#isProbing && nowMs >= this.#openUntilMs)
  }

  /** Lets a call pass, or not (null). What becomes of it must be told, once. */
  pass(nowMs: number): Ticket | null {
    if (!this.#isOpen) return 'call'
    if (!this.passable(nowMs)) return null
    this.#isProbing = true
    return 'probe'
  }

  /** Until a probe may pass, at least 1. */
  waitMs(nowMs: number): number {
    return Math.max(1, this.#openUntilMs - nowMs)
  }

  succeeded(ticket: Ticket, nowMs: number): void {
    // What began before it opened says nothing about now.
    if (this.#isOpen && ticket === 'call') return
    if (this.#isOpen) this.#closedMs = nowMs
    this.#isOpen = this.#isProbing = false
    this.#failures = 0
  }

  failed(ticket: Ticket, nowMs: number): void {
    if (this.#isOpen && ticket === 'call') return
    this.#failures += 1
    if (ticket === 'probe' && this.#isProbing) this.#open(nowMs, true)
    else if (this.#failures >= this.#failuresMax) {
      this.#open(nowMs, nowMs - this.#closedMs < 2 * this.#openMs * this.#damping)
    }
  }

  /** It ended without an outcome: the client left. The next one may probe. */
  abandoned(ticket: Ticket): void {
    if (ticket === 'probe') this.#isProbing = false
  }

  /** 0 closed, 0.5 half-open, 1 open. */
  state(nowMs: number): 0 | 0.5 | 1 {
    if (!this.#isOpen) return 0
    return this.#isProbing || nowMs >= this.#openUntilMs ? 0.5 : 1
  }

  #open(nowMs: number, again: boolean): void {
    this.#damping = again ? Math.min(DAMPING_MAX, this.#damping * 2) : 1
    this.#openUntilMs = nowMs + this.#openMs * this.#damping
    this.#isOpen = true
    this.#isProbing = false
    this.#failures = 0
  }
}
