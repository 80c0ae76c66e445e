import { Redis } from 'ioredis'
import t from 'tap'

import { RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { callBy, rate } from './limits.ts'
import { ask, HOUR_MS, passing, remainingOf, storeAt } from './redis-stores.ts'
import { saying } from './wrong-clock.ts'

/**
 * Goal: a clock of Redis that steps back by hours costs at most one more window, and brings nothing
 * back that was given up. Method: what Redis keeps is moved as far into the future.
 */

const STEP_MS = 5 * HOUR_MS

async function clientOf(t: { teardown(then: () => unknown): void }, { url }: RedisServer) {
  const client = new Redis(url)
  t.teardown(() => client.disconnect())
  return client
}

/** Writes all states anew, every time in them later by `byMs`. */
async function later(client: Redis, byMs: number): Promise<void> {
  for (const key of await client.keys('governor:{*')) {
    if (key.endsWith(':h')) {
      for (const member of await client.zrange(key, '0', '-1')) {
        await client.zadd(key, Number(await client.zscore(key, member)) + byMs, member)
      }
      continue
    }
    const [held = '', rest = ''] = String(await client.get(key)).split('|')
    const moved = rest
      .split(';')
      .map((group) =>
        group.split(',').map((figure) => (Number(figure) > 1e12 ? Number(figure) + byMs : figure)),
      )
    await client.set(key, `${held}|${moved.map((group) => group.join(',')).join(';')}`)
  }
}

t.test('a window is full for one window more, not until the clock has caught up', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ requests: rate(3, 60_000) }])
  t.equal(await passing(store, 5), 3)
  await later(await clientOf(t, server), STEP_MS)
  const refused = await ask(store)
  t.match(refused, { kind: 'over', state: { remaining: 0 } }, 'what was used is not forgotten')
  const waitMs = 'kind' in refused && refused.kind === 'over' ? refused.waitMs : Infinity
  t.ok(waitMs <= 60_000, `${waitMs}`)
})

t.test('a bucket fills on', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ requests: rate(1, 60_000), burst: 2 }])
  t.equal(await passing(store, 5), 2)
  await later(await clientOf(t, server), STEP_MS)
  const refused = await ask(store)
  const waitMs = 'kind' in refused && refused.kind === 'over' ? refused.waitMs : Infinity
  t.ok(waitMs > 0 && waitMs <= 60_000, `${waitMs}`)
})

t.test('what was used of a day far ahead is used of this one', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ requests: rate(3, 24 * HOUR_MS, 'day') }])
  t.equal(await passing(store, 2), 2)
  await later(await clientOf(t, server), 5 * 24 * HOUR_MS)
  t.equal(await passing(store, 5), 1)
  const refused = await ask(store)
  const waitMs = 'kind' in refused && refused.kind === 'over' ? refused.waitMs : Infinity
  t.ok(waitMs <= 25 * HOUR_MS, `${waitMs}`)
})

t.test('places and reservations of the dead are free after 30 s', async (t) => {
  const server = await RedisServer.start(t)
  const limits = [
    { id: 'places', concurrent: 2 },
    { id: 'tokens', tokens: rate(100, HOUR_MS) },
  ]
  const dying = await storeAt(t, server.url, limits)
  const forecast = { inputTokens: 50, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const call = { ...callBy(), forecast }
  t.equal(await passing(dying, 5, call), 2)
  await dying.close()
  const client = await clientOf(t, server)
  await later(client, STEP_MS)
  const living = await storeAt(t, server.url, limits)
  t.match(await ask(living, call), { kind: 'over' })
  const nowMs = Number((await client.time())[0]) * 1000
  for (const key of await client.keys('*:h')) {
    for (const member of await client.zrange(key, '0', '-1')) {
      const leftMs = Number(await client.zscore(key, member)) - nowMs
      t.ok(leftMs <= 32_000, `${key} ${leftMs}`)
    }
  }
})

t.test('calls that were given up are too late all the same', async (t) => {
  const server = await RedisServer.start(t)
  const url = await saying(t, server, HOUR_MS)
  const store = await storeAt(t, url, [{ requests: rate(100, HOUR_MS) }], { waitMs: 300 })
  // By what it said at the start its time was an hour later; an answer tells better.
  await until('an answer', async () => 'how' in (await ask(store)) && store.mode === 'redis')
  const before = await until('it to be counted there', async () => {
    const outcome = await ask(store)
    return 'how' in outcome && outcome.how === 'redis' ? remainingOf(outcome) : null
  })
  server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  await Promise.all(Array.from({ length: 10 }, () => ask(store)))
  server.signal('SIGCONT')
  const client = await clientOf(t, server)
  const [state = ''] = (await client.keys('governor:{*')).filter((key) => !key.endsWith(':h'))
  const used = /\d+,(\d+),\d+$/.exec(String(await client.get(state)))?.[1]
  t.equal(Number(used), 100 - before)
})
