import { join } from 'node:path'

import t from 'tap'

import { type Answered, chat } from '../support/client.ts'
import { answer, CHAT_ANSWER, FakeUpstream } from '../support/fake-upstream.ts'
import { RedisServer } from '../support/redis.ts'
import { configText, InProcess, UPSTREAM_KEY } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: sidecars that share a store share their limits, and a store that is lost is visible and costs
 * only what was chosen. Method: two sidecars and a real Redis, which is then killed.
 */

t.test('two sidecars, one limit; then without Redis each its share', async (t) => {
  const redis = await RedisServer.start(t)
  const upstream = await FakeUpstream.start(t, answer(CHAT_ANSWER))
  const sections = {
    upstream: upstream.url,
    pod: '{ tenant: acme }',
    store: redis.url,
    limits: `
  - { id: shared, per: tenant, requests: 6/h, for: { models: [gpt-4o] } }
  - { id: lax, per: key, requests: 1/h, on_store_loss: allow, for: { models: ['gpt-4o-2024*'] } }
  - { id: strict, per: key, requests: 1000/h, on_store_loss: deny, for: { models: ['gpt-4o-mini'] } }`,
  }
  const directory = t.testdir()
  const sites = ['one', 'other'].map(
    (name) => new InProcess(join(directory, name), configText(sections)),
  )
  for (const site of sites) {
    site.key = await site.createKey()
    await site.open()
    t.teardown(() => site.governor.stop(0))
  }
  const [one, other] = sites as [InProcess, InProcess]
  const answers: Answered[] = []
  for (let call = 0; call < 20; call++) {
    answers.push(await (call % 2 === 0 ? one : other).send({ body: chat('hi') }))
  }
  // On a machine so busy that Redis seems lost, an answer says so and is not counted here.
  const passed = answers.filter(({ status }) => status === 200)
  const shared = passed.filter(({ headers }) => headers['x-governor-ratelimit-store'] === 'redis')
  t.ok(shared.length > 0 && shared.length <= 6, `${shared.length} of 20`)
  t.ok(answers.every(({ status }) => status === 200 || status === 403))
  const first = shared[0]!
  t.equal(first.headers['x-governor-ratelimit-store'], 'redis')
  t.equal(await one.metric('governor_limit_store_mode', 'mode="redis"'), 1)
  const open = () => one.metric('governor_pool_connections', 'pool="redis:limits"', 'state="open"')
  t.equal(await open(), 1)
  const id = String(first.headers['x-governor-request-id'])
  const site = sites.find((each) => each.entries().some(({ requestId }) => requestId === id))!
  t.match((await site.entriesOf(id, 1))[0]!.body, {
    limits: { how: 'redis', charged: [{ id: 'shared', what: 'requests' }] },
  })

  await redis.kill()
  await until('the loss to be seen', async () => {
    return (await one.metric('governor_limit_store_mode', 'mode="local_share"')) === 1
  })
  t.equal(await one.metric('governor_limit_store_mode', 'mode="redis"'), 0)
  await until('the connection to be gone', async () => (await open()) === 0)
  const alone = []
  for (let call = 0; call < 8; call++) alone.push(await one.send({ body: chat('hi') }))
  t.ok(
    alone.every(({ status }) => status === 200 || status === 403),
    'and never a 401',
  )
  const share = alone.filter(({ status }) => status === 200)
  // What passed by the share while Redis seemed lost before is counted there.
  const shares = shared.length === passed.length ? [3, 6] : [0, 1, 2, 3, 4, 5, 6]
  t.ok(shares.includes(share.length), `${share.length}: its share of those it knew of`)
  for (const { headers } of share) t.equal(headers['x-governor-ratelimit-store'], 'local_share')
  const strict = await one.send({ body: chat('hi', { model: 'gpt-4o-mini' }) })
  t.equal(strict.status, 503)
  const lost = { 'x-governor-ratelimit-store': 'local_share' }
  t.match(strict.headers, { 'x-governor-code': 'LIMITS_UNAVAILABLE', 'retry-after': '1', ...lost })
  const over = alone.find(({ status }) => status === 403)
  t.match(over?.headers, { 'x-governor-code': 'LIMIT_EXHAUSTED', ...lost })
  const uncounted = await one.send({ body: chat('hi', { model: 'gpt-4o-2024-08-06' }) })
  t.match(uncounted, { status: 200, headers: lost })
  for (const { headers } of [strict, over!, uncounted]) {
    const [entry] = await one.entriesOf(String(headers['x-governor-request-id']), 1)
    t.match(entry!.body, { limits: { how: 'local_share' } }, 'each says so in the audit')
  }

  await redis.open()
  await until('Redis to be used again', async () => {
    return (await one.metric('governor_limit_store_mode', 'mode="redis"')) === 1
  })
  const back = await one.send({ body: chat('hi') })
  t.equal(back.headers['x-governor-ratelimit-store'], 'redis')
})

t.test(
  'a store that was never reached is said at the start, with why and no password',
  async (t) => {
    const redis = await RedisServer.start(t, ['--requirepass', 'another'])
    for (const [port, why] of [
      [redis.port, /WRONGPASS/],
      [1, /ECONNREFUSED/],
    ] as const) {
      const site = new InProcess(
        join(t.testdir(), String(port)),
        configText({ store: `'redis://:\${UPSTREAM_KEY}@127.0.0.1:${port}'` }),
      )
      await site.open()
      t.teardown(() => site.governor.stop(0))
      const said = site.logLines.find((line) => line.includes('The shared store of limits is lost'))
      t.match(said, why)
      t.notMatch(site.logLines.join(''), UPSTREAM_KEY)
    }
  },
)
