import { Agent } from 'node:http'

import Database from 'better-sqlite3'
import t from 'tap'

import { begin, chat, open, send } from '../support/client.ts'
import { FakeUpstream, hangMidStream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: limits are ceilings, and a client can tell how it stands. Method: bursts against small
 * figures, counting what reached the upstream.
 */

t.test('a burst beyond the limit: exactly the limit passes', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: five, per: key, requests: 5/50s }]',
  })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => site.send({ body: chat('hi'), agent })),
  )
  t.equal(answers.filter(({ status }) => status === 200).length, 5)
  t.equal(answers.filter(({ status }) => status === 429).length, 95)
  t.equal(upstream.received.length, 5)

  const passed = answers.filter(({ status }) => status === 200)
  t.strictSame(
    passed
      .map(({ headers }) => headers['x-governor-ratelimit-remaining-requests'])
      .toSorted((one, other) => Number(one) - Number(other)),
    ['0', '1', '2', '3', '4'],
  )
  const refused = answers.find(({ status }) => status === 429)!
  t.match(refused.json.error, { type: 'requests', code: 'rate_limit_exceeded', param: null })
  t.equal(refused.headers['x-governor-code'], 'LIMIT_EXCEEDED')
  const seconds = Number(refused.headers['retry-after'])
  t.ok(seconds >= 1 && seconds <= 60, `retry-after ${seconds}`)
  t.ok(Math.abs(Number(refused.headers['retry-after-ms']) / 1000 - seconds) <= 1)
  t.match(refused.headers, {
    'x-ratelimit-limit-requests': '5',
    'x-ratelimit-remaining-requests': '0',
    'x-governor-decision': 'deny',
  })

  await until('each refusal to be counted', async () => {
    return (await site.metric('governor_limit_refusals_total', 'limit="five"')) === 95
  })

  const other = await site.createKey('other')
  await until('the new key to be known', async () => {
    return (await site.send({ key: other, body: chat('hi') })).status === 200
  })
})

t.test('names a client chooses do not give it another bucket', async (t) => {
  const site = await startGovernor(t, { limits: '[{ id: two, per: key, requests: 2/60s }]' })
  const { key } = site
  const calls = [
    { body: chat('hi', { user: 'a' }) },
    { body: chat('hi', { user: 'b' }), headers: { 'x-user': 'b', 'x-forwarded-for': '9.9.9.9' } },
    { headers: { 'x-api-key': key }, body: chat('hi') },
    { path: '/up/v1/chat/completions', body: chat('hi') },
    { body: { ...chat('hi'), model: 'openai/gpt-4o' } },
  ]
  const statuses = []
  for (const call of calls) {
    const answered = await send(
      site.url,
      'headers' in call && 'x-api-key' in call.headers ? call : { key, ...call },
    )
    statuses.push(answered.status)
  }
  t.strictSame(statuses, [200, 200, 429, 429, 429])
})

t.test('a wait of more than a minute is a 403 that says not to retry', async (t) => {
  const site = await startGovernor(t, { limits: '[{ id: daily, per: tenant, requests: 1/day }]' })
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  const refused = await site.send({ body: chat('hi') })
  t.equal(refused.status, 403)
  t.match(refused.headers, { 'x-governor-code': 'LIMIT_EXHAUSTED', 'x-should-retry': 'false' })
  t.equal(refused.headers['retry-after'], undefined)
  t.match(refused.json.error, { type: 'insufficient_quota', code: 'insufficient_quota' })
})

t.test('a window of an hour or more is restored from the audit', async (t) => {
  const limits =
    '[{ id: hourly, per: key, requests: 3/h }, { id: brief, per: key, requests: 9/60s }]'
  const site = await startGovernor(t, { limits })
  for (const _ of [1, 2]) t.equal((await site.send({ body: chat('hi') })).status, 200)
  await site.governor.stop()
  await site.open()
  t.match(site.logLines.join(''), '"calls":2')
  const statuses = []
  for (const _ of [1, 2]) statuses.push((await site.send({ body: chat('hi') })).status)
  t.strictSame(statuses, [200, 403])
})

t.test('damaged entries do not keep a sidecar from starting', async (t) => {
  const site = await startGovernor(t, { limits: '[{ id: hourly, per: key, requests: 5/h }]' })
  for (const _ of [1, 2, 3, 4]) t.equal((await site.send({ body: chat('hi') })).status, 200)
  await site.governor.stop()
  const db = new Database(site.auditPath)
  const ids = db.prepare("SELECT id FROM entries WHERE kind = 'decision' ORDER BY id").pluck().all()
  const set = db.prepare('UPDATE entries SET body = ? WHERE id = ?')
  const damaged = [
    '{"limits":{"charged":[',
    '{"limits":{"charged":[null]}}',
    '{"charged":["x"],"limits":3',
  ]
  damaged.forEach((body, index) => set.run(Buffer.from(body), ids[index]))
  db.close()
  await site.open()
  t.match(site.logLines.join(''), /"entries":3,"files":\[\],.*damaged/)
  t.match(site.logLines.join(''), '"calls":1')
  const statuses = []
  for (let call = 0; call < 5; call++) statuses.push((await site.send({ body: chat('hi') })).status)
  t.strictSame(statuses, [200, 200, 200, 200, 403])
})

t.test('a refused call is charged nothing', async (t) => {
  const site = await startGovernor(t, { limits: '[{ id: one, per: key, requests: 1/60s }]' })
  for (const body of [chat('hi', { model: 'gpt-5' }), chat('project zeus'), { model: 'gpt-4o' }]) {
    t.ok([400, 403].includes((await site.send({ body })).status))
  }
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.equal((await site.send({ body: chat('hi') })).status, 429)
})

t.test('a place among the concurrent is free again after every kind of end', async (t) => {
  const upstream = await FakeUpstream.start(t, hangMidStream())
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: two, per: key, concurrent: 2 }]',
  })
  const streamed = { key: site.key, body: chat('hi', { stream: true }) }
  const first = await open(site.url, streamed)
  const second = begin(site.url, streamed)
  await second.response
  const refused = await site.send({ body: chat('hi') })
  t.equal(refused.status, 429)
  t.match(refused.headers, { 'retry-after': /^\d+$/ })
  first.response.destroy()
  second.request.destroy()

  upstream.behaviour = (_received, response) => void response.socket?.destroy()
  await until('a place', async () => (await site.send({ body: chat('hi') })).status === 502)
  upstream.behaviour = hangMidStream()
  for (let round = 0; round < 6; round++) {
    const { response } = await open(site.url, streamed)
    t.equal(response.statusCode, 200, `round ${round}`)
    response.destroy()
    await until('its end', async () => (await site.metric('governor_inflight_requests')) === 0)
  }
})
