import t from 'tap'

import { type Event, FakeRealtime, PATH, RealtimeClient, said } from '../support/fake-realtime.ts'
import {
  type InProcess,
  type Sections,
  startGovernor,
  UPSTREAM_KEY,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a realtime session passes the same door as every other call, event by event. Method: a real
 * WebSocket client and a real provider of sessions, with Governor between them.
 */

const POLICIES = `
  - { id: sessions, allow: { operations: [realtime], models: ['gpt-realtime*'] } }
  - { id: codename, deny: { input: { matches: '(?i)project[- ]zeus' } }, message: This stays inside }
  - { id: no-shell, deny: { when: "'shell' in request.tools" } }`

interface Parts {
  readonly upstream: FakeRealtime
  readonly site: InProcess
}

type Test = Parameters<typeof startGovernor>[0]

async function setUp(t: Test, sections: Sections = {}): Promise<Parts> {
  const upstream = await FakeRealtime.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES, ...sections })
  return { upstream, site }
}

function open({ site }: Parts, path?: string): Promise<RealtimeClient> {
  return RealtimeClient.open(site.url, site.key, path)
}

function entriesOf(site: InProcess, api: string, count: number) {
  return until(`${count} entries of ${api}`, () => {
    const all = site.entries()
    const ids = all.filter(({ body }) => body['api'] === api).map(({ requestId }) => requestId)
    const found = all.filter(({ requestId }) => ids.includes(requestId))
    return found.length >= count ? found : null
  })
}

t.test('a session: opened with our credential, answered, recorded event by event', async (t) => {
  const parts = await setUp(t)
  const client = await open(parts)
  await client.hears('session.created')
  const update: Event = {
    type: 'session.update',
    session: { type: 'realtime', instructions: 'Be kind' },
  }
  client.send(update)
  await client.hears('session.updated')
  client.send(said('hello'))
  client.send({ type: 'response.create', event_id: 'e1' })
  await client.hears('response.done')
  const { head, texts } = parts.upstream.last
  t.equal(head.headers.authorization, `Bearer ${UPSTREAM_KEY}`)
  t.equal(head.headers['sec-websocket-extensions'], undefined)
  t.notOk(JSON.stringify(head.rawHeaders).includes(parts.site.key.split('.')[1]!))
  t.equal(head.url, PATH)
  t.strictSame(texts, [
    JSON.stringify(update),
    JSON.stringify(said('hello')),
    '{"type":"response.create","event_id":"e1"}',
  ])
  t.strictSame(
    client.heard.filter(({ type }) => type.endsWith('delta')).map(({ delta }) => delta),
    ['Hello ', 'there'],
  )
  t.match(client.headers, { 'x-governor-decision': 'allow', 'x-governor-request-id': /./ })
  client.socket.close()
  await client.isClosed()
  const [session, ended] = await entriesOf(parts.site, 'realtime', 2)
  t.match(session!.body, { decision: 'allow', operation: 'realtime' })
  t.match(ended!.body, { outcome: 'complete', status: 101 })
  const [decision, outcome] = await entriesOf(parts.site, 'realtime.response.create', 2)
  t.match(decision!.body, { decision: 'allow', session: session!.requestId })
  t.match(outcome!.body, {
    outcome: 'complete',
    'gen_ai.usage.input_tokens': 20,
    'gen_ai.usage.output_tokens': 10,
    'gen_ai.usage.cache_read.input_tokens': 4,
    'gen_ai.response.id': 'resp_1',
  })
  await entriesOf(parts.site, 'realtime.session.update', 2)
  await entriesOf(parts.site, 'realtime.conversation.item.create', 2)
})

t.test('who is not let in hears so before the upgrade, and the provider nothing', async (t) => {
  const parts = await setUp(t)
  const { site, upstream } = parts
  await t.rejects(RealtimeClient.open(site.url, 'nobody'), { message: '401' })
  await t.rejects(open(parts, '/v1/realtime?model=gpt-4o'), { message: '403' })
  await t.rejects(open(parts, '/v1/realtime'), { message: '400' })
  await t.rejects(open(parts, '/v1/realtime?model=gpt-realtime&model=gpt-4o'), { message: '400' })
  await t.rejects(open(parts, '/v1/realtime?call_id=rtc_1'), { message: '400' })
  await t.rejects(open(parts, '/v1/embeddings'), { message: '405' })
  t.equal(upstream.sessions.length, 0)
  const plain = await site.send({ method: 'GET', path: PATH })
  t.equal(plain.status, 403)
  t.equal(await site.metric('governor_inflight_requests'), 0)
})

