import t from 'tap'

import { chat } from '../support/client.ts'
import { after, answer, FakeUpstream } from '../support/fake-upstream.ts'
import { capped, remaining, settled, used } from '../support/spending.ts'
import { startGovernor } from '../support/start-governor.ts'

/**
 * Goal: limits on tokens hold where those of other gateways are known not to. Method: the known
 * failures, each through the running proxy, with figures of which the sum is known.
 */

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

t.test('a long prompt is not counted low by what it ends with', async (t) => {
  const site = await startGovernor(t, {
    limits: '[{ id: tpm, per: tenant, tokens: 300k/min }]',
    policies: `
  - { id: all, allow: { models: ['*'] } }
  - { id: short, mode: shadow, deny: { input: { max_tokens: 500000 } } }
  - { id: shorter, deny: { roles: [dev], input: { max_tokens: 700000 } } }`,
  })
  // 300,000 units of prose, then as many of emoji, of which hardly any fits into what is looked at at once.
  const prompt = `${'prose '.repeat(50_000)}${'\u{1f600}'.repeat(150_000)}`
  const answer = await site.send({ body: chat(prompt) })
  t.equal(answer.status, 200)
  const [decision] = await site.entriesOf(String(answer.headers['x-governor-request-id']), 1)
  t.match(decision!.body, { policies: [{ id: 'all' }, { id: 'short', result: 'denied' }] })
  const [charged] = (decision!.body['limits'] as { charged: { reserved: number }[] }).charged
  t.equal(charged!.reserved, 300_000, 'no more than fits, so that it passes at all')
})
