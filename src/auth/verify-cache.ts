import { hash, randomBytes } from 'node:crypto'

/** What was found out about one secret: it is the one behind `keyHash`, or it is not. */
export type Verdict = 'valid' | 'wrong'

/** As many callers as a fleet may have through one sidecar; about 200 bytes each. */
const VALID_MAX = 100_000
const WRONG_MAX = 10_000

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

  /**
   * The verdict on this secret against the hash now stored, or against that of the former secret while
   * it opens; null when it must be verified.
   */
  get(digest: string, keyHash: string, formerHash: string | null): Verdict | null {
    const known = this.#valid.get(digest)
    if (known !== undefined && (known === keyHash || known === formerHash)) return 'valid'
    return this.#wrong.get(digest) === together(keyHash, formerHash) ? 'wrong' : null
  }

  /** Keeps which of the stored hashes a secret is the one behind; null: of none of them. */
  set(digest: string, opens: string | null, [keyHash, formerHash]: StoredHashes): void {
    if (opens !== null) put(this.#valid, VALID_MAX, [digest, opens])
    else put(this.#wrong, WRONG_MAX, [digest, together(keyHash, formerHash)])
  }

  get size(): number {
    return this.#valid.size + this.#wrong.size
  }
}

/** Of the secret of a key, and of the one before it while that opens. */
export type StoredHashes = readonly [keyHash: string, formerHash: string | null]

/** What a secret was wrong for: once another hash is stored, it has to be looked at again. */
function together(keyHash: string, formerHash: string | null): string {
  return formerHash === null ? keyHash : keyHash + formerHash
}

function put(table: Map<string, string>, max: number, [digest, value]: [string, string]): void {
  if (table.size >= max) table.delete(table.keys().next().value!)
  table.set(digest, value)
}
