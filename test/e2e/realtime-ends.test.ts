import { Agent, type AgentOptions } from 'node:https'
import { connect } from 'node:net'

import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import t from 'tap'

import { FakeRealtime, RealtimeClient, said, USAGE } from '../support/fake-realtime.ts'
import {
  configText,
  type InProcess,
  type Sections,
  startGovernor,
  writeConfig,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: limits, policies on answers and the ends of a session hold, whoever ends it and however.
 * Method: a provider that a test drives by hand.
 */

const POLICIES = `
  - { id: sessions, allow: { operations: [realtime], uninspectable: [audio] } }
  - { id: codename, deny: { input: { words: [zeus] } } }
  - { id: secret, deny: { output: { words: [bluebird] } }, message: Not to be said }
  - { id: mask, redact: { output: { detect: [email] } } }`
const OPEN = '[{ id: sessions, allow: { operations: [realtime] } }]'

interface Parts {
  readonly upstream: FakeRealtime
  readonly site: InProcess
  readonly client: RealtimeClient
}

async function start(t: Parameters<typeof startGovernor>[0], sections: Sections): Promise<Parts> {
  const upstream = await FakeRealtime.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, ...sections })
  const client = await RealtimeClient.open(site.url, site.key)
  await client.hears('session.created')
  return { upstream, site, client }
}

/** Outcomes of one kind of event, once there are `count`. */
function outcomes(site: InProcess, api: string, count: number) {
  return until(`${count} outcomes of ${api}`, () => {
    const all = site.entries()
    const ids = all.filter(({ body }) => body['api'] === api).map(({ requestId }) => requestId)
    const found = all.filter(({ kind, requestId }) => kind === 'outcome' && ids.includes(requestId))
    return found.length >= count ? found.map(({ body }) => body) : null
  })
}

const RESPONSES = 'realtime.response.create'

/** The client insists on `wss:`; this speaks it without the TLS, as a proxy in front would. */
class PlainAgent extends Agent {
  override createConnection({ port }: AgentOptions & { port?: number }) {
    return connect(Number(port), '127.0.0.1')
  }
}

t.test('the real client: text, tools and a refusal', async (t) => {
  const { upstream, site } = await start(t, { policies: POLICIES })
  const openai = new OpenAI({ apiKey: site.key, baseURL: `${site.url}/v1` })
  const agent = new PlainAgent()
  t.teardown(() => agent.destroy())
  const client = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: { agent } }, openai)
  const heard: string[] = []
  const errors: (string | undefined)[] = []
  client.on('error', ({ error }) => errors.push(error?.code ?? undefined))
  client.on('response.output_text.delta', ({ delta }) => heard.push(delta))
  let calls = ''
  client.on('response.function_call_arguments.done', (event) => {
    calls = event.arguments
  })
  let isOpen = false
  client.on('session.created', () => {
    isOpen = true
  })
  await until('the session', () => isOpen)
  client.send({
    type: 'session.update',
    session: {
      type: 'realtime',
      instructions: 'Be kind',
      tools: [{ type: 'function', name: 'weather', parameters: { type: 'object' } }],
    },
  })
  client.send({ type: 'response.create' })
  await until('the answer', () => heard.join('') === 'Hello there')
  client.send({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'ask zeus' }] },
  })
  await until('the refusal', () => errors.join() === 'policy_denied')
  const id = upstream.last.begin()
  upstream.last.send({
    type: 'response.function_call_arguments.done',
    response_id: id,
    item_id: 'i',
    output_index: 0,
    call_id: 'c',
    arguments: '{"city":"Bern"}',
  })
  await until('the call', () => calls === '{"city":"Bern"}')
  t.strictSame(
    upstream.last.received.map(({ type }) => type),
    ['session.update', 'response.create'],
  )
  client.close()
})

