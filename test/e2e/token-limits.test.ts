import t from 'tap'

import { chat, open } from '../support/client.ts'
import {
  after,
  answer,
  CHAT_ANSWER,
  chatEvent,
  DONE,
  FakeUpstream,
  HandStream,
  stream,
} from '../support/fake-upstream.ts'
import { type InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: limits on tokens and cost hold where those of other gateways are known not to. Method: the
 * known failures, each through the running proxy, with figures of which the sum is known.
 */

function used(prompt: number, completion: number, model = 'gpt-4o'): object {
  const usage = { prompt_tokens: prompt, completion_tokens: completion }
  return { ...CHAT_ANSWER, model, usage }
}

const capped = (tokens: number) => chat('hi', { max_tokens: tokens })

async function settled(site: InProcess): Promise<void> {
  await until('calls to end', async () => (await site.metric('governor_inflight_requests')) === 0)
}

async function estimatedOf(site: InProcess): Promise<number> {
  const outcome = await until('an outcome', () =>
    site.entries().find(({ kind }) => kind === 'outcome'),
  )
  return Number(outcome.body['estimated_tokens'])
}

async function remaining(site: InProcess): Promise<number> {
  await settled(site)
  const { headers } = await site.send({ body: capped(1) })
  return Number(headers['x-governor-ratelimit-remaining-tokens'] ?? -1)
}

t.test('five calls at once against a 100-token minute: one passes', async (t) => {
  const upstream = await FakeUpstream.start(t, after(200, answer(used(20, 40))))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 100/min }]',
  })
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => site.send({ body: capped(60) })),
  )
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal(upstream.received.length, 1)
  const refused = answers.find(({ status }) => status === 429)!
  t.match(refused.headers, {
    'x-governor-code': 'LIMIT_EXCEEDED',
    'x-ratelimit-limit-tokens': '100',
    'retry-after': '1',
  })
  t.match(refused.json.error?.message, 'limit "tpm": 100 tokens per 60 s')
  t.equal(await site.metric('governor_limit_refusals_total', 'limit="tpm"'), 4)
})

t.test('a call without max_tokens is reserved what the limit says, and settled', async (t) => {
  const upstream = await FakeUpstream.start(t, answer(used(10, 20)))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 1000/min, reserve_output: 500 }]',
  })
  const first = await site.send({ body: chat('hi') })
  t.equal(first.status, 200)
  const left = Number(first.headers['x-governor-ratelimit-remaining-tokens'])
  t.ok(left > 400 && left < 500, `${left} left while it ran`)
  await settled(site)
  const second = await site.send({ body: chat('hi') })
  t.equal(Number(second.headers['x-governor-ratelimit-remaining-tokens']), left - 30)
})

t.test('a first call larger than the limit passes, and its debt is paid', async (t) => {
  const upstream = await FakeUpstream.start(t, answer(used(5_000, 2_000)))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 100/min }]',
  })
  t.equal((await site.send({ body: chat('word '.repeat(2_000)) })).status, 200)
  await settled(site)
  const refused = await site.send({ body: capped(1) })
  t.equal(refused.status, 403, 'it takes 70 minutes to pay 7000 tokens')
  t.match(refused.headers, { 'x-governor-code': 'LIMIT_EXHAUSTED', 'x-should-retry': 'false' })
})

t.test('an empty body is refused and charged nothing', async (t) => {
  const site = await startGovernor(t, { limits: '[{ id: tpm, per: tenant, tokens: 100/min }]' })
  const before = await remaining(site)
  for (const body of ['', '{}']) t.equal((await site.send({ body })).status, 400)
  await settled(site)
  const after = await site.send({ body: capped(1) })
  t.ok(before - Number(after.headers['x-governor-ratelimit-remaining-tokens']) < 40)
  t.equal((await site.send({ method: 'GET', path: '/v1/models' })).status, 200)
})

t.test('the responses endpoint is counted like any other', async (t) => {
  const usage = { input_tokens: 30, output_tokens: 50 }
  const upstream = await FakeUpstream.start(t, answer({ id: 'r', model: 'gpt-4o', usage }))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 100/min }]',
  })
  const body = { model: 'gpt-4o', input: 'hi', max_output_tokens: 10 }
  t.equal((await site.send({ path: '/v1/responses', body })).status, 200)
  await settled(site)
  const more = { ...body, max_output_tokens: 30 }
  const refused = await site.send({ path: '/v1/responses', body: more })
  t.equal(refused.status, 429)
  t.equal(refused.headers['x-ratelimit-remaining-tokens'], '20')
})

