import type { IssuerKeysConfig } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import { FetchFault, fetchKeySet } from './issuer-fetch.ts'
import { KEYS_MAX, type KeySet, readKeySet } from './key-set.ts'

/** What the keys of an issuer are given by the process. */
export interface IssuerKeysParts {
  /** Told of every fetch: null when it went well, else what was wrong. */
  readonly onFetched: (fault: string | null) => void
  /** Monotonic, milliseconds. */
  readonly now: () => number
}

/**
 * The keys of one issuer: fetched ahead of time, kept through an outage of the issuer for a bounded
 * time, and fetched again for a key not seen before, at most once in a set time. Who is refused for want
 * of keys gets AUTH_ISSUER_UNAVAILABLE (503): that is nothing the caller can help.
 */
export class IssuerKeys {
  readonly config: IssuerKeysConfig
  readonly #parts: IssuerKeysParts
  readonly #closed = new AbortController()
  #set: KeySet | null = null
  #fetchedMs = -Infinity
  #triedMs = -Infinity
  #fault: string | null = null
  #running: Promise<void> | null = null

  constructor(config: IssuerKeysConfig, parts: IssuerKeysParts) {
    this.config = config
    this.#parts = parts
  }

  /** The keys at hand; null before the first fetch and when they are too old. */
  current(): KeySet | null {
    const age = this.#parts.now() - this.#fetchedMs
    return age <= this.config.maxStaleMs ? this.#set : null
  }

  /** The keys at hand, else those that a fetch brings; one fetch for all who wait. */
  async wanted(): Promise<KeySet> {
    if (this.current() === null) {
      if (this.#mayTry()) await this.#fetch()
      else if (this.#running !== null) await this.#running
    }
    const set = this.current()
    if (set === null) throw this.#unavailable()
    return set
  }

  /** Keys that came after `former`, which lacked one; null when there are none, as far as can be told. */
  async newer(former: KeySet): Promise<KeySet | null> {
    if (this.#set === former) {
      if (this.#mayTry()) await this.#fetch()
      else if (this.#running !== null) await this.#running
    }
    if (this.#set !== former) return this.#set
    if (this.#fault !== null) throw this.#unavailable()
    return null
  }

  /** Fetches when it is time to; called once a second. Never throws. */
  tick(): void {
    const isDue = this.#fault !== null || this.#age() >= this.config.refreshMs
    if (isDue && this.#mayTry()) void this.#fetch()
  }

  /** Gives up a fetch under way; there are no others afterwards. */
  async destroy(): Promise<void> {
    this.#closed.abort()
    await this.#running
  }

  #age(): number {
    return this.#parts.now() - this.#fetchedMs
  }

  #mayTry(): boolean {
    if (this.#running !== null || this.#closed.signal.aborted) return false
    return this.#parts.now() - this.#triedMs >= this.config.refetchMs
  }

  #fetch(): Promise<void> {
    this.#triedMs = this.#parts.now()
    this.#running = this.#fetchOnce().finally(() => (this.#running = null))
    return this.#running
  }

  async #fetchOnce(): Promise<void> {
    const late = AbortSignal.timeout(this.config.timeoutMs)
    const begunMs = this.#parts.now()
    try {
      const signal = AbortSignal.any([late, this.#closed.signal])
      const set = readKeySet(await fetchKeySet(this.config, signal))
      if (set === null) {
        throw new FetchFault(`the answer holds no usable public key, or more than ${KEYS_MAX} keys`)
      }
      // Tokens verified with the same keys stay verified.
      if (set.digest !== this.#set?.digest) this.#set = set
      this.#fetchedMs = begunMs
      this.#fault = null
    } catch (error) {
      this.#fault = error instanceof FetchFault ? error.message : String(error)
    }
    if (!this.#closed.signal.aborted) this.#parts.onFetched(this.#fault)
  }

  #unavailable(): GovernorError {
    return new GovernorError('AUTH_ISSUER_UNAVAILABLE', { headers: { 'retry-after': '1' } })
  }
}