t.test('policies see answers: a word cut in two is not said, an address is masked', async (t) => {
  const { upstream, site, client } = await start(t, { policies: POLICIES })
  upstream.script = (session, { type }) => {
    if (type === 'response.create') session.respond(['It is blue', 'bird', ' at last'])
  }
  client.send({ type: 'response.create', event_id: 'mine' })
  const { error } = await client.hears('error')
  t.match(error, { code: 'policy_denied', event_id: 'mine' })
  t.notMatch(JSON.stringify(client.heard), /bluebird|bird/)
  const [refused] = await outcomes(site, RESPONSES, 1)
  t.match(refused, { outcome: 'refused', 'gen_ai.usage.output_tokens': 10 })
  t.match(upstream.last.received.at(-1), { type: 'response.cancel', response_id: 'resp_1' })
  upstream.last.send({
    type: 'error',
    error: { type: 'invalid_request_error', event_id: 'governor_cancel', message: 'none active' },
  })

  const from = client.heard.length
  upstream.script = (session, { type }) => {
    if (type === 'response.create') session.respond(['Write to ja', 'ne@example', '.com now'])
  }
  client.send({ type: 'response.create' })
  await client.hears('response.done', from)
  const rest = client.heard.slice(from)
  t.notMatch(JSON.stringify(rest), /example\.com|none active/)
  const deltas = rest.filter(({ type }) => type === 'response.output_text.delta')
  t.equal(deltas.map(({ delta }) => delta).join(''), 'Write to [EMAIL_1] now')
  upstream.last.send({
    type: 'conversation.item.done',
    item: { type: 'message', role: 'assistant', content: [{ type: 'text', text: 'a bluebird' }] },
  })
  upstream.last.send({
    type: 'conversation.item.input_audio_transcription.completed',
    transcript: 'mail joe@example.com',
  })
  const { transcript } = await client.hears('conversation.item.input_audio_transcription.completed')
  t.match(transcript, /^mail \[EMAIL_1\]$/)
  t.notMatch(JSON.stringify(client.heard), /bluebird/)
})

t.test('a response the provider begins by itself is asked about, or stopped', async (t) => {
  const { upstream, site, client } = await start(t, {
    policies: OPEN,
    limits: '[{ id: few, per: key, requests: 2/1h }]',
  })
  const session = upstream.last
  session.respond(['one'])
  await client.hears('response.done')
  session.respond(['two'])
  t.match(await client.hears('error'), {
    error: { code: /rate_limit_exceeded|insufficient_quota/ },
  })
  await until('it to be stopped', () => session.received.at(-1)?.type === 'response.cancel')
  t.match(session.received.at(-1), { response_id: 'resp_2' })
  session.send({ type: 'rate_limits.updated' })
  await client.hears('rate_limits.updated')
  t.notMatch(JSON.stringify(client.heard), /two|resp_2/)
  t.equal((await outcomes(site, RESPONSES, 1)).length, 1)
})

t.test('tokens are settled with each response, and a place is held by the session', async (t) => {
  const { upstream, site, client } = await start(t, {
    policies: OPEN,
    limits: `[{ id: tpm, per: key, tokens: 50/1h, reserve_output: 10 },
      { id: one, per: key, concurrent: 1 }]`,
  })
  client.send({ type: 'response.create' })
  await client.hears('response.done')
  await outcomes(site, RESPONSES, 1)
  await t.rejects(RealtimeClient.open(site.url, site.key), { message: '429' })
  const from = client.heard.length
  client.send({ type: 'response.create' })
  await client.hears('response.done', from)
  client.send({ type: 'response.create' })
  t.match(await client.hears('error'), {
    error: { code: /rate_limit_exceeded|insufficient_quota/ },
  })
  t.equal(upstream.last.received.length, 2)
  client.send(said('still here'))
  await until('the next event', () => upstream.last.received.length === 3)
  client.socket.close()
  await until('the place to be free', async () => {
    const next = await RealtimeClient.open(site.url, site.key).catch(() => null)
    next?.socket.close()
    return next !== null
  })
})

t.test('a client that is gone ends the provider, and what was produced is charged', async (t) => {
  const { upstream, site, client } = await start(t, {
    policies: OPEN,
    limits: '[{ id: tpm, per: key, tokens: 5000/1h }]',
  })
  upstream.script = (session, { type }) => {
    if (type !== 'response.create') return
    const response_id = session.begin()
    session.send({ type: 'response.output_text.delta', response_id, delta: 'word '.repeat(50) })
  }
  client.send({ type: 'response.create' })
  await client.hears('response.output_text.delta')
  client.socket.terminate()
  await until('the provider to hear of it', () => upstream.last.closed !== 0)
  const [response] = await outcomes(site, RESPONSES, 1)
  t.match(response, { outcome: 'client_closed' })
  t.ok(Number(response!['estimated_tokens']) > 50, String(response!['estimated_tokens']))
  t.match(await outcomes(site, 'realtime', 1), [{ outcome: 'client_closed' }])
  t.equal(await site.metric('governor_inflight_requests'), 0)
  t.equal(await site.metric('governor_streams_open'), 0)
})

t.test('a provider that is gone is told as an error event and 1011', async (t) => {
  const { upstream, site, client } = await start(t, { policies: OPEN })
  upstream.script = (session) => {
    session.begin()
    session.socket.terminate()
  }
  client.send({ type: 'response.create' })
  t.match(await client.hears('error'), { error: { code: 'upstream_failed' } })
  t.match(await client.isClosed(), { code: 1011, reason: 'UPSTREAM_FAILED' })
  t.match(await outcomes(site, RESPONSES, 1), [{ outcome: 'upstream_failed' }])
})

