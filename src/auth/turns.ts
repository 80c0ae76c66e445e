import { GovernorError } from '../errors.ts'

/** So many at once, and so many that wait for their turn; more are refused. */
export class Turns {
  readonly #atOnceMax: number
  readonly #waitingMax: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(given: { readonly atOnceMax: number; readonly waitingMax: number }) {
    this.#atOnceMax = given.atOnceMax
    this.#waitingMax = given.waitingMax
  }

  /** Resolves with what ends the turn. Rejects with AUTH_BUSY (429) when too many wait. */
  async enter(): Promise<() => void> {
    if (this.#running < this.#atOnceMax) this.#running += 1
    else if (this.#waiting.length >= this.#waitingMax) {
      throw new GovernorError('AUTH_BUSY', { headers: { 'retry-after': '1' } })
    } else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return () => {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
