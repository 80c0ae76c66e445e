import type { ActiveCalls } from './http/active-calls.ts'
import type { HttpExchange } from './http/exchange.ts'
import type { Closable } from './world.ts'

const LOOK_MS = 250

/** What only former snapshots use, until the calls that began with them have ended. */
export class Retiring {
  readonly #active: ActiveCalls
  readonly #pools = new Set<Closable>()

  constructor(active: ActiveCalls) {
    this.#active = active
  }

  /** What has not been closed yet. */
  get pools(): readonly Closable[] {
    return [...this.#pools]
  }

  /**
   * Closes pools once the calls of this moment have ended: a call keeps the connections of the snapshot it
   * began with, be it a stream of an hour. Resolves after that.
   */
  async retire(pools: readonly Closable[]): Promise<void> {
    if (pools.length === 0) return
    for (const pool of pools) this.#pools.add(pool)
    // One long stream must not keep what all the others held: those that ended are let go at each look.
    let calls: HttpExchange[] = [...this.#active]
    while ((calls = calls.filter((call) => this.#active.has(call))).length > 0) await pause()
    for (const pool of pools) {
      await pool.destroy()
      this.#pools.delete(pool)
    }
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_MS))
}
