import { GovernorError } from '../errors.ts'

interface Waiter {
  readonly go: () => void
  readonly refuse: (error: GovernorError) => void
}

/**
 * So many at once, and so many that wait, each source in its turn: however many one source sends, another
 * waits for at most one of them. When all places are taken, the source that waits most gives one up.
 */
export class FairTurns {
  readonly #atOnceMax: number
  readonly #waitingMax: number
  /** In the order of the turns; none is empty. */
  readonly #waiting = new Map<string, Waiter[]>()
  #waitingCount = 0
  #running = 0

  constructor(given: { readonly atOnceMax: number; readonly waitingMax: number }) {
    this.#atOnceMax = given.atOnceMax
    this.#waitingMax = given.waitingMax
  }

  /** Resolves when it is this one's turn. Rejects with AUTH_BUSY (429) when too many wait. */
  async enter(source: string): Promise<void> {
    if (this.#running < this.#atOnceMax) {
      this.#running += 1
      return
    }
    if (this.#waitingCount >= this.#waitingMax) this.#makeRoom(source)
    await new Promise<void>((go, refuse) => {
      const own = this.#waiting.get(source)
      if (own === undefined) this.#waiting.set(source, [{ go, refuse }])
      else own.push({ go, refuse })
      this.#waitingCount += 1
    })
  }

  /** Ends a turn that `enter` began. */
  leave(): void {
    const first = this.#waiting.entries().next()
    if (first.done === true) {
      this.#running -= 1
      return
    }
    const [source, own] = first.value
    const waiter = own.shift()!
    this.#waitingCount -= 1
    this.#waiting.delete(source)
    if (own.length > 0) this.#waiting.set(source, own)
    waiter.go()
  }

  #makeRoom(source: string): void {
    let largest = source
    let most = this.#waiting.get(source)?.length ?? 0
    for (const [each, { length }] of this.#waiting) {
      if (length > most + 1) [largest, most] = [each, length]
    }
    if (largest === source) throw busy()
    const own = this.#waiting.get(largest)!
    own.pop()!.refuse(busy())
    this.#waitingCount -= 1
  }
}

function busy(): GovernorError {
  return new GovernorError('AUTH_BUSY', { headers: { 'retry-after': '1' } })
}
