import t, { type Test } from 'tap'

import type { LimitConfig, RedisPlace } from '../../src/config/snapshot.ts'
import type { LimitCall } from '../../src/limit/bucket.ts'
import { MemoryStore } from '../../src/limit/memory-store.ts'
import { RedisStore } from '../../src/limit/redis-store.ts'
import type { LimitStore, Refusal } from '../../src/limit/store.ts'
import type { Instant, Lease } from '../../src/nouns/lease.ts'
import { RedisCluster, RedisSentinels } from '../support/redis-fleet.ts'
import { RedisServer } from '../support/redis.ts'
import { callBy, limitOf, matches, rate, selecting } from './limits.ts'

/** One contract, every store. Time is real, so windows are long and nothing waits for their end. */

const NO_FIGURES = { burst: null, concurrent: null, tokens: null, cost: null }

const now = (): Instant => ({ wallMs: Date.now(), monotonicMs: performance.now() })

interface Kind {
  readonly name: string
  readonly make: (t: Test) => Promise<LimitStore>
}

/** Servers are started once, for the first test that asks, and empty for each. */
function sharing(start: () => Promise<{ empty(): Promise<void>; place: string | RedisPlace }>) {
  let started: ReturnType<typeof start> | null = null
  return async (t: Test) => {
    started ??= start()
    const servers = await started
    await servers.empty()
    const store = new RedisStore({ place: servers.place, sidecars: 1, waitMs: 10_000 })
    t.teardown(() => store.close())
    await store.open()
    t.equal(store.mode, 'redis')
    return store
  }
}

const KINDS: readonly Kind[] = [
  { name: 'memory', make: async () => new MemoryStore([], matches) },
  { name: 'redis', make: sharing(() => RedisServer.start(t)) },
  { name: 'redis named by Sentinels', make: sharing(() => RedisSentinels.start(t)) },
  { name: 'redis cluster', make: sharing(() => RedisCluster.start(t)) },
]

function spending(inputTokens: number, outputTokensMax: number): LimitCall {
  const forecast = { inputTokens, outputTokensMax, price: null, allowsUnpriced: true }
  return { ...callBy(), forecast }
}

async function lease(store: LimitStore, call: LimitCall = callBy()): Promise<Lease> {
  const outcome = await store.reserve(call, now())
  if ('kind' in outcome) throw new Error(`refused: ${outcome.kind}`)
  return outcome
}

async function refusal(store: LimitStore, call: LimitCall = callBy()): Promise<Refusal> {
  const outcome = await store.reserve(call, now())
  if ('kind' in outcome) return outcome
  throw new Error('let pass')
}

async function passing(store: LimitStore, tries: number, call = callBy()): Promise<number> {
  const outcomes = await Promise.all(
    Array.from({ length: tries }, async () => store.reserve(call, now())),
  )
  return outcomes.filter((outcome) => 'states' in outcome).length
}

function spent(tokens: number): { tokens: number; costNanoUsd: null; estimated: boolean } {
  return { tokens, costNanoUsd: null, estimated: false }
}

/** Settling is not waited for, but it is in order: the next answer comes after it. */
async function remaining(store: LimitStore, call: LimitCall): Promise<number | undefined> {
  const outcome = await store.reserve(call, now())
  if ('kind' in outcome) return outcome.kind === 'over' ? outcome.state.remaining : -1
  outcome.settle(null, now())
  return outcome.states[0]?.remaining
}

function use(store: LimitStore, ...limits: readonly Partial<LimitConfig>[]): void {
  store.reconfigure(limits.map(limitOf), matches)
}

