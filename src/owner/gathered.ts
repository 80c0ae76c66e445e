import { monotonicMs } from '../clock.ts'
import { within } from './store.ts'

/** What is asked together. */
export interface Gathering<Part, Answer> {
  /** Asks all parts at once, at least one; an answer for each, in their order. */
  ask(parts: readonly Part[]): Promise<readonly Answer[]>
  /** Whether a part may go with those before it. */
  fits(parts: readonly Part[], part: Part): boolean
  /** Whether it was what is in a part that was not taken: the others are then asked without it. */
  isRefusal(error: unknown): boolean
}

/** One caller's part of a question. */
interface Waiter<Part, Answer> {
  readonly part: Part
  readonly untilMs: number
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/**
 * One question at a time: those who come meanwhile are asked together in the next. However slow a store is and
 * however many ask, each waits for two of its answers, and nothing is asked for callers who gave up.
 */
export class Gathered<Part, Answer> {
  readonly #gathering: Gathering<Part, Answer>
  #waiting: Waiter<Part, Answer>[] = []
  #isAsking = false

  constructor(gathering: Gathering<Part, Answer>) {
    this.#gathering = gathering
  }

  /** Rejects with what `ask` rejects with, or after `timeoutMs`. */
  put(part: Part, timeoutMs: number): Promise<Answer> {
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#waiting.push({ part, untilMs: monotonicMs() + timeoutMs, resolve, reject })
    })
    if (!this.#isAsking) void this.#run()
    return within(timeoutMs, answer)
  }

  async #run(): Promise<void> {
    this.#isAsking = true
    for (let group = this.#next(); group.length > 0; group = this.#next()) await this.#ask(group)
    this.#isAsking = false
  }

  #next(): readonly Waiter<Part, Answer>[] {
    const nowMs = monotonicMs()
    const parts: Part[] = []
    const [group, rest]: [Waiter<Part, Answer>[], Waiter<Part, Answer>[]] = [[], []]
    for (const waiter of this.#waiting) {
      if (waiter.untilMs <= nowMs) continue
      const fits = parts.length === 0 || this.#gathering.fits(parts, waiter.part)
      if (fits) parts.push(waiter.part)
      ;(fits ? group : rest).push(waiter)
    }
    this.#waiting = rest
    return group
  }

  async #ask(group: readonly Waiter<Part, Answer>[]): Promise<void> {
    try {
      const answers = await this.#gathering.ask(group.map(({ part }) => part))
      for (const [index, waiter] of group.entries()) waiter.resolve(answers[index]!)
    } catch (error) {
      if (group.length > 1 && this.#gathering.isRefusal(error)) {
        for (const waiter of group) await this.#ask([waiter])
      } else {
        for (const waiter of group) waiter.reject(error)
      }
    }
  }
}
