import t from 'tap'

import { chat } from '../support/client.ts'
import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import { capped, settled, used } from '../support/spending.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: limits on cost charge by the price table, and refuse what it does not know. */

t.test('cost is charged by the price table, and told in USD', async (t) => {
  const upstream = await FakeUpstream.start(t, answer(used(1_000, 100, 'gpt-4o-2024-08-06')))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: spend, per: tenant, cost: 0.0036 USD/day, time_zone: Europe/Berlin }]',
  })
  const first = await site.send({ body: capped(100) })
  t.equal(first.status, 200)
  t.equal(first.headers['x-governor-ratelimit-limit-cost'], '0.0036')
  await settled(site)
  const entries = await site.entriesOf(String(first.headers['x-governor-request-id']), 2)
  t.match(entries[1]!.body, {
    cost_nano_usd: 3_500_000,
    limits: { charged: [{ id: 'spend', what: 'cost', amount: 3_500_000 }] },
  })
  t.equal(await site.metric('governor_cost_usd_total'), 0.0035)
  const refused = await site.send({ body: capped(100) })
  t.equal(refused.status, 403)
  t.equal(refused.headers['x-governor-code'], 'LIMIT_EXHAUSTED')
  t.match(refused.json.error?.message, 'limit "spend": 0.0036 USD per day')
  const looked = (result: string) => {
    return site.metric('governor_cache_requests_total', 'cache="prices"', `result="${result}"`)
  }
  t.strictSame([await looked('miss'), await looked('hit')], [2, 1], 'once for each name')

  await site.governor.stop()
  await site.open()
  t.equal((await site.send({ body: capped(100) })).status, 403, 'a restart forgets nothing')
})

t.test('what names no model and writes no text is not about cost', async (t) => {
  const upstream = await FakeUpstream.start(t, answer({ id: 'batch_1', object: 'batch' }))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: spend, per: tenant, cost: 1 USD/day }]',
    policies: '[{ id: all, allow: {} }]',
  })
  const body = { input_file_id: 'file-1', endpoint: '/v1/embeddings', completion_window: '24h' }
  const answered = await site.send({ path: '/v1/batches', body })
  t.not(answered.headers['x-governor-code'], 'PRICE_UNKNOWN')
})

t.test('a model without a price is refused under a limit on cost, or let through', async (t) => {
  const limits = '[{ id: spend, per: tenant, cost: 1 USD/day }]'
  const policies = '[{ id: all, allow: {} }]'
  const site = await startGovernor(t, { limits, policies })
  const body = { ...chat('hi'), model: 'home-made' }
  const refused = await site.send({ body })
  t.equal(refused.status, 403)
  t.equal(refused.headers['x-governor-code'], 'PRICE_UNKNOWN')
  const check = { operation: 'chat', model: 'home-made', input: 'hi' }
  t.equal((await site.send({ path: '/v1/check', body: check })).status, 403)

  const lax = await startGovernor(t, { limits, policies, prices: '{ unknown: allow }' })
  t.equal((await lax.send({ body })).status, 200)
  const priced = await startGovernor(t, {
    limits,
    policies,
    prices: "{ models: { 'home-*': { input: 1, output: 2 } } }",
  })
  t.equal((await priced.send({ body })).status, 200)
})
