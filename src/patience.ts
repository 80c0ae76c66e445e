import { monotonicMs } from './clock.ts'

/** Timers of other makers may be due this much earlier than ours says. */
const EARLY = 0.9
/** How much longer than an answer took the next one is waited for. */
const SLACK = 4

/**
 * How long to wait for a server: briefly at first, so that one that is gone is soon given up; twice as long after
 * each wait in vain, so that one that is only slow is used slowly instead of not at all.
 */
export class Patience {
  readonly #firstMs: number
  readonly #mostMs: number
  #ms: number

  constructor({ firstMs, mostMs }: { readonly firstMs: number; readonly mostMs: number }) {
    this.#firstMs = firstMs
    this.#mostMs = mostMs
    this.#ms = firstMs
  }

  /** The same for every answer, whatever was before. */
  static always(ms: number): Patience {
    return new Patience({ firstMs: ms, mostMs: ms })
  }

  /** The longest that the next answer may take, milliseconds. */
  get ms(): number {
    return this.#ms
  }

  /** Settles as `act`, which ends by itself within the time it is given, and learns from how long that took. */
  async learn<Answer>(act: (withinMs: number) => Promise<Answer>): Promise<Answer> {
    const withinMs = this.#ms
    const beganMs = monotonicMs()
    try {
      const answer = await act(withinMs)
      this.took(monotonicMs() - beganMs)
      return answer
    } catch (error) {
      if (monotonicMs() - beganMs > withinMs * EARLY) this.longer()
      throw error
    }
  }

  /** An answer did not come in `ms`. */
  longer(): void {
    this.#ms = Math.min(this.#ms * 2, this.#mostMs)
  }

  /** An answer took so long: the next may take longer. */
  took(timeMs: number): void {
    this.#ms = Math.min(Math.max(timeMs * SLACK, this.#ms), this.#mostMs)
  }

  /** All went well for a while. Halves, since quick answers to small questions say little of large ones. */
  shorter(): void {
    this.#ms = Math.max(this.#ms / 2, this.#firstMs)
  }
}
