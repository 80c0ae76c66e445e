import { fork } from 'node:child_process'
import { once } from 'node:events'

import { Redis } from 'ioredis'
import t from 'tap'

import { RedisStore } from '../../src/limit/redis-store.ts'
import { RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { HELD, LEASE_MS } from './held.ts'
import { callBy, limitOf, matches, rate } from './limits.ts'
import { ask, HOUR_MS, now, passing, storeAt } from './redis-stores.ts'

/** Goal: what calls hold in Redis is theirs while they last, and counted exactly. */

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
  const store = new RedisStore({ place: server.url, sidecars: 1, waitMs: 10_000, leaseMs: 3_000 })
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

t.test('a sidecar that was stopped for longer than a lease comes back to no harm', async (t) => {
  const server = await RedisServer.start(t)
  const stopped = fork(new URL('./held-worker.ts', import.meta.url), [server.url])
  t.teardown(() => stopped.kill('SIGKILL'))
  await once(stopped, 'message')
  const store = new RedisStore({
    place: server.url,
    sidecars: 1,
    waitMs: 10_000,
    leaseMs: LEASE_MS,
  })
  t.teardown(() => store.close())
  store.reconfigure(HELD.limits.map(limitOf), matches)
  await store.open()
  t.match(await ask(store, HELD.call), { kind: 'over', state: { what: 'concurrent' } })
  stopped.kill('SIGSTOP')
  const first = await until('what it holds to be free', async () => {
    const outcome = await ask(store, HELD.call)
    if (!('states' in outcome)) return null
    if (outcome.states[0]?.remaining === 1) return outcome
    // Its two calls began one after the other, and end so.
    outcome.settle()
    return null
  })
  t.match(first.states, [{ remaining: 1 }, { remaining: 900 }], 'the places and what it reserved')
  const second = await ask(store, HELD.call)
  t.match(second, { states: [{ remaining: 0 }, { remaining: 800 }] })

  stopped.kill('SIGCONT')
  stopped.send('settle')
  await once(stopped, 'exit')
  for (const outcome of [first, second]) {
    if ('states' in outcome)
      outcome.settle({ tokens: 50, costNanoUsd: null, estimated: false }, now())
  }
  // 2 calls of 150 there and 2 of 50 here, and what this one reserves: each counts once.
  t.match(await ask(store, HELD.call), { states: [{ remaining: 1 }, { remaining: 500 }] })
  t.match(await ask(store, HELD.call), { states: [{ remaining: 0 }, { remaining: 400 }] })
  t.match(await ask(store, HELD.call), { kind: 'over' }, 'no place more than there are')
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

t.test('what is asked and given back within a turn is one command', async (t) => {
  const server = await RedisServer.start(t)
  const limits = [
    { requests: rate(1_000, HOUR_MS), concurrent: 100 },
    { tokens: rate(9_000, HOUR_MS) },
  ]
  const store = await storeAt(t, server.url, limits)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const commands = async () => {
    const [, calls = ''] =
      /cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats')) ?? []
    return Number(calls)
  }
  const forecast = { inputTokens: 10, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const callers = ['one', 'two', 'three'].map((keyId) => ({ ...callBy({ keyId }), forecast }))
  const askAll = () => Promise.all(callers.map((call) => ask(store, call)))
  const first = await askAll()
  await client.config('RESETSTAT')
  for (const outcome of first) {
    if ('states' in outcome) outcome.settle({ tokens: 30, costNanoUsd: null, estimated: false })
  }
  // Places are free and tokens charged before anybody is asked about who came later in the turn.
  const states = [{ remaining: 998 }, { remaining: 99 }, { remaining: 8_960 }]
  t.match(await askAll(), [{ states }, { states }, { states }])
  t.equal(await commands(), 1)
})

t.test('more than fits in one command is answered all the same, each by its own', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ per: 'key', requests: rate(10, HOUR_MS) }])
  const outcomes = await Promise.all(
    Array.from({ length: 300 }, (_, call) => ask(store, callBy({ keyId: `key-${call % 20}` }))),
  )
  const left = outcomes.map((outcome) => ('states' in outcome ? outcome.states[0]!.remaining : -1))
  t.strictSame(
    left,
    outcomes.map((_, call) => Math.max(-1, 9 - Math.floor(call / 20))),
  )
})