t.test(
  'a key comes in a subprotocol where headers cannot be set, and goes no further',
  async (t) => {
    const { WebSocket } = await import('ws')
    const { site, upstream } = await setUp(t)
    const offered = ['realtime', `openai-insecure-api-key.${site.key}`, 'other']
    const client = new RealtimeClient(new WebSocket(site.url.replace('http', 'ws') + PATH, offered))
    await client.hears('session.created')
    t.equal(client.socket.protocol, 'realtime')
    t.equal(upstream.last.head.headers['sec-websocket-protocol'], 'realtime')
    client.socket.close()
  },
)

t.test('subprotocols that are no list of different words are refused', async (t) => {
  const { request } = await import('node:http')
  const { site, upstream } = await setUp(t)
  const name = 'openai-insecure-api-key.'
  const twoKeys = `${name}${site.key}, ${name}gov_other.key`
  for (const offered of ['realtime, realtime', 'realtime,', 'a b', '', twoKeys]) {
    for (const path of offered === twoKeys ? [PATH] : [PATH, '/v1/responses']) {
      const upgrade = request(site.url + path, {
        headers: {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
          'sec-websocket-protocol': offered,
          ...(offered !== twoKeys && { authorization: `Bearer ${site.key}` }),
        },
      }).end()
      const status = await new Promise((resolve) => {
        upgrade.on('response', (response) => resolve(response.statusCode))
        upgrade.on('upgrade', (_, socket) => resolve(socket.destroy() && 101))
      })
      t.equal(status, 400, `${path} "${offered}"`)
    }
  }
  t.equal(upstream.sessions.length, 0)
})

const REFUSED: readonly { name: string; event: Event | string; code: string }[] = [
  { name: 'a word of an item', event: said('about Project Zeus'), code: 'policy_denied' },
  {
    name: 'a word of the instructions',
    event: { type: 'session.update', session: { instructions: 'project zeus' } },
    code: 'policy_denied',
  },
  {
    name: 'a word in what a response is asked for',
    event: { type: 'response.create', response: { instructions: 'project-zeus' } },
    code: 'policy_denied',
  },
  {
    name: 'a word in the arguments of a tool',
    event: {
      type: 'conversation.item.create',
      item: { type: 'function_call_output', call_id: 'c', output: '{"a":"Project\\u0020Zeus"}' },
    },
    code: 'policy_denied',
  },
  {
    name: 'a word in an id',
    event: { type: 'response.cancel', response_id: 'project-zeus' },
    code: 'policy_denied',
  },
  {
    name: 'a tool',
    event: {
      type: 'session.update',
      session: { tools: [{ type: 'function', name: 'shell', parameters: {} }] },
    },
    code: 'policy_denied',
  },
  {
    name: 'audio, which nobody can read here',
    event: { type: 'input_audio_buffer.append', audio: 'QUJD'.repeat(100) },
    code: 'policy_denied',
  },
  {
    name: 'a picture',
    event: {
      type: 'conversation.item.create',
      item: {
        type: 'message',
        role: 'user',
        content: [{ type: 'input_image', image_url: 'data:image/png;base64,AAAA' }],
      },
    },
    code: 'policy_denied',
  },
  {
    name: 'a stored prompt',
    event: { type: 'response.create', response: { prompt: { id: 'pmpt_1' } } },
    code: 'policy_denied',
  },
  {
    name: 'an event that is not known',
    event: { type: 'session.destroy' },
    code: 'operation_unknown',
  },
  { name: 'no JSON', event: '{"type":"response.create"', code: 'body_invalid' },
  {
    name: 'a member sent twice',
    event: '{"type":"response.cancel","type":"response.create"}',
    code: 'body_invalid',
  },
  {
    name: 'a member in another spelling',
    event: { type: 'response.create', Response: { instructions: 'x' } },
    code: 'field_invalid',
  },
]

t.test('what is refused is told as an error event, and the session goes on', async (t) => {
  const parts = await setUp(t)
  const client = await open(parts)
  await client.hears('session.created')
  for (const { name, event, code } of REFUSED) {
    const from = client.heard.length
    if (typeof event === 'string') client.socket.send(event)
    else client.send({ ...event, event_id: name })
    const { error } = await client.hears('error', from)
    t.match(
      error,
      { code, ...(typeof event === 'object' && code === 'policy_denied' && { event_id: name }) },
      name,
    )
  }
  t.strictSame(parts.upstream.last.texts, [])
  client.send({ type: 'response.create' })
  await client.hears('response.done')
  const denied = parts.site.entries().filter(({ body }) => body.decision === 'deny')
  t.equal(denied.length, REFUSED.length)
})

