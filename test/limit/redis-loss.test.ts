import { Redis } from 'ioredis'
import t from 'tap'

import type { RedisStore } from '../../src/limit/redis-store.ts'
import { RedisServer } from '../support/redis.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { callBy, rate } from './limits.ts'
import { ask, HOUR_MS, now, passing, remainingOf, storeAt } from './redis-stores.ts'
import { saying } from './wrong-clock.ts'

/**
 * Goal: a Redis that is gone, stuck or empty costs nobody a call that the operator did not choose.
 * Method: a real server, and what is done to it. Where slowness is not the matter, calls wait for
 * longer than they do, so that a busy machine is not taken for a lost Redis.
 */

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
  t.strictSame(await ask(strict), { kind: 'lost', how: 'local_share', id: 'strict' })

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
  t.ok(longest < 5_000, `${longest} ms for one call, with a timer of 100 ms`)
  t.ok(waits.filter((wait) => wait > 90).length <= 10, 'and only the first few calls')

  server.signal('SIGCONT')
  await until('Redis to be used again', () => store.mode === 'redis')
  const after = await ask(store)
  t.ok(remainingOf(after) >= 989, 'what came too late did nothing')
})

t.test(
  'under load no call waits 150 ms in total for a Redis that is paused again and again',
  async (t) => {
    const server = await RedisServer.start(t)
    const limits = [{ requests: rate(1_000_000, HOUR_MS), tokens: rate(10_000_000, HOUR_MS) }]
    const store = await storeAt(t, server.url, limits, { waitMs: 100 })
    t.teardown(() => server.signal('SIGCONT'))
    const load = loadOn(store)
    for (let pause = 0; pause < 4; pause++) {
      server.signal('SIGSTOP')
      await until('the loss to be seen', () => store.mode === 'local_share')
      server.signal('SIGCONT')
      await until('Redis to be used again', () => store.mode === 'redis')
    }
    t.strictSame(await load.end(), [])
    t.ok(load.asked > 100, `${load.asked} calls`)
  },
)

t.test('a Redis that comes and goes is left alone for longer each time', async (t) => {
  const server = await RedisServer.start(t)
  const { proxy, url } = await TcpProxy.to(t, server.url)
  const store = await storeAt(t, url, [{ requests: rate(1_000, HOUR_MS) }])
  const restsMs: number[] = []
  for (let time = 0; time < 3; time++) {
    await until('Redis to be used', () => store.mode === 'redis')
    const lostMs = performance.now()
    proxy.cutAll()
    await until('the loss to be seen', () => store.mode === 'local_share')
    await until('Redis to be used again', () => store.mode === 'redis')
    restsMs.push(performance.now() - lostMs)
  }
  // It rests 500 ms and twice as long each time, whatever else this machine has to do.
  t.ok(restsMs[1]! >= 950 && restsMs[2]! >= 1_900, restsMs.join(' '))
})

t.test('nor for one that is slow, for however long', async (t) => {
  const server = await RedisServer.start(t)
  const { proxy, url } = await TcpProxy.to(t, server.url)
  const limits = [{ requests: rate(1_000_000, HOUR_MS), tokens: rate(10_000_000, HOUR_MS) }]
  const store = await storeAt(t, url, limits, { waitMs: 100 })
  const load = loadOn(store)
  for (const delayMs of [30, 60, 90, 110, 140, 1_000]) {
    proxy.delayMs = delayMs
    const before = load.asked
    await until('a hundred calls', () => load.asked > before + 100)
  }
  await until('the loss to be seen', () => store.mode === 'local_share')
  proxy.delayMs = 0
  await until('Redis to be used again', () => store.mode === 'redis')
  // Whole answers that come a byte at a time are no better.
  proxy.bytesPerTick = 1
  await until('the loss to be seen', () => store.mode === 'local_share')
  t.strictSame(await load.end(), [])
})

