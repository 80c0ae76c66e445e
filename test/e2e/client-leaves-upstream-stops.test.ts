import { once } from 'node:events'

import t from 'tap'

import { begin, chat, open } from '../support/client.ts'
import {
  CHAT_EVENTS,
  FakeUpstream,
  hangBeforeHeaders,
  hangMidStream,
} from '../support/fake-upstream.ts'
import { RawConnection } from '../support/raw-http.ts'
import { type Entry, type InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a client that hangs up stops the upstream call, frees its place in the limits and leaves an
 * outcome that says so. Method: leave at each moment of a call, then look at all three.
 */

const ONE_AT_ONCE = '[{ id: one, per: key, concurrent: 1 }]'

async function callsEnded(site: InProcess, upstream: FakeUpstream): Promise<Entry> {
  await until('the upstream call to be cut', () => upstream.received[0]?.closedEarly)
  await until('nothing to be in flight', async () => {
    return (await site.metric('governor_inflight_requests')) === 0
  })
  const outcome = await until('the outcome', () => {
    return site.entries().find(({ kind }) => kind === 'outcome')
  })
  upstream.behaviour = (_received, response) => void response.writeHead(200).end('{}')
  const next = await site.send({ body: chat('next') })
  t.equal(next.status, 200, 'the only slot is free again')
  return outcome
}

t.test('a client that leaves before the answer begins', async (t) => {
  const upstream = await FakeUpstream.start(t, hangBeforeHeaders)
  const site = await startGovernor(t, { upstream: upstream.url, limits: ONE_AT_ONCE })
  const { request, response } = begin(site.url, { key: site.key, body: chat('hi') })
  response.catch(() => {})
  await until('the upstream to be called', () => upstream.last)
  request.destroy()
  const { body } = await callsEnded(site, upstream)
  t.match(body, { outcome: 'client_closed', code: 'CLIENT_CLOSED', status: 0 })
})

t.test('a client that leaves in the middle of a stream', async (t) => {
  const upstream = await FakeUpstream.start(t, hangMidStream())
  const site = await startGovernor(t, { upstream: upstream.url, limits: ONE_AT_ONCE })
  const { response } = await open(site.url, { key: site.key, body: chat('hi', { stream: true }) })
  await once(response, 'data')
  t.equal(await site.metric('governor_streams_open'), 1)
  response.destroy()
  const { body } = await callsEnded(site, upstream)
  t.match(body, { outcome: 'client_closed', status: 200 })
  t.equal(await site.metric('governor_streams_open'), 0)
})

t.test(
  'a client that leaves while it sends its body is recorded and never forwarded',
  async (t) => {
    const upstream = await FakeUpstream.start(t)
    const site = await startGovernor(t, { upstream: upstream.url })
    const connection = await RawConnection.open(site.url)
    connection.send(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${site.key}\r\n` +
        'content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"model"',
    )
    await until('the body to be held', async () => {
      return (await site.metric('governor_inflight_bytes')) === 1000
    })
    connection.destroy()
    const { body } = await until('the decision', () => {
      return site.entries().find(({ kind }) => kind === 'decision')
    })
    t.match(body, { decision: 'deny', code: 'CLIENT_CLOSED' })
    await until('the bytes to be given back', async () => {
      return (await site.metric('governor_inflight_bytes')) === 0
    })
    t.equal(upstream.received.length, 0)
  },
)

t.test('a client that leaves with a second request in the pipeline', async (t) => {
  const upstream = await FakeUpstream.start(t, hangBeforeHeaders)
  const site = await startGovernor(t, { upstream: upstream.url })
  const body = JSON.stringify(chat('hi', { stream: true }))
  const one =
    `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${site.key}\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  const connection = await RawConnection.open(site.url)
  connection.send(one + one)
  await until('both calls to be forwarded', () => upstream.received.length === 2)
  connection.destroy()
  await until('both upstream calls to be cut', () => {
    return upstream.received.every(({ closedEarly }) => closedEarly)
  })
  const outcomes = await until('both outcomes', () => {
    const found = site.entries().filter(({ kind }) => kind === 'outcome')
    return found.length === 2 ? found : null
  })
  t.strictSame(
    outcomes.map(({ body: { outcome } }) => outcome),
    ['client_closed', 'client_closed'],
  )
  t.equal(await site.metric('governor_inflight_requests'), 0)
})

t.test('a client that reads nothing is taken for gone', async (t) => {
  const event = `data: {"choices":[{"delta":{"content":"${'a'.repeat(64 * 1024)}"}}]}\n\n`
  const upstream = await FakeUpstream.start(t, (_received, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const pump = () => {
      while (!response.destroyed && response.write(event));
    }
    response.on('drain', pump)
    pump()
  })
  const site = await startGovernor(t, { upstream: upstream.url, timeouts: '{ idle: 1s }' })
  const { response } = await open(site.url, { key: site.key, body: chat('hi', { stream: true }) })
  response.pause()
  response.on('error', () => {})
  await until('the upstream call to be cut', () => upstream.received[0]?.closedEarly)
  const [, outcome] = await site.entriesOf(String(response.headers['x-governor-request-id']), 2)
  t.match(outcome?.body, { outcome: 'client_closed' })
  const passed = Number(outcome?.body['answer_bytes'])
  t.ok(passed < 32 * 1024 * 1024, `the upstream was held back at ${passed} bytes`)
})

t.test('a client that stays gets all of it', async (t) => {
  const upstream = await FakeUpstream.start(t, (_received, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(CHAT_EVENTS.join(''))
  })
  const site = await startGovernor(t, { upstream: upstream.url })
  const answer = await site.send({ body: chat('hi', { stream: true }) })
  t.equal(answer.text, CHAT_EVENTS.join(''))
  t.notOk(upstream.received[0]?.closedEarly)
})
