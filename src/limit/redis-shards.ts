/** Failures in a row after which keys of a tag are left alone, and for how long, ms. */
const FAILURES_MAX = 3
const REST_MS = 500
const REST_MS_MAX = 8_000
/** Nobody asks for it any more. */
const FORGOTTEN_MS = 60_000
const TAGS_MAX = 10_000

interface Shard {
  failures: number
  restMs: number
  /** Until then nobody asks; then one does. */
  untilMs: number
}

/**
 * A circuit breaker for each hash tag, because of a cluster one node can be away while the others
 * answer. It knows tags that failed last, 10,000 at most; all others are well.
 */
export class Shards {
  readonly #failing = new Map<string, Shard>()
  #away = 0

  /** Whether keys of any tag are left alone. */
  get areAway(): boolean {
    return this.#away > 0
  }

  /** Whether keys of `tag` may be asked for at `nowMs`. After a rest one call may, and the next rest begins. */
  allow(tag: string, nowMs: number): boolean {
    const shard = this.#failing.get(tag)
    if (shard === undefined || shard.failures < FAILURES_MAX) return true
    if (nowMs < shard.untilMs) return false
    // Should this one fail too, the rest was longer; should it not, all is forgotten.
    shard.restMs = Math.min(REST_MS_MAX, shard.restMs * 2)
    shard.untilMs = nowMs + shard.restMs
    return true
  }

  failed(tag: string, nowMs: number): void {
    let shard = this.#failing.get(tag)
    if (shard === undefined) {
      if (this.#failing.size >= TAGS_MAX) return
      this.#failing.set(tag, (shard = { failures: 0, restMs: REST_MS, untilMs: 0 }))
    }
    // Those under way when the rest began say nothing new.
    if (++shard.failures > FAILURES_MAX) return
    if (shard.failures === FAILURES_MAX) this.#away++
    shard.untilMs = nowMs + shard.restMs
  }

  answered(tag: string): void {
    if (this.#failing.size > 0) this.#forget(tag)
  }

  /** Forgets tags that nobody asks for any more. */
  sweep(nowMs: number): void {
    for (const [tag, { untilMs }] of this.#failing) {
      if (untilMs + FORGOTTEN_MS < nowMs) this.#forget(tag)
    }
  }

  /** All is to be found out anew. */
  clear(): void {
    this.#failing.clear()
    this.#away = 0
  }

  #forget(tag: string): void {
    const shard = this.#failing.get(tag)
    if (shard === undefined) return
    this.#failing.delete(tag)
    if (shard.failures >= FAILURES_MAX) this.#away--
  }
}
