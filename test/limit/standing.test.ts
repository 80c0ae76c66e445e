import t, { type Test } from 'tap'

import { MemoryStore } from '../../src/limit/memory-store.ts'
import { RedisStore } from '../../src/limit/redis-store.ts'
import type { LimitStore } from '../../src/limit/store.ts'
import { RedisServer } from '../support/redis.ts'
import { callBy, limitOf, matches, rate, selecting } from './limits.ts'

const now = () => ({ wallMs: Date.now(), monotonicMs: performance.now() })
const HOUR_MS = 3_600_000

const STORES: Record<string, (t: Test) => Promise<LimitStore>> = {
  memory: async () => new MemoryStore([], matches),
  redis: async (t) => {
    const server = await RedisServer.start(t)
    const store = new RedisStore({ place: server.place, sidecars: 1, waitMs: 10_000 })
    t.teardown(() => store.close())
    await store.open()
    return store
  },
}

const LIMITS = [
  limitOf({ id: 'rpm', requests: rate(10, HOUR_MS) }),
  limitOf({ id: 'burst', per: 'tenant', requests: rate(1, HOUR_MS), burst: 6 }),
  limitOf({ id: 'day', per: 'global', requests: rate(100, 86_400_000, 'day') }),
  limitOf({ id: 'tokens', per: 'tenant', tokens: rate(1000, HOUR_MS), concurrent: 4 }),
  limitOf({ id: 'address', per: 'ip', requests: rate(1, HOUR_MS) }),
  limitOf({
    id: 'gold',
    requests: rate(5, HOUR_MS),
    overrides: [
      {
        ...limitOf({ requests: rate(7, HOUR_MS) }),
        for: selecting({ labels: { tier: 'gold' }, operations: ['embeddings'] }),
      },
      { ...limitOf({ requests: rate(9, HOUR_MS) }), for: selecting({ labels: { tier: 'gold' } }) },
    ],
  }),
]

async function shown(store: LimitStore, call = callBy()) {
  const found = await store.standing(call.principal, now())
  return found.map(({ override, someCalls, state: { id, what, limit, remaining } }) => {
    return [id, what, override, someCalls, limit, remaining]
  })
}

/** Answers of several nodes come in any order. */
function sorted(rows: unknown[][]): string[] {
  return rows.map((row) => row.join()).toSorted()
}

for (const [name, make] of Object.entries(STORES)) {
  t.test(`${name}: standing() tells what is left, and charges nothing`, async (t) => {
    const store = await make(t)
    store.reconfigure(LIMITS, matches)
    const free = [
      ['rpm', 'requests', null, false, 10, 10],
      ['burst', 'requests', null, false, 6, 6],
      ['day', 'requests', null, false, 100, 100],
      ['tokens', 'concurrent', null, false, 4, 4],
      ['tokens', 'tokens', null, false, 1000, 1000],
      ['gold', 'requests', null, false, 5, 5],
    ]
    t.strictSame(sorted(await shown(store)), sorted(free))
    t.strictSame(sorted(await shown(store)), sorted(free))
    const forecast = { inputTokens: 100, outputTokensMax: 50, price: null, allowsUnpriced: true }
    const outcome = await store.reserve({ ...callBy(), forecast }, now())
    t.ok('states' in outcome)
    const used = free.map(([id, what, ...rest]) => {
      const left = rest.pop() as number
      return [id, what, ...rest, what === 'tokens' ? left - 150 : left - 1]
    })
    t.strictSame(sorted(await shown(store)), sorted(used))
    t.strictSame(sorted(await shown(store)), sorted(used))
    if ('settle' in outcome) outcome.settle(null, now())
  })

  t.test(
    `${name}: standing() names the overrides that calls of a caller can be under`,
    async (t) => {
      const store = await make(t)
      store.reconfigure(LIMITS.slice(-1), matches)
      t.strictSame(await shown(store, callBy({ labels: { tier: 'gold' } })), [
        ['gold', 'requests', 0, true, 7, 7],
        ['gold', 'requests', 1, false, 9, 9],
      ])
      t.strictSame(await shown(store, callBy({ keyId: '' })), [], 'nobody is counted there')
    },
  )
}
