import { hash, randomBytes } from 'node:crypto'

/** What was found out about one secret: it is the one behind `keyHash`, or it is not. */
export type Verdict = 'valid' | 'wrong'

const ENTRIES_MAX = 10_000

/**
 * Remembers which secrets bcrypt accepted or refused, so that a key costs 63 ms once and 0.6 µs
 * after that. Keyed by SHA-256 of a per-process key, the key id and the whole secret: never a
 * prefix, and worthless outside this process. Bounded; the oldest entry goes first, and refused
 * secrets live in a table of their own so that guessing cannot push out a valid one.
 */
export class VerifyCache {
  readonly #processKey = randomBytes(32).toString('base64')
  readonly #valid = new Map<string, string>()
  readonly #wrong = new Map<string, string>()

  digest(keyId: string, secret: string): string {
    return hash('sha256', `${this.#processKey}${keyId}.${secret}`, 'base64')
  }

  /** The verdict on this secret against the hash now stored, or null when it must be verified. */
  get(digest: string, keyHash: string): Verdict | null {
    if (this.#valid.get(digest) === keyHash) return 'valid'
    if (this.#wrong.get(digest) === keyHash) return 'wrong'
    return null
  }

  set(digest: string, keyHash: string, verdict: Verdict): void {
    const table = verdict === 'valid' ? this.#valid : this.#wrong
    if (table.size >= ENTRIES_MAX) table.delete(table.keys().next().value!)
    table.set(digest, keyHash)
  }

  get size(): number {
    return this.#valid.size + this.#wrong.size
  }
}
