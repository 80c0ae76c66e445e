import { Agent } from 'node:http'

import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'
import t from 'tap'

import {
  type Event,
  FakeRealtime,
  type FakeSession,
  RealtimeClient,
} from '../support/fake-realtime.ts'
import {
  type InProcess,
  type Sections,
  startGovernor,
  UPSTREAM_KEY,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a response asked for over WebSocket passes the same policies and limits as `POST /v1/responses`.
 * Method: OpenAI's own client and a bare one, a provider that a test drives by hand.
 */

const PATH = '/v1/responses'
const POLICIES = `
  - { id: answers, allow: { operations: [chat], models: ['gpt-5*'] } }
  - { id: codename, deny: { input: { words: [zeus] } }, message: This stays inside }
  - { id: secret, deny: { output: { words: [bluebird] } }, message: Not to be said }
  - { id: cap, set: { max_output_tokens: { at_most: 200 } } }
  - { id: mask, redact: { input: { detect: [email] } } }`
const USAGE = { input_tokens: 20, output_tokens: 10, total_tokens: 30 }

/** A response as the provider tells of it: only its first and last event name it. */
function answer(session: FakeSession, id: string, pieces: readonly string[], more = {}): void {
  session.send({ type: 'response.created', response: { id, status: 'in_progress' }, ...more })
  for (const delta of pieces) {
    session.send({
      type: 'response.output_text.delta',
      item_id: 'i',
      output_index: 0,
      delta,
      ...more,
    })
  }
  const text = pieces.join('')
  session.send({ type: 'response.output_text.done', item_id: 'i', output_index: 0, text, ...more })
  const output = [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] }]
  const response = { id, status: 'completed', model: 'gpt-5-mini', output, usage: USAGE }
  session.send({ type: 'response.completed', response, ...more })
}

interface Parts {
  readonly upstream: FakeRealtime
  readonly site: InProcess
}

async function setUp(
  t: Parameters<typeof startGovernor>[0],
  sections: Sections = {},
): Promise<Parts> {
  const upstream = await FakeRealtime.start(t, { greets: false })
  let responses = 0
  upstream.script = (session, event) => {
    const lane = event['stream_id'] === undefined ? {} : { stream_id: event['stream_id'] }
    if (event.type === 'response.create')
      answer(session, `resp_${++responses}`, ['Hel', 'lo'], lane)
  }
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES, ...sections })
  return { upstream, site }
}

function open({ site }: Parts): Promise<RealtimeClient> {
  return RealtimeClient.open(site.url, site.key, PATH)
}

function create(input: string, more: object = {}): Event {
  return { type: 'response.create', model: 'gpt-5-mini', input, ...more }
}

t.test(
  'the real client: text, tools, a refusal, another model, and on from its own answer',
  async (t) => {
    const { upstream, site } = await setUp(t)
    const openai = new OpenAI({ apiKey: site.key, baseURL: `${site.url}/v1` })
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const client = new ResponsesWS(openai, { agent })
    const heard: string[] = []
    const errors: string[] = []
    const ended: string[] = []
    client.on('error', ({ message }) => errors.push(message))
    client.on('response.output_text.delta', ({ delta }) => heard.push(delta))
    client.on('response.completed', ({ response }) => ended.push(response.id))
    const tools = [{ type: 'function' as const, name: 'weather', parameters: {}, strict: false }]
    client.send({ type: 'response.create', model: 'gpt-5-mini', input: 'hi', tools })
    await until('the answer', () => ended.length === 1)
    t.equal(heard.join(''), 'Hello')
    const previous_response_id = ended[0]!
    const output = [
      { type: 'function_call_output' as const, call_id: 'c', output: '{"sky":"blue"}' },
    ]
    client.send({
      type: 'response.create',
      model: 'gpt-5-mini',
      input: output,
      previous_response_id,
    })
    await until('the next answer', () => ended.length === 2)
    client.send({ type: 'response.create', model: 'gpt-5-mini', input: 'about zeus' })
    await until('the refusal', () => errors.length === 1)
    client.send({ type: 'response.create', model: 'gpt-4o', input: 'hi' })
    await until('the other refusal', () => errors.length === 2)
    t.match(errors, [/This stays inside/, /polic/i])
    client.send({ type: 'response.create', model: 'gpt-5', input: 'hi' })
    await until('the third answer', () => ended.length === 3)
    t.equal(upstream.last.head.headers.authorization, `Bearer ${UPSTREAM_KEY}`)
    t.equal(upstream.last.head.url, PATH)
    t.strictSame(
      upstream.last.received.map(({ model }) => model),
      ['gpt-5-mini', 'gpt-5-mini', 'gpt-5'],
    )
    client.close()
    const outcomes = await site.bodiesOf('outcome', 4)
    t.match(
      outcomes.find(({ status }) => status === 101),
      { outcome: 'complete' },
    )
    t.match(outcomes[0], { outcome: 'complete', 'gen_ai.usage.input_tokens': 20 })
    const decisions = await site.bodiesOf('decision', 6)
    t.ok(decisions.every(({ operation, api }) => operation === 'chat' && api === 'responses'))
  },
)

