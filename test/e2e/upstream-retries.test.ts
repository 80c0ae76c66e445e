import t from 'tap'

import { begin, chat, send } from '../support/client.ts'
import {
  answer,
  type Behaviour,
  FakeUpstream,
  hangBeforeHeaders,
  resetMidStream,
} from '../support/fake-upstream.ts'
import {
  configText,
  type InProcess,
  startGovernor,
  writeConfig,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: what failed before anybody worked on it is tried again, everything else is told; one call
 * stays one decision, one outcome and one charge. Method: upstreams that fail so many times, then
 * answer.
 */

const RETRY = 'retry: { attempts: 2, wait_max: 30s }'
const LIMITS =
  '[{ id: r, per: key, requests: 100/1h }, { id: t, per: key, tokens: 100k/1h, reserve_output: 50 }]'

const away = answer({ error: { message: 'away' } }, { status: 503 })
const reset: Behaviour = (_received, response) => void response.socket?.resetAndDestroy()

/** One behaviour so many times, then the usual answer. */
function first(count: number, behaviour: Behaviour): Behaviour {
  let calls = 0
  return (received, response) => {
    calls += 1
    return calls <= count ? behaviour(received, response) : answer()(received, response)
  }
}

function limited(headers: Record<string, string>): Behaviour {
  return answer({}, { status: 429, headers })
}

async function entriesOf(site: InProcess, headers: Record<string, unknown>) {
  const entries = await site.entriesOf(String(headers['x-governor-request-id']), 2)
  return entries.map(({ body }) => body)
}

t.test('an answer that says "not now" is asked for again, and is one call', async (t) => {
  const upstream = await FakeUpstream.start(t, first(2, away))
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY, limits: LIMITS })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 200)
  t.equal(upstream.received.length, 3)
  t.equal(new Set(upstream.received.map(({ sha256 }) => sha256)).size, 1, 'the same bytes')
  const entries = await entriesOf(site, answered.headers)
  t.equal(entries.length, 2)
  t.match(entries[0], { kind: 'decision', decision: 'allow', upstream: 'up' })
  t.match(entries[1], { kind: 'outcome', outcome: 'complete', status: 200, tries: 3 })
  t.match(entries[1], { limits: { charged: [{ id: 't', what: 'tokens', amount: 7 }] } })
  t.notOk('upstream' in entries[1]!, 'it stayed where it was')
  t.equal(answered.headers['x-governor-ratelimit-remaining-requests'], '99', 'one charge')
  t.equal(await site.metric('governor_upstream_retries_total', 'upstream="up"'), 2)
  t.equal(await site.metric('governor_requests_total'), 1)
})

t.test('tries end, and the last answer is the answer', async (t) => {
  const upstream = await FakeUpstream.start(t, away)
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 503)
  t.strictSame(answered.json, { error: { message: 'away' } })
  t.equal(upstream.received.length, 3)
})

t.test('without `retry` a failure is told at once', async (t) => {
  const upstream = await FakeUpstream.start(t, first(1, away))
  const site = await startGovernor(t, { upstream: upstream.url })
  t.equal((await site.send({ body: chat('hi') })).status, 503)
  t.equal(upstream.received.length, 1)
})

t.test("a provider's limit is waited for when that is short", async (t) => {
  const upstream = await FakeUpstream.start(t, first(1, limited({ 'retry-after-ms': '20' })))
  const site = await startGovernor(t, { upstream: upstream.url, more: 'retry: {}' })
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.ok(upstream.received[1]!.atMs - upstream.received[0]!.atMs >= 20)

  upstream.behaviour = first(1, limited({ 'retry-after': '60' }))
  const told = await site.send({ body: chat('hi') })
  t.equal(told.status, 429)
  t.equal(told.headers['retry-after'], '60')
  t.equal(upstream.received.length, 3)
})

t.test('what may have been billed is not asked for again unless the file says so', async (t) => {
  const upstream = await FakeUpstream.start(t, first(1, reset))
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY })
  t.equal((await site.send({ body: chat('hi') })).status, 502)
  t.equal(upstream.received.length, 1)

  upstream.behaviour = hangBeforeHeaders
  const slow = await startGovernor(t, {
    upstream: upstream.url,
    more: `${RETRY}, timeouts: { first_byte: 200ms }`,
  })
  t.equal((await slow.send({ body: chat('hi') })).status, 504, "by the upstream's own time-out")
  t.equal(upstream.received.length, 2)

  upstream.behaviour = first(1, reset)
  const twice = await startGovernor(t, {
    upstream: upstream.url,
    more: 'retry: { maybe_billed: true }',
  })
  t.equal((await twice.send({ body: chat('hi') })).status, 200)
  t.equal(upstream.received.length, 4)
})

