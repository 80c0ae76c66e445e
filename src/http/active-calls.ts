import type { HttpExchange } from './exchange.ts'

/**
 * Every call under way in the process. An array and not a `Set`, which makes itself a new table
 * every few calls, and whose old table points to the new one and so keeps the calls in it.
 */
export class ActiveCalls implements Iterable<HttpExchange> {
  readonly #calls: HttpExchange[] = []

  get size(): number {
    return this.#calls.length
  }

  add(exchange: HttpExchange): void {
    exchange.slot = this.#calls.push(exchange) - 1
  }

  has(exchange: HttpExchange): boolean {
    return this.#calls[exchange.slot] === exchange
  }

  /** The last one takes its place. Safe to call twice. */
  remove(exchange: HttpExchange): void {
    if (!this.has(exchange)) return
    const last = this.#calls.pop()!
    if (last === exchange) return
    this.#calls[exchange.slot] = last
    last.slot = exchange.slot
  }

  /** Those of this moment, in no particular order: what is done to them may end them. */
  [Symbol.iterator](): Iterator<HttpExchange> {
    return this.#calls.slice()[Symbol.iterator]()
  }
}