t.test(
  'what a first event may not ask for closes the session, and no provider is called',
  async (t) => {
    const parts = await setUp(t)
    const cases: readonly [name: string, event: Event | string, code: string][] = [
      ['a model', create('hi', { model: 'gpt-4o' }), 'policy_denied'],
      ['no JSON', '{"type":"response.create"', 'body_invalid'],
      ['an event that is not known', { type: 'response.cancel' }, 'operation_unknown'],
      ['a model that is none', create('hi', { model: 5 }), 'model_invalid'],
    ]
    for (const [name, event, code] of cases) {
      const client = await open(parts)
      client.socket.send(typeof event === 'string' ? event : JSON.stringify(event))
      t.match(await client.hears('error'), { error: { code } }, name)
      t.match(await client.isClosed(), { code: 1008, reason: code.toUpperCase() }, name)
    }
    const binary = await open(parts)
    binary.socket.send(Buffer.from(JSON.stringify(create('hi'))))
    t.match(await binary.isClosed(), { code: 1008, reason: 'BODY_INVALID' })
    t.equal(parts.upstream.sessions.length, 0)
    const denied = await parts.site.bodiesOf('decision', cases.length + 1)
    t.ok(denied.every(({ decision }) => decision === 'deny'))
    t.equal(await parts.site.metric('governor_inflight_requests'), 0)
    await t.rejects(RealtimeClient.open(parts.site.url, 'nobody', PATH), { message: '401' })
  },
)