t.test('a provider that says no event, or refuses the session', async (t) => {
  const { upstream, site, client } = await start(t, { policies: OPEN })
  upstream.last.socket.send('[1]')
  t.match(await client.isClosed(), { code: 1011 })
  const other = await startGovernor(t, { policies: OPEN })
  await t.rejects(RealtimeClient.open(other.url, other.key), { message: '502' })
  t.equal(await site.metric('governor_inflight_requests'), 0)
})

t.test('frames that are none: binary, not UTF-8, too large, in too many pieces', async (t) => {
  const { upstream, site, client } = await start(t, {
    policies: OPEN,
    maximums: '{ body: 64KiB }',
  })
  const big = JSON.stringify(said('x'.repeat(100_000)))
  const cases: readonly [string, (one: RealtimeClient) => void, number][] = [
    ['binary', (one) => one.socket.send(Buffer.from('{}')), 1003],
    [
      'not UTF-8',
      (one) => one.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false }),
      1007,
    ],
    ['too large', (one) => one.socket.send(big), 1009],
    [
      'too large in pieces',
      (one) => {
        for (const piece of [big.slice(0, 50_000), big.slice(50_000, 90_000)]) {
          one.socket.send(piece, { fin: false })
        }
        one.socket.send(big.slice(90_000))
      },
      1009,
    ],
    [
      'too many pieces',
      (one) => {
        for (let piece = 0; piece < 5000; piece++) one.socket.send(' ', { fin: false })
        one.socket.send('{}')
      },
      1008,
    ],
  ]
  for (const [name, send, code] of cases) {
    const one = await RealtimeClient.open(site.url, site.key)
    send(one)
    t.equal((await one.isClosed()).code, code, name)
  }
  for (const { received } of upstream.sessions) t.strictSame(received, [])
  const text = JSON.stringify(said('in three pieces'))
  client.socket.send(text.slice(0, 3), { fin: false })
  client.socket.ping()
  client.socket.send(text.slice(3, 20), { fin: false })
  client.socket.pong()
  client.socket.send(text.slice(20))
  await until('the event', () => upstream.sessions[0]!.texts.join() === text)
  t.equal(client.socket.extensions, '', 'the offer of compression is not taken')
})

t.test('a key that is revoked ends its session, and only its own', async (t) => {
  const { site, client, upstream } = await start(t, { policies: OPEN })
  const other = await site.createKey('other')
  const stays = await until('the other key', () => {
    return RealtimeClient.open(site.url, other).catch(() => null)
  })
  await site.cli('keys', 'revoke', site.key.split('.')[0]!)
  t.match(await client.isClosed(), { code: 1008, reason: 'AUTH_KEY_INVALID' })
  t.match(client.heard.at(-1), { type: 'error', error: { code: 'invalid_api_key' } })
  stays.send({ type: 'response.create' })
  await stays.hears('response.done')
  t.equal(upstream.sessions[1]!.closed, 0)
})

t.test('a new file decides what a session says next', async (t) => {
  const { site, client, upstream } = await start(t, { policies: OPEN })
  client.send(said('about zeus'))
  await until('it to pass', () => upstream.last.received.length === 1)
  writeConfig(site.file, configText({ upstream: upstream.url, policies: POLICIES }))
  await site.governor.reload(site.load())
  client.send(said('about zeus'))
  t.match(await client.hears('error'), { error: { code: 'policy_denied' } })
  t.equal(upstream.last.received.length, 1)
})

t.test(
  'shutting down ends an idle session at once, one that is answered when it was',
  async (t) => {
    const { site, client, upstream } = await start(t, { policies: OPEN })
    const busy = await RealtimeClient.open(site.url, site.key)
    upstream.script = (session) => void session.begin()
    busy.send({ type: 'response.create' })
    await busy.hears('response.created')
    const stopped = site.governor.stop(20_000)
    t.match(await client.isClosed(), { code: 1001, reason: 'DRAINING' })
    t.equal(busy.closed, null)
    upstream.last.send({ type: 'response.done', response: { id: 'resp_1', usage: USAGE } })
    await busy.hears('response.done')
    t.match(await busy.isClosed(), { code: 1001 })
    await stopped
  },
)

t.test('a session nobody uses is ended', async (t) => {
  const { client } = await start(t, { policies: OPEN, timeouts: '{ idle: 1s }' })
  t.match(await client.isClosed(), { code: 1001 })
})