t.test('an upstream that fails or refuses gives everything back', async (t) => {
  const upstream = await FakeUpstream.start(t, answer({ error: {} }, { status: 500 }))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 100/min }]',
  })
  for (let call = 0; call < 5; call++) {
    t.equal((await site.send({ body: capped(80) })).status, 500)
    await settled(site)
  }
  upstream.behaviour = (_received, response) => void response.socket?.destroy()
  t.equal((await site.send({ body: capped(80) })).status, 502)
  await settled(site)
  upstream.behaviour = answer(used(1, 1))
  t.equal((await site.send({ body: capped(80) })).status, 200)
})

t.test('a client that leaves is charged what was produced', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 10000/min }]',
  })
  const { response } = await open(site.url, {
    key: site.key,
    body: chat('hi', { stream: true, max_tokens: 5_000 }),
  })
  const seen = new Promise((resolve) => response.once('data', resolve))
  hand.write(chatEvent('word '.repeat(400)))
  await seen
  response.destroy()
  await settled(site)
  const estimated = await estimatedOf(site)
  t.ok(estimated >= 500 && estimated <= 600, `${estimated} tokens for 2000 characters`)
  upstream.behaviour = answer(used(1, 1))
  const left = await remaining(site)
  t.ok(left > 9_000, `${left}: the reservation was given back`)
})

t.test('a client that leaves before the answer is charged what was set aside', async (t) => {
  const upstream = await FakeUpstream.start(t, () => {})
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 10000/min, reserve_output: 300 }]',
  })
  const left = new AbortController()
  const call = fetch(`${site.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${site.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(chat('hi')),
    signal: left.signal,
  })
  await until('the call to arrive', () => upstream.received.length === 1)
  left.abort()
  await call.catch(() => null)
  await settled(site)
  const estimated = await estimatedOf(site)
  t.ok(estimated > 300 && estimated < 350, `${estimated}`)
})

t.test('usage that a stream reports is what is charged', async (t) => {
  const usage = { prompt_tokens: 40, completion_tokens: 50 }
  const last = `data: ${JSON.stringify({ id: 'c', choices: [], usage })}\n\n`
  const upstream = await FakeUpstream.start(t, stream([chatEvent('hi'), last, DONE]))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    usage: 'ask',
    limits: '[{ id: tpm, per: tenant, tokens: 100/min }]',
  })
  const body = chat('hi', { stream: true, max_tokens: 10 })
  t.equal((await site.send({ body })).status, 200)
  await settled(site)
  const refused = await site.send({ body: capped(10) })
  t.equal(refused.headers['x-ratelimit-remaining-tokens'], '10')
})

t.test('a refusal by concurrency burns neither requests nor tokens', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: `
  - { id: one, per: key, concurrent: 1 }
  - { id: few, per: key, requests: 3/50s }
  - { id: tpm, per: tenant, tokens: 200/min }`,
  })
  const { response } = await open(site.url, {
    key: site.key,
    body: chat('hi', { stream: true, max_tokens: 10 }),
  })
  for (let call = 0; call < 10; call++) {
    t.match((await site.send({ body: capped(10) })).json.error?.message, 'limit "one"')
  }
  response.destroy()
  await settled(site)
  upstream.behaviour = answer(used(1, 1))
  const answered = await site.send({ body: capped(10) })
  t.equal(answered.status, 200)
  t.equal(answered.headers['x-governor-ratelimit-remaining-requests'], '1')
})

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

  await site.governor.stop()
  await site.open()
  t.equal((await site.send({ body: capped(100) })).status, 403, 'a restart forgets nothing')
})

t.test('a stream that reports its prompt first is charged its answer, too', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: tpm, per: tenant, tokens: 10000/min }]',
  })
  const { response } = await open(site.url, { key: site.key, body: chat('hi', { stream: true }) })
  const seen = new Promise((resolve) => response.once('data', resolve))
  const usage = { prompt_tokens: 1_000, completion_tokens: 1 }
  const first = { id: 'c', choices: [{ delta: { content: 'word '.repeat(400) } }], usage }
  hand.write(`data: ${JSON.stringify(first)}\n\n`)
  await seen
  response.destroy()
  await settled(site)
  const estimated = await estimatedOf(site)
  t.ok(estimated >= 1_500 && estimated <= 1_600, `${estimated}`)
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