t.test('policies change what is asked, and see what is answered', async (t) => {
  const parts = await setUp(t)
  const client = await open(parts)
  client.socket.send(
    '{"type":"response.create","model":"gpt-5","input":"to jo@example.com","max_output_tokens":500}',
  )
  await client.hears('response.completed')
  t.strictSame(parts.upstream.last.texts, [
    '{"type":"response.create","model":"gpt-5","input":"to [EMAIL_1]","max_output_tokens":200}',
  ])
  parts.upstream.script = (session) => answer(session, 'resp_bad', ['a blue', 'bird'])
  const from = client.heard.length
  client.send(create('what bird'))
  t.match(await client.hears('error', from), { status: 403, error: { code: 'policy_denied' } })
  parts.upstream.script = (session) => answer(session, 'resp_good', ['a robin'])
  client.send(create('another'))
  await client.hears('response.completed', from)
  t.notMatch(JSON.stringify(client.heard), /bluebird|bird"/)
  const { response } = (await client.hears('response.completed', from)) as Event & {
    response: Event
  }
  t.equal(response['id'], 'resp_good')
  const refused = await until('the refused answer', () => {
    return parts.site.entries().find(({ body }) => body['outcome'] === 'refused')?.body ?? null
  })
  t.match(refused, { 'gen_ai.usage.output_tokens': 10 })
  client.socket.close()
})

t.test(
  'a response of elsewhere is a reference nobody has seen, one of this session is not',
  async (t) => {
    const parts = await setUp(t)
    const client = await open(parts)
    client.send(create('hi', { previous_response_id: 'resp_of_somebody' }))
    t.match(await client.hears('error'), { error: { code: 'policy_denied' } })
    client.send(create('hi'))
    await client.hears('response.completed')
    const from = client.heard.length
    client.send(create('on', { previous_response_id: 'resp_1' }))
    await client.hears('response.completed', from)
    client.send({ type: 'response.steer', previous_response_id: 'resp_2', input: 'zeus' })
    t.match(await client.hears('error', from), { error: { code: 'policy_denied' } })
    client.send({ type: 'response.steer', previous_response_id: 'resp_2', input: 'faster' })
    await until('it to arrive', () => parts.upstream.last.received.length === 3)
    t.match(parts.upstream.last.received.at(-1), { type: 'response.steer', input: 'faster' })
    client.socket.close()
  },
)

t.test('two conversations on one socket are told apart', async (t) => {
  const parts = await setUp(t)
  const client = await open(parts)
  const held: Event[] = []
  parts.upstream.script = (_, event) => void held.push(event)
  client.send(create('one', { stream_id: 'a' }))
  client.send(create('two', { stream_id: 'b' }))
  await until('both', () => held.length === 2)
  answer(parts.upstream.last, 'resp_b', ['B'], { stream_id: 'b' })
  answer(parts.upstream.last, 'resp_a', ['a blue', 'bird'], { stream_id: 'a' })
  t.match(await client.hears('error'), { error: { code: 'policy_denied' } })
  const outcomes = await parts.site.bodiesOf('outcome', 2)
  t.match(outcomes, [
    { outcome: 'complete', 'gen_ai.response.id': 'resp_b' },
    { outcome: 'refused', 'gen_ai.response.id': 'resp_a' },
  ])
  client.socket.close()
})

t.test('limits count each response, tokens are settled, and the session goes on', async (t) => {
  const parts = await setUp(t, { limits: '[{ id: few, per: key, requests: 3/1h }]' })
  const client = await open(parts)
  for (let asked = 0; asked < 3; asked++) client.send(create('hi'))
  const { error } = await client.hears('error')
  t.match(error, { code: /rate_limit_exceeded|insufficient_quota/ })
  t.equal(parts.upstream.last.received.length, 2)
  t.equal(client.closed, null)
  client.socket.close()
})

t.test('an error of the provider ends the response it is about', async (t) => {
  const parts = await setUp(t)
  parts.upstream.script = (session) => {
    session.send({ type: 'error', status: 400, error: { code: 'previous_response_not_found' } })
  }
  const client = await open(parts)
  client.send(create('hi'))
  t.match(await client.hears('error'), { error: { code: 'previous_response_not_found' } })
  t.match(await parts.site.bodiesOf('outcome', 1), [{ outcome: 'upstream_failed' }])
  parts.upstream.script = (session) => {
    session.send({ type: 'response.created', response: { id: 'resp_x' } })
    session.send({ type: 'error', code: 'server_error', message: 'broke', sequence_number: 1 })
  }
  client.send(create('hi'))
  t.match((await parts.site.bodiesOf('outcome', 2)).at(-1), { outcome: 'upstream_failed' })
  parts.upstream.last.socket.terminate()
  t.match(await client.isClosed(), { code: 1011, reason: 'UPSTREAM_FAILED' })
})

/** A provider that says no to something while a response of 1,000 tokens goes on. */
async function interrupted(t: Parameters<typeof setUp>[0], asking: readonly Event[]) {
  const limits = '[{ id: tokens, per: tenant, tokens: 100000/1h }]'
  const parts = await setUp(t, { limits })
  let asked = 0
  parts.upstream.script = (session) => {
    if (++asked === 1) {
      session.send({ type: 'response.created', response: { id: 'resp_1' } })
    } else session.send({ type: 'error', status: 400, error: { code: 'busy' } })
  }
  const client = await open(parts)
  client.send(create('one'))
  await client.hears('response.created')
  for (const event of asking) client.send(event)
  await client.hears('error')
  await parts.site.metric('governor_inflight_requests')
  const { last } = parts.upstream
  const item = { type: 'response.output_text.delta', item_id: 'i', output_index: 0 }
  for (const delta of ['a blue', 'bird']) last.send({ ...item, delta })
  const usage = { input_tokens: 20, output_tokens: 1000, total_tokens: 1020 }
  const response = { id: 'resp_1', model: 'gpt-5-mini', output: [], usage }
  last.send({ type: 'response.completed', response })
  return { ...parts, client }
}

for (const [about, event] of [
  ['another response', create('two')],
  ['what was added', { type: 'response.steer', input: 'faster' }],
] as const) {
  t.test(`an error about ${about} does not take a response out of sight`, async (t) => {
    const { client, site } = await interrupted(t, [event])
    t.match(await client.hears('error', client.heard.findIndex(isError) + 1), {
      error: { code: 'policy_denied' },
    })
    const outcomes = await until('its outcome', () => {
      const found = site.entries().filter(({ body }) => body['gen_ai.response.id'] === 'resp_1')
      return found.length > 0 ? found : null
    })
    t.match(outcomes, [{ body: { outcome: 'refused', 'gen_ai.usage.output_tokens': 1000 } }])
    t.notMatch(JSON.stringify(client.heard), 'bird')
    client.socket.close()
  })
}

const isError = ({ type }: Event) => type === 'error'

t.test('what was added and taken is no reason to wait when its response breaks', async (t) => {
  const parts = await setUp(t)
  const { upstream } = parts
  upstream.script = (session, event) => {
    if (event.type === 'response.create') {
      session.send({ type: 'response.created', response: { id: 'resp_1' } })
    } else
      session.send({ type: 'response.steer.accepted', steer: { id: 's', response_id: 'resp_1' } })
  }
  const client = await open(parts)
  client.send(create('one'))
  await client.hears('response.created')
  client.send({ type: 'response.steer', input: 'faster' })
  await client.hears('response.steer.accepted')
  upstream.last.send({ type: 'response.steer.failed', steer: { id: 's' }, error: { code: 'late' } })
  upstream.last.send({ type: 'error', status: 500, error: { code: 'broke' } })
  const outcomes = await parts.site.bodiesOf('outcome', 2)
  t.match(
    outcomes.filter(({ outcome }) => outcome === 'upstream_failed'),
    [{ api: undefined }],
    'settled while the session is open',
  )
  t.equal(client.closed, null)
  client.socket.close()
})

t.test('a response that begins twice is settled twice, and the session can end', async (t) => {
  const parts = await setUp(t)
  parts.upstream.script = (session) => {
    session.send({ type: 'response.created', response: { id: 'resp_1' } })
  }
  const client = await open(parts)
  client.send(create('one'))
  await client.hears('response.created')
  client.send(create('two'))
  await client.hears('response.created', 1)
  client.socket.close()
  t.match(await parts.site.bodiesOf('outcome', 3), [
    { outcome: 'upstream_failed' },
    { outcome: 'client_closed' },
    { outcome: 'complete', status: 101 },
  ])
})

t.test('a response behind one that failed is decided when it begins', async (t) => {
  const parts = await setUp(t)
  const { upstream } = parts
  upstream.script = () => {}
  const client = await open(parts)
  client.send(create('one'))
  client.send(create('two'))
  await until('both', () => upstream.sessions[0]?.received.length === 2)
  upstream.last.send({ type: 'response.created', response: { id: 'resp_1' } })
  upstream.last.send({ type: 'error', status: 500, error: { code: 'broke' } })
  answer(upstream.last, 'resp_2', ['a blue', 'bird'])
  const outcomes = await parts.site.bodiesOf('outcome', 3)
  t.match(
    outcomes.find((each) => each['gen_ai.response.id'] === 'resp_2'),
    { outcome: 'refused' },
  )
  t.equal(outcomes.filter(({ outcome }) => outcome === 'upstream_failed').length, 2)
  await until('the refusal', () => client.heard.filter(isError).length === 2)
  t.match(client.heard.findLast(isError), { error: { code: 'policy_denied' } })
  client.socket.close()
})

t.test('who says nothing, or leaves before it, is let go and holds no place', async (t) => {
  const parts = await setUp(t, { timeouts: '{ idle: 1s }' })
  const silent = await open(parts)
  t.match(await silent.isClosed(), { code: 1008, reason: 'BODY_TIMEOUT' })
  const gone = await open(parts)
  gone.socket.terminate()
  await until('no call under way', async () => {
    return (await parts.site.metric('governor_inflight_requests')) === 0
  })
  t.equal(parts.upstream.sessions.length, 0)
})
