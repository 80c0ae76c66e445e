/** Wrong secrets that are looked at without a wait: a person who mistypes, a deployment that rolls. */
const FREE = 10
/** After those one more for each of these. */
const REFILL_MS = 1000
/** So long a pair that was wrong is one that may be guessing. */
const REMEMBERED_MS = 10 * 60_000
/** Pairs of address and key; about 150 bytes each. The one that failed longest ago goes first. */
const PAIRS_MAX = 10_000

interface Level {
  /** What of its failures still counts, each `REFILL_MS`. */
  readonly owedMs: number
  /** Monotonic. */
  readonly atMs: number
}

/**
 * Slows down who tries secrets: wrong ones of one key from one address, ten at once and one a second
 * after that. Another address is not slowed, nor is a secret that was right before, so that nobody can
 * lock out the owner of a key. Pure: time is an argument, monotonic.
 */
export class Failures {
  readonly #levels = new Map<string, Level>()

  /** How long to wait before the next unknown secret is looked at, milliseconds; 0: not at all. */
  waitMs(pair: string, nowMs: number): number {
    const level = this.#levels.get(pair)
    if (level === undefined) return 0
    return Math.max(0, Math.ceil(owed(level, nowMs) - (FREE - 1) * REFILL_MS))
  }

  /** Whether a secret of this pair was wrong in the last ten minutes. */
  hasFailed(pair: string, nowMs: number): boolean {
    const level = this.#levels.get(pair)
    return level !== undefined && nowMs - level.atMs < REMEMBERED_MS
  }

  /** A secret was wrong. */
  note(pair: string, nowMs: number): void {
    const level = this.#levels.get(pair)
    const owedMs = (level === undefined ? 0 : owed(level, nowMs)) + REFILL_MS
    this.#levels.delete(pair)
    if (this.#levels.size >= PAIRS_MAX) this.#levels.delete(this.#levels.keys().next().value!)
    this.#levels.set(pair, { owedMs: Math.min(owedMs, (FREE + 1) * REFILL_MS), atMs: nowMs })
  }

  get size(): number {
    return this.#levels.size
  }
}

function owed({ owedMs, atMs }: Level, nowMs: number): number {
  return Math.max(0, owedMs - (nowMs - atMs))
}
