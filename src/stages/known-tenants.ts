import type { KeyStore } from '../auth/key-store.ts'
import type { KeyRecord } from '../auth/key.ts'
import { monotonicMs } from '../clock.ts'

/** Keys on a page that is looked through. */
const PAGE = 1_000
/** Pages looked through for a second tenant; stores hold thousands of keys, not millions. */
const PAGES_MAX = 100
/** How long an answer is good: a key of a new tenant counts after it. */
const KNOWN_MS = 1_000

/**
 * The tenants of the keys in a store that are good, or two of them: asked for by calls that matter only
 * where there are several.
 */
export class KnownTenants {
  readonly #open: () => Promise<KeyStore>
  #known: Promise<ReadonlySet<string>> = Promise.resolve(new Set<string>())
  #knownAtMs = Number.NEGATIVE_INFINITY

  /** `open` is called for each look: most run without one. */
  constructor(open: () => Promise<KeyStore>) {
    this.#open = open
  }

  /** Rejects where the store fails. `nowMs` is wall time. */
  tenants(nowMs: number): Promise<ReadonlySet<string>> {
    const atMs = monotonicMs()
    if (atMs - this.#knownAtMs >= KNOWN_MS) {
      this.#knownAtMs = atMs
      this.#known = this.#look(nowMs)
      this.#known.catch(() => {
        this.#knownAtMs = Number.NEGATIVE_INFINITY
      })
    }
    return this.#known
  }

  async #look(nowMs: number): Promise<ReadonlySet<string>> {
    const store = await this.#open()
    try {
      return await tenantsOf(store, nowMs)
    } finally {
      await store.close()
    }
  }
}

async function tenantsOf(store: KeyStore, nowMs: number): Promise<ReadonlySet<string>> {
  const tenants = new Set<string>()
  let after: KeyRecord | null = null
  for (let page = 0; page < PAGES_MAX && tenants.size < 2; page++) {
    const keys: readonly KeyRecord[] = await store.list({ tenant: null, after, max: PAGE })
    for (const { tenant, revokedAtMs, expiresAtMs } of keys) {
      if (revokedAtMs === null && (expiresAtMs ?? Infinity) > nowMs) tenants.add(tenant)
    }
    after = keys.at(-1) ?? null
    if (keys.length < PAGE) break
  }
  return tenants
}
