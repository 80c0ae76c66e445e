import { Redis } from 'ioredis'
import t, { type Test } from 'tap'

import type { LimitConfig } from '../../src/config/snapshot.ts'
import type { Lease } from '../../src/lease.ts'
import type { LimitCall } from '../../src/limit/bucket.ts'
import { RedisStore } from '../../src/limit/redis-store.ts'
import type { Refusal } from '../../src/limit/store.ts'
import { RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { callBy, limitOf, matches, rate } from './limits.ts'

/**
 * Goal: a Redis that is gone, stuck or empty costs nobody a call that the operator did not choose.
 * Method: a real server, and what is done to it. Where slowness is not the matter, calls wait for
 * longer than they do, so that a busy machine is not taken for a lost Redis.
 */

const HOUR_MS = 3_600_000
const now = () => ({ wallMs: Date.now(), monotonicMs: performance.now() })

async function storeAt(
  t: Test,
  url: string,
  limits: readonly Partial<LimitConfig>[],
  { sidecars = 1, waitMs = 10_000 }: { sidecars?: number; waitMs?: number } = {},
): Promise<RedisStore> {
  const store = new RedisStore({ url, sidecars, waitMs })
  t.teardown(() => store.close())
  store.reconfigure(limits.map(limitOf), matches)
  await store.open()
  return store
}

async function ask(store: RedisStore, call: LimitCall = callBy()): Promise<Lease | Refusal> {
  return store.reserve(call, now())
}

/** At least, where a setting-up call may itself have been too late. */
function remainingOf(outcome: Lease | Refusal): number {
  return 'states' in outcome ? (outcome.states[0]?.remaining ?? -1) : -1
}

async function passing(store: RedisStore, tries: number, call = callBy()): Promise<number> {
  const outcomes = await Promise.all(Array.from({ length: tries }, () => ask(store, call)))
  return outcomes.filter((outcome) => 'states' in outcome).length
}

t.test('a Redis that is killed: each limit does what it says', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(
    t,
    server.url,
    [{ id: 'shared', per: 'tenant', requests: rate(10, HOUR_MS) }],
    { sidecars: 4 },
  )
  const lax = await storeAt(t, server.url, [
    { id: 'lax', requests: rate(1, HOUR_MS), onStoreLoss: 'allow' },
  ])
  const strict = await storeAt(t, server.url, [
    { id: 'strict', requests: rate(1, HOUR_MS), onStoreLoss: 'deny' },
  ])
  const first = await ask(store)
  t.match(first, { how: 'redis', states: [{ remaining: 9 }] })
  await server.kill()
  await until('the loss to be seen', () =>
    [store, lax, strict].every(({ mode }) => mode === 'local_share'),
  )
  t.equal(await passing(store, 50), 3, 'ceil(10 / 4)')
  t.match(await ask(store), { kind: 'over', state: { id: 'shared', limit: 3 } })
  t.equal(await passing(lax, 50), 50)
  t.strictSame(await ask(strict), { kind: 'lost', id: 'strict' })

  await server.open()
  await until('Redis to be used again', () => store.mode === 'redis')
  t.equal(await passing(store, 50), 10, 'it came back empty')
})

t.test('a Redis that is paused: nobody waits long, and nothing counts twice', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ requests: rate(1_000, HOUR_MS) }], { waitMs: 100 })
  t.equal(await passing(store, 10), 10)
  server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  const waits: number[] = []
  for (let round = 0; round < 30; round++) {
    const began = performance.now()
    const outcomes = await Promise.all([ask(store), ask(store), ask(store)])
    waits.push(performance.now() - began)
    t.ok(outcomes.every((outcome) => 'states' in outcome && outcome.how === 'local_share'))
  }
  const longest = Math.max(...waits)
  t.ok(longest < 1_000, `${longest} ms for one call, with a timer of 100 ms`)
  t.ok(waits.filter((wait) => wait > 90).length <= 10, 'and only the first few calls')

  server.signal('SIGCONT')
  await until('Redis to be used again', () => store.mode === 'redis')
  const after = await ask(store)
  t.ok(remainingOf(after) >= 989, 'what came too late did nothing')
})

t.test('what was settled while Redis was away is settled when it is back, once', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ tokens: rate(1_000, HOUR_MS) }], { waitMs: 100 })
  const forecast = { inputTokens: 10, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const call = { ...callBy(), forecast }
  const lease = await ask(store, call)
  server.signal('SIGSTOP')
  await Promise.all(Array.from({ length: 5 }, () => ask(store, call)))
  await until('the loss to be seen', () => store.mode === 'local_share')
  if ('states' in lease) {
    lease.settle({ tokens: 300, costNanoUsd: null, estimated: false }, now())
    lease.settle({ tokens: 300, costNanoUsd: null, estimated: false }, now())
  }
  server.signal('SIGCONT')
  await until('Redis to be used again', () => store.mode === 'redis')
  const left = await until('it to be charged', async () => {
    const outcome = await ask(store, call)
    if (!('states' in outcome)) return null
    outcome.settle()
    const { remaining = 0 } = outcome.states[0] ?? {}
    return remaining < 900 ? remaining : null
  })
  t.equal(left, 690)
})

t.test('scripts that Redis has forgotten are loaded again', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ requests: rate(5, HOUR_MS) }])
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  t.equal(await passing(store, 1), 1)
  await client.script('FLUSH')
  t.match(await ask(store), { how: 'local_share' })
  await until('Redis to be used again', () => store.mode === 'redis')
  t.equal(await passing(store, 9), 4)
})

