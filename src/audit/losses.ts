import type { FoldedEntry } from './fold.ts'

/** What could not be recorded since the log was last told of it. */
export interface Lost {
  readonly entries: number
  /** Decisions among them: calls that were answered without a record. */
  readonly calls: number
  readonly since: string
  readonly until: string
}

/**
 * Counts what the log did not take while calls went on all the same (`audit.required: false`), so that
 * an entry can say how much is missing, and from when to when, once it takes entries again. Pure:
 * `nowMs` is the wall clock, milliseconds since 1970.
 */
export class Losses {
  #total = 0
  #entries = 0
  #calls = 0
  #sinceMs = 0
  #untilMs = 0

  /** Entries lost so far; what landed late after all is taken off again. */
  get total(): number {
    return this.#total
  }

  /** What the log was not told of yet; null when there is nothing. */
  get pending(): Lost | null {
    if (this.#entries === 0) return null
    const [since, until] = [this.#sinceMs, this.#untilMs].map((ms) => new Date(ms).toISOString())
    return { entries: this.#entries, calls: this.#calls, since: since!, until: until! }
  }

  /** The decision of a call. */
  decision(nowMs: number): void {
    this.entries(1, nowMs)
    this.#calls++
  }

  /** Entries of any kind. */
  entries(count: number, nowMs: number): void {
    if (count === 0) return
    if (this.#entries === 0) this.#sinceMs = this.#untilMs = nowMs
    // A clock that is set back moves the beginning, not the end.
    this.#sinceMs = Math.min(this.#sinceMs, nowMs)
    this.#untilMs = Math.max(this.#untilMs, nowMs)
    this.#total += count
    this.#entries += count
  }

  /** A decision that was taken for lost landed late, with `entries` of its call. */
  landed(entries: number): void {
    if (this.#calls === 0) return
    this.#calls--
    this.#entries = Math.max(0, this.#entries - entries)
    this.#total -= entries
  }

  /** The entry that says what is missing, once; null when nothing is. */
  take(nowMs: number): FoldedEntry | null {
    const lost = this.pending
    if (lost === null) return null
    this.#entries = this.#calls = 0
    const time = new Date(nowMs).toISOString()
    const body = JSON.stringify({ kind: 'admin', time, action: 'audit.lost', about: lost })
    return { kind: 'admin', occurredAtUs: nowMs * 1000, body }
  }
}