/** Calls by 32 clients, one after the other, until `end`, which tells of each that waited for 150 ms. */
function loadOn(store: RedisStore) {
  const forecast = { inputTokens: 10, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const call = { ...callBy(), forecast }
  const tooLate: string[] = []
  const load = { asked: 0, isOver: false, end }
  const client = async () => {
    while (!load.isOver) {
      load.asked++
      const asking = ask(store, call)
      // Of two timers of one machine, however slow, the one that is due first goes first.
      const timer = setTimeout(() => tooLate.push(store.why), 150)
      const outcome = await asking
      clearTimeout(timer)
      if ('states' in outcome) outcome.settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const clients = Array.from({ length: 32 }, client)
  async function end(): Promise<readonly string[]> {
    load.isOver = true
    await Promise.all(clients)
    return tooLate
  }
  return load
}

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

t.test(
  'scripts that Redis has forgotten are taught again, by the call that finds out',
  async (t) => {
    const server = await RedisServer.start(t)
    const store = await storeAt(t, server.url, [{ requests: rate(5, HOUR_MS) }])
    const client = new Redis(server.url)
    t.teardown(() => client.disconnect())
    t.equal(await passing(store, 1), 1)
    await client.script('FLUSH')
    t.match(await ask(store), { how: 'redis' })
    t.equal(await passing(store, 9), 3)
  },
)

t.test(
  'keys of one tenant that somebody else wrote to are a loss for that tenant alone',
  async (t) => {
    const server = await RedisServer.start(t)
    const store = await storeAt(t, server.url, [
      { per: 'tenant', requests: rate(50, HOUR_MS), concurrent: 50 },
    ])
    const client = new Redis(server.url)
    t.teardown(() => client.disconnect())
    t.match(await ask(store, callBy({ tenant: 'broken' })), { how: 'redis' })
    const [state = ''] = (await client.keys('governor:{*')).filter((key) => !key.endsWith(':h'))
    await client.del(state)
    await client.lpush(state, 'not ours')
    for (let round = 0; round < 5; round++) {
      const tenants = ['one', 'broken', 'other']
      const outcomes = await Promise.all(tenants.map((tenant) => ask(store, callBy({ tenant }))))
      t.match(outcomes, [{ how: 'redis' }, { how: 'local_share' }, { how: 'redis' }])
      for (const outcome of outcomes) if ('states' in outcome) outcome.settle()
    }
    t.equal(store.mode, 'redis')
    t.match(await ask(store, callBy({ tenant: 'one' })), {
      states: [{ remaining: 44 }, { remaining: 49 }],
    })
  },
)

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

t.test('a Redis whose clock goes forward is asked again, not held for too late', async (t) => {
  const server = await RedisServer.start(t)
  const url = await saying(t, server, -HOUR_MS)
  const store = await storeAt(t, url, [{ requests: rate(10, HOUR_MS) }])
  t.match(await ask(store), { how: 'local_share' }, 'the first call cannot know')
  t.match(await ask(store), { how: 'redis' })
  t.equal(await passing(store, 20), 9)
})

t.test('places that are held are held in a Redis that came back empty', async (t) => {
  const server = await RedisServer.start(t)
  const store = await storeAt(t, server.url, [{ concurrent: 2 }])
  t.equal(await passing(store, 5), 2)
  await server.kill()
  await until('the loss to be seen', () => store.mode === 'local_share')
  await server.open()
  await until('Redis to be used again', () => store.mode === 'redis')
  t.equal(await passing(store, 5), 0)
})

t.test('what could not be settled is settled before the end', async (t) => {
  const server = await RedisServer.start(t)
  const limits = [{ tokens: rate(1_000, HOUR_MS) }]
  const store = await storeAt(t, server.url, limits)
  const forecast = { inputTokens: 10, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const call = { ...callBy(), forecast }
  const lease = await ask(store, call)
  const admin = new Redis(server.url)
  t.teardown(() => admin.disconnect())
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until('the loss to be seen', () => store.mode === 'local_share')
  const spent = { tokens: 300, costNanoUsd: null, estimated: false }
  if ('states' in lease) lease.settle(spent, now())
  await until('Redis to be used again', () => store.mode === 'redis')
  await store.close()
  const other = await storeAt(t, server.url, limits)
  t.equal(remainingOf(await ask(other, call)), 690)
})