t.test('a sidecar that never reached Redis starts, and takes its share', async (t) => {
  const store = await storeAt(t, 'redis://127.0.0.1:1', [{ requests: rate(10, HOUR_MS) }], {
    sidecars: 5,
  })
  t.equal(store.mode, 'local_share')
  t.equal(await passing(store, 50), 2)
})

t.test('a wrong password is a loss, not an error of the caller', async (t) => {
  const server = await RedisServer.start(t, ['--requirepass', 'right'])
  const wrong = server.url.replace('//', '//:wrong@')
  t.match(await ask(await storeAt(t, wrong, [{ requests: rate(2, HOUR_MS) }])), {
    how: 'local_share',
  })
  const right = server.url.replace('//', '//:right@')
  t.match(await ask(await storeAt(t, right, [{ requests: rate(2, HOUR_MS) }])), { how: 'redis' })
})

t.test('an ACL user and a database of its own', async (t) => {
  const acl = '--user governor on >secret ~governor:* &* +@all -@admin'
  const server = await RedisServer.start(t, acl.split(' '))
  const url = `${server.url.replace('//', '//governor:secret@')}/3`
  const store = await storeAt(t, url, [{ requests: rate(2, HOUR_MS) }])
  t.match(await ask(store), { how: 'redis' })
  const client = new Redis(server.url, { db: 3 })
  t.teardown(() => client.disconnect())
  t.ok((await client.keys('*')).every((key) => key.startsWith('governor:')))
})

t.test('a Redis that is slow for a moment', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ requests: rate(100, HOUR_MS) }], { waitMs: 100 })
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  t.equal(await passing(store, 10), 10)
  await client.call('CLIENT', 'PAUSE', '1000', 'ALL')
  const outcomes = await Promise.all([ask(store), ask(store), ask(store)])
  t.ok(outcomes.every((outcome) => 'states' in outcome && outcome.how === 'local_share'))
  await until('Redis to be used again', () => store.mode === 'redis')
  t.ok(remainingOf(await ask(store)) >= 89, 'calls that were late did nothing')
})

t.test('sidecars count each other', async (t) => {
  const server = await RedisServer.start(t)
  const stores = []
  for (let index = 0; index < 3; index++) {
    stores.push(await storeAt(t, server.url, [{ requests: rate(9, HOUR_MS) }]))
  }
  const last = stores[2]!
  await until('three to be counted', () => last.sidecars === 3)
  await server.kill()
  await until('the loss to be seen', () => last.mode === 'local_share')
  t.equal(await passing(last, 50), 3)
})

t.test('several sidecars under load admit exactly N, as an oracle counts', async (t) => {
  const server = await RedisServer.start(t)
  const limits = [
    { id: 'tenant', per: 'tenant', requests: rate(700, HOUR_MS) },
    { id: 'key', per: 'key', requests: rate(150, HOUR_MS) },
  ] as const
  const stores = await Promise.all([1, 2, 3, 4].map(() => storeAt(t, server.url, limits)))
  const passed = new Map<string, number>()
  for (let round = 0; round < 40; round++) {
    await Promise.all(
      stores.flatMap((store, index) =>
        Array.from({ length: 12 }, async (_, call) => {
          const keyId = `key-${(index + call + round) % 6}`
          const outcome = await ask(store, callBy({ keyId }))
          if ('states' in outcome) {
            t.equal(outcome.how, 'redis')
            passed.set(keyId, (passed.get(keyId) ?? 0) + 1)
          }
        }),
      ),
    )
  }
  const counts = [...passed.values()]
  t.equal(
    counts.reduce((sum, count) => sum + count, 0),
    700,
  )
  t.ok(counts.every((count) => count <= 150))
})

t.test('a long call keeps its place and its reservation', async (t) => {
  const server = await RedisServer.start(t)
  const store = new RedisStore({ url: server.url, sidecars: 1, waitMs: 10_000, leaseMs: 3_000 })
  store.reconfigure([limitOf({ concurrent: 1, tokens: rate(1_000, HOUR_MS) })], matches)
  await store.open()
  const forecast = { inputTokens: 100, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const call = { ...callBy(), forecast }
  const lease = await ask(store, call)
  await new Promise((resolve) => setTimeout(resolve, 5_000))
  t.match(await ask(store, call), { kind: 'over', state: { what: 'concurrent' } })
  if ('states' in lease) lease.settle()
  t.match(await ask(store, call), { states: [{ remaining: 0 }, { remaining: 900 }] })
  await store.close()

  const other = await storeAt(t, server.url, [{ concurrent: 1, tokens: rate(1_000, HOUR_MS) }])
  t.match(await ask(other, call), { kind: 'over' })
  const free = await until('what the dead one held', async () => {
    const outcome = await ask(other, call)
    return 'states' in outcome ? outcome : null
  })
  t.match(free.states, [{ remaining: 0 }, { remaining: 900 }])
})

t.test('places of a sidecar that died are free again', async (t) => {
  const server = await RedisServer.start(t)
  const limits = [{ concurrent: 2 }]
  const dying = await storeAt(t, server.url, limits)
  const living = await storeAt(t, server.url, limits)
  t.equal(await passing(dying, 5), 2)
  await dying.close()
  t.equal(await passing(living, 5), 0)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  // Instead of 30 s of waiting: the same places, as if they had not been renewed for so long.
  const [holders = ''] = await client.keys('*:h')
  for (const member of await client.zrange(holders, '0', '-1'))
    await client.zadd(holders, '1', member)
  t.equal(await passing(living, 5), 2)
})
