import t from 'tap'

import { createKey, openKeyStore } from '../../src/key-admin.ts'
import { chat } from '../support/client.ts'
import { type InProcess, startGovernor } from '../support/start-governor.ts'

/**
 * Goal: a thousand keys in use are remembered: a call rarely waits for the key store or for bcrypt.
 * Method: every key makes a call, then twenty more in another order, and the metric is asked.
 */

const KEYS = 1_000
const CALLS_EACH = 20
const AT_ONCE = 32

/** Secrets hashed at the least cost there is: that they are remembered is the matter, not how long it took. */
async function manyKeys(site: InProcess): Promise<string[]> {
  const store = await openKeyStore(site.load())
  const admin = { store, bcryptCost: 4, record: () => {} }
  const of = { tenant: 'acme', user: '', roles: [], labels: {}, expiresAtMs: null }
  const keys: string[] = []
  for (let index = 0; index < KEYS; index++) {
    keys.push((await createKey(admin, { ...of, name: `many-${index}` })).key)
  }
  await store.close()
  return keys
}

t.test('of calls with a thousand keys 95 % and more find what they need in a cache', async (t) => {
  const site = await startGovernor(t, { maximums: '{ streams: 4000 }' })
  const keys = await manyKeys(site)
  const calls = Array.from(
    { length: KEYS * (1 + CALLS_EACH) },
    (_, call) => keys[(call * 7) % KEYS]!,
  )
  let at = 0
  const statuses = new Map<number, number>()
  const client = async () => {
    while (at < calls.length) {
      const { status } = await site.send({ key: calls[at++]!, body: chat('hi') })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  t.strictSame([...statuses], [[200, calls.length]])
  const { text } = await site.admin('/metrics')
  const caches = new Set(
    [...text.matchAll(/^governor_cache_requests_total\{cache="(\w+)"/gm)].map((m) => m[1]!),
  )
  t.ok(caches.size > 0)
  for (const cache of caches) {
    const of = (result: string) =>
      site.metric('governor_cache_requests_total', `cache="${cache}"`, `result="${result}"`)
    const [hits, misses] = [await of('hit'), await of('miss')]
    t.ok(hits / (hits + misses) >= 0.95, `${cache}: ${hits} of ${hits + misses}`)
  }
})