t.test('nothing is asked for again once an answer has begun', async (t) => {
  const upstream = await FakeUpstream.start(t, resetMidStream())
  const more = 'retry: { maybe_billed: true }'
  const site = await startGovernor(t, { upstream: upstream.url, more })
  const answered = await site.send({ body: chat('hi', { stream: true }) })
  t.match(answered.text, /upstream_failed/)
  t.equal(upstream.received.length, 1)
})

t.test('what makes something is asked for once', async (t) => {
  const upstream = await FakeUpstream.start(t, away)
  const policies = '[{ id: all, allow: {} }]'
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY, policies })
  const body = { input_file_id: 'file-1', endpoint: '/v1/embeddings', completion_window: '24h' }
  await site.send({ path: '/v1/batches', body })
  t.ok(upstream.received.length < 2)
})

t.test('a provider in trouble is not called several times as often', async (t) => {
  const upstream = await FakeUpstream.start(t, away)
  const more = 'retry: { attempts: 5, wait_max: 10ms, budget: 0 }'
  const site = await startGovernor(t, { upstream: upstream.url, more })
  const calls = Array.from({ length: 30 }, () => site.send({ body: chat('hi') }))
  const statuses = (await Promise.all(calls)).map(({ status }) => status)
  t.strictSame(
    statuses,
    Array.from({ length: 30 }, () => 503),
  )
  t.equal(upstream.received.length, 40, 'ten in stock and no more')
})

t.test('a client that leaves while its call waits is not called for, nor charged', async (t) => {
  const wait = answer({}, { status: 429, headers: { 'retry-after': '20' } })
  const upstream = await FakeUpstream.start(t, first(1, wait))
  const limits = `${LIMITS.slice(0, -1)}, { id: c, per: key, concurrent: 1 }]`
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY, limits })
  const { request, response } = begin(site.url, { key: site.key, body: chat('hi') })
  response.catch(() => {})
  await until('the wait', async () => {
    return (await site.metric('governor_upstream_retries_total')) === 1
  })
  request.destroy()
  const outcome = await until('the outcome', () => {
    return site.entries().find(({ kind }) => kind === 'outcome')
  })
  t.match(outcome.body, { outcome: 'client_closed', code: 'CLIENT_CLOSED', status: 0 })
  t.notOk('estimated_tokens' in outcome.body, 'nobody worked on it')
  t.equal(upstream.received.length, 1)
  const next = await site.send({ body: chat('next') })
  t.equal(next.status, 200, 'its place is free again')
  t.equal(upstream.received.length, 2)
})

t.test('a reload while a call waits leaves it what it began with', async (t) => {
  const wait = answer({}, { status: 429, headers: { 'retry-after': '1' } })
  const upstream = await FakeUpstream.start(t, first(1, wait))
  const other = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY })
  const waiting = site.send({ body: chat('hi') })
  await until('the wait', async () => {
    return (await site.metric('governor_upstream_retries_total')) === 1
  })
  writeConfig(site.file, configText({ upstream: other.url }))
  await site.governor.reload(site.load())
  t.equal((await site.send({ body: chat('new') })).status, 200)
  t.equal((await waiting).status, 200)
  t.strictSame([upstream.received.length, other.received.length], [2, 1])
})

t.test('a shutdown does not wait for a retry longer than it may', async (t) => {
  const wait = answer({}, { status: 429, headers: { 'retry-after': '20' } })
  const upstream = await FakeUpstream.start(t, wait)
  const site = await startGovernor(t, { upstream: upstream.url, more: RETRY })
  const waiting = send(site.url, { key: site.key, body: chat('hi') })
  await until('the wait', async () => {
    return (await site.metric('governor_upstream_retries_total')) === 1
  })
  const stopped = site.governor.stop(50)
  t.equal((await waiting).headers['x-governor-code'], 'DRAINING')
  await stopped
  t.equal(upstream.received.length, 1)
})
