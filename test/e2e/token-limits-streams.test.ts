import t from 'tap'

import { chat, open } from '../support/client.ts'
import {
  answer,
  chatEvent,
  DONE,
  FakeUpstream,
  HandStream,
  stream,
} from '../support/fake-upstream.ts'
import { capped, estimatedOf, remaining, settled, used } from '../support/spending.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: limits on tokens count answers that flow, and those that nobody waits for to the end. */

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