t.test('a session that asks for a model it may not have is closed', async (t) => {
  const parts = await setUp(t)
  const client = await open(parts)
  await client.hears('session.created')
  client.send({ type: 'session.update', session: { type: 'realtime', model: 'gpt-4o' } })
  t.match(await client.hears('error'), { error: { code: 'policy_denied' } })
  t.match(await client.isClosed(), { code: 1008 })
  t.strictSame(parts.upstream.last.texts, [])
  await until('the provider to hear of it', () => parts.upstream.last.closed !== 0)
})

t.test('audio passes where a policy says that it need not be read', async (t) => {
  const parts = await setUp(t, {
    policies: `${POLICIES}
  - { id: voices, allow: { operations: [realtime], uninspectable: [audio] } }`,
  })
  const client = await open(parts)
  const audio = 'QUJD'.repeat(1000)
  const piece = { type: 'input_audio_buffer.append', audio }
  for (let count = 0; count < 20; count++) client.send(piece)
  const event_id = '0f3b2c1d-0000-4000-8000-00aa11bb22cc'
  for (let count = 0; count < 20; count++) client.send({ event_id, ...piece })
  client.send({ type: 'input_audio_buffer.commit' })
  await until('all of it to arrive', () => parts.upstream.last?.received.length === 41)
  t.strictSame(parts.upstream.last.texts.slice(0, 40), [
    ...Array<string>(20).fill(JSON.stringify(piece)),
    ...Array<string>(20).fill(JSON.stringify({ event_id, ...piece })),
  ])
  const apis = parts.site.entries().map(({ body }) => body['api'])
  t.equal(apis.filter((api) => api === 'realtime.input_audio_buffer.append').length, 1)
  // Words beside it are looked at, also while audio passes.
  client.send({ ...piece, event_id: 'project-zeus' })
  t.match(await client.hears('error'), { error: { code: 'policy_denied' } })
  t.equal(parts.upstream.last.received.length, 41)
  client.socket.close()
})

t.test('what policies change of an event is changed in its bytes, and nothing else', async (t) => {
  const parts = await setUp(t, {
    policies: `${POLICIES}
  - { id: cap, set: { max_output_tokens: { default: 100, at_most: 200 } } }
  - { id: mask, redact: { input: { detect: [email] } } }`,
  })
  const client = await open(parts, '/up/v1/realtime?model=gpt-realtime')
  await client.hears('session.created')
  const texts = [
    '{"type":"response.create"}',
    '{ "type":"response.create", "response":{"max_output_tokens":"inf", "metadata":{}} }',
    '{"type":"session.update","session":{"max_output_tokens":4096}}',
    JSON.stringify(said('write to jane@example.com')),
  ]
  for (const text of texts) client.socket.send(text)
  const { last } = parts.upstream
  await until('all of them', () => last.received.length === texts.length)
  t.strictSame(last.texts, [
    '{"response":{"max_output_tokens":100},"type":"response.create"}',
    '{ "type":"response.create", "response":{"max_output_tokens":200, "metadata":{}} }',
    '{"type":"session.update","session":{"max_output_tokens":200}}',
    JSON.stringify(said('write to [EMAIL_1]')),
  ])
  const decisions = await entriesOf(parts.site, 'realtime.conversation.item.create', 2)
  t.match(decisions[0]!.body, { changed: ['redacted'] })
  client.socket.close()
})

t.test('with audit.content: full each event and its response are kept', async (t) => {
  const audit = '{ path: audit.db, content: full }'
  const parts = await setUp(t, { audit })
  const client = await open(parts)
  await client.hears('session.created')
  client.send(said('hello'))
  client.send({ type: 'response.create', event_id: 'e1' })
  await client.hears('response.done')
  const found = await until('the outcome of the response', async () => {
    const { stdout } = await parts.site.cli('audit', 'query', '--content', '--json')
    const calls = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    return calls.find(({ content }) => content?.length === 2)
  })
  const [prompt, answer] = found.content
  t.strictSame(JSON.parse(prompt.text), { type: 'response.create', event_id: 'e1' })
  const events = answer.text
    .trim()
    .split('\n')
    .map((line: string) => JSON.parse(line))
  const deltas = events.filter(({ type }: Event) => type.endsWith('delta'))
  t.strictSame(
    deltas.map(({ delta }: Event) => delta),
    ['Hello ', 'there'],
  )
})
