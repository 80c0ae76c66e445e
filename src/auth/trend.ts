/** How much a key does in a minute, and how much it did at most: a few numbers, no history. */

const MINUTE_MS = 60_000
/** A minute is far above what was usual when it has more than this many times the highest. */
const FACTOR = 5
/** More than that takes long: 1 % a minute, so that a tenfold rise stays unusual for over an hour. */
const GROWTH = 1.01
/** Half of the highest minute is forgotten in a week, so that a week-end changes little. */
const HALF_LIFE_MINUTES = 7 * 24 * 60

/**
 * One figure of one key by the minute. The highest minute so far is what is usual; once a key is known
 * it grows slowly, so that a flood does not become usual by going on. Pure: `nowMs` is monotonic
 * milliseconds.
 */
export class Trend {
  /** Below so much in a minute nothing is unusual. */
  readonly #floor: number
  #startMs: number
  #amount = 0
  #former = 0
  #highest = 0

  constructor(floor: number, nowMs: number) {
    this.#floor = floor
    this.#startMs = nowMs
  }

  /** Counts what was done now. While a key is `learning`, whatever it does becomes usual. */
  add(amount: number, nowMs: number, learning: boolean): void {
    if (nowMs - this.#startMs >= MINUTE_MS) this.#close(nowMs)
    this.#amount += amount
    if (learning && this.#amount > this.#highest) this.#highest = this.#amount
  }

  /** Whether this minute or the one before it is far above what was usual. */
  isHigh(nowMs: number): boolean {
    if (nowMs - this.#startMs >= MINUTE_MS) this.#close(nowMs)
    const most = Math.max(this.#amount, this.#former)
    return most >= this.#floor && most > this.#highest * FACTOR
  }

  #close(nowMs: number): void {
    const minutes = Math.floor((nowMs - this.#startMs) / MINUTE_MS)
    const usual = Math.max(this.#highest, this.#floor / FACTOR) * GROWTH
    const isHighest = this.#amount >= this.#highest
    if (isHighest) this.#highest = Math.min(this.#amount, usual)
    const idle = isHighest ? minutes - 1 : minutes
    if (idle > 0) this.#highest *= 0.5 ** (idle / HALF_LIFE_MINUTES)
    this.#former = minutes === 1 ? this.#amount : 0
    this.#amount = 0
    this.#startMs += minutes * MINUTE_MS
  }
}