for (const { name, make } of KINDS) {
  const test = (title: string, run: (t: Test, store: LimitStore) => Promise<void>) =>
    void t.test(`${name}: ${title}`, async (t) => run(t, await make(t)))

  test('at most N pass, however many come at once', async (t, store) => {
    use(store, { requests: rate(10, 3_600_000) })
    t.equal(await passing(store, 200), 10)
    const refused = await refusal(store)
    t.match(refused, { kind: 'over', state: { what: 'requests', limit: 10, remaining: 0 } })
    const waitMs = refused.kind === 'over' ? refused.waitMs : 0
    t.ok(waitMs > 3_500_000 && waitMs <= 3_600_000, `${waitMs}`)
    t.equal(await passing(store, 20, callBy({ keyId: 'key-2' })), 10)
  })

  test('a bucket lets its burst pass', async (t, store) => {
    use(store, { requests: rate(1, 3_600_000), burst: 5 })
    t.equal(await passing(store, 20), 5)
  })

  test('a calendar period holds N', async (t, store) => {
    use(store, { requests: rate(3, 744 * 3_600_000, 'month'), timeZone: 'Europe/Berlin' })
    t.equal(await passing(store, 20), 3)
    t.match(await refusal(store), { kind: 'over', state: { remaining: 0 } })
  })

  test('a refusal by one limit charges none', async (t, store) => {
    use(
      store,
      { id: 'wide', per: 'tenant', requests: rate(7, 3_600_000) },
      { id: 'narrow', concurrent: 2 },
    )
    t.equal(await passing(store, 50), 2)
    t.equal(await passing(store, 50, callBy({ keyId: 'key-2' })), 2)
    t.equal(await passing(store, 50, callBy({ keyId: 'key-3' })), 2)
    t.equal(await passing(store, 50, callBy({ keyId: 'key-4' })), 1)
  })

  test('a slot is free again once its call is settled, and once only', async (t, store) => {
    use(store, { concurrent: 2 })
    const [first, second] = [await lease(store), await lease(store)]
    t.match(await refusal(store), { kind: 'over', waitMs: 1_000, state: { what: 'concurrent' } })
    first.settle()
    first.settle()
    t.equal(await passing(store, 5), 1)
    second.settle()
    t.equal(await passing(store, 5), 1)
  })

  test('tokens are reserved, then settled by what was used', async (t, store) => {
    use(store, { tokens: rate(1_000, 3_600_000), reserveOutput: 200 })
    const held = await lease(store, spending(100, 500))
    t.match(held.states, [{ what: 'tokens', limit: 1_000, remaining: 700, reserved: 300 }])
    t.equal(await passing(store, 5, spending(100, 500)), 2)
    held.settle(spent(50), now())
    t.equal(await remaining(store, spending(1, 0)), 349)
  })

  test('five calls at once against 100 tokens: one passes', async (t, store) => {
    use(store, { tokens: rate(100, 3_600_000) })
    t.equal(await passing(store, 5, spending(10, 60)), 1)
    t.match(await refusal(store, spending(10, 60)), { kind: 'over', waitMs: 1_000 })
  })

  test('a first call larger than the limit passes; its debt lasts', async (t, store) => {
    use(store, { tokens: rate(100, 3_600_000) })
    const first = await lease(store, spending(5_000, 0))
    first.settle(spent(350), now())
    const refused = await refusal(store, spending(1, 0))
    const waitMs = refused.kind === 'over' ? refused.waitMs : 0
    t.ok(waitMs > 3 * 3_590_000 && waitMs <= 4 * 3_600_000, `${waitMs}`)
  })

  test('a failed call gives everything back', async (t, store) => {
    use(store, { tokens: rate(100, 744 * 3_600_000, 'month') })
    for (let call = 0; call < 5; call++) {
      ;(await lease(store, spending(90, 0))).settle(null, now())
    }
    t.equal(await remaining(store, spending(10, 0)), 90)
  })

  test('overrides and several models count in their own accounts', async (t, store) => {
    use(store, {
      requests: rate(2, 3_600_000),
      overrides: [
        { for: selecting({ models: ['small'] }), requests: rate(9, 3_600_000), ...NO_FIGURES },
      ],
    })
    t.equal(await passing(store, 20, callBy({}, ['big', 'small'])), 2)
    t.equal(await passing(store, 20, callBy({}, ['small'])), 7)
  })

  test('a new figure over the same window goes on counting', async (t, store) => {
    use(store, { requests: rate(3, 3_600_000) })
    t.equal(await passing(store, 9), 3)
    use(store, { requests: rate(5, 3_600_000) })
    t.equal(await passing(store, 9), 2)
  })

  test('what was taken before a reload is given back after it, into the same accounts', async (t, store) => {
    const hour = 3_600_000
    use(store, { tokens: rate(1_000, hour), concurrent: 2 })
    const [first, second] = [
      await lease(store, spending(100, 0)),
      await lease(store, spending(100, 0)),
    ]
    use(store, { tokens: rate(2_000, hour), concurrent: 3 }, { id: 'new', requests: rate(9, hour) })
    first.settle(spent(300), now())
    const third = await lease(store, spending(100, 0))
    t.match(third.states, [
      { what: 'concurrent', remaining: 1 },
      { what: 'tokens', remaining: 1_500 },
      { id: 'new', remaining: 8 },
    ])
    use(store)
    t.strictSame((await lease(store, spending(100, 0))).states, [])
    second.settle(spent(300), now())
    third.settle(spent(300), now())
    use(store, { tokens: rate(1_000, hour), concurrent: 2 })
    const last = await lease(store, spending(100, 0))
    t.match(last.states[0], { what: 'concurrent', remaining: 1 }, 'no place is left behind')
  })

  test('what a limit of all refuses is not charged to a tenant, nor the other way round', async (t, store) => {
    use(
      store,
      { id: 'all', per: 'global', requests: rate(5, 3_600_000), concurrent: 4 },
      { id: 'all-tokens', per: 'global', tokens: rate(1_000, 3_600_000), reserveOutput: 0 },
      { id: 'own', per: 'tenant', requests: rate(3, 3_600_000), burst: 3 },
      { id: 'day', per: 'tenant', requests: rate(50, 86_400_000, 'day') },
    )
    const held = []
    for (const tenant of ['a', 'a', 'a', 'a', 'b', 'c', 'c']) {
      const outcome = await store.reserve({ ...spending(100, 0), ...callBy({ tenant }) }, now())
      if ('states' in outcome) held.push(outcome)
    }
    t.equal(held.length, 4, 'three of a, one of b; then all places are taken')
    held.pop()?.settle(spent(100), now())
    const another = { ...spending(100, 0), ...callBy({ tenant: 'c' }) }
    t.match((await lease(store, another)).states, [
      { id: 'all', what: 'requests', remaining: 0 },
      { id: 'all', what: 'concurrent', remaining: 0 },
      { id: 'all-tokens', remaining: 500 },
      { id: 'own', remaining: 2 },
      { id: 'day', remaining: 49 },
    ])
  })

  test('a call no limit is about holds nothing', async (t, store) => {
    use(store, { for: selecting({ models: ['other'] }), requests: rate(1, 3_600_000) })
    t.strictSame((await lease(store)).states, [])
  })
}
