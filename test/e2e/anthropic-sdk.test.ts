import Anthropic, {
  APIError,
  AuthenticationError,
  PermissionDeniedError,
  RateLimitError,
} from '@anthropic-ai/sdk'
import t from 'tap'

import { FakeUpstream, resetMidStream } from '../support/fake-upstream.ts'
import {
  type InProcess,
  type Sections,
  startGovernor,
  UPSTREAM_KEY,
} from '../support/start-governor.ts'

/** Goal: Anthropic's own client works as if it spoke to Anthropic, and raises its own errors. */

type Test = Parameters<typeof startGovernor>[0]

const POLICIES = `
  - id: approved-models
    allow: { operations: ['*'], models: ['claude-*'] }
  - id: no-opus
    deny: { models: ['claude-opus-*'] }
    message: Opus needs an approval
  - id: codename
    deny: { input: { matches: '(?i)project[- ]zeus' } }`

const start = (t: Test, sections: Sections = {}) =>
  startGovernor(t, { dialect: 'anthropic', policies: POLICIES, ...sections })

/** The client, and how many requests it made. */
function clientOf(site: InProcess, options: ConstructorParameters<typeof Anthropic>[0] = {}) {
  const made = { requests: 0 }
  const client = new Anthropic({
    baseURL: site.url,
    apiKey: site.key,
    fetch: (input, init) => {
      made.requests += 1
      return fetch(input, init)
    },
    ...options,
  })
  return { client, made }
}

const call = (content: string, model = 'claude-sonnet-4-5') => ({
  model,
  max_tokens: 100,
  messages: [{ role: 'user' as const, content }],
})

async function thrown(promise: Promise<unknown>): Promise<APIError> {
  return promise.then(
    () => {
      throw new Error('It did not throw')
    },
    (error: unknown) => error as APIError,
  )
}

t.test('messages, whole and streamed, counts, batches and models', async (t) => {
  const site = await start(t)
  const { client } = clientOf(site)
  const whole = await client.messages.create(call('Say hello'))
  t.match(whole.content[0], { type: 'text', text: 'echo: Say hello' })
  const stream = client.messages.stream(call('Say hello'))
  t.equal(await stream.finalText(), 'echo: Say hello')
  const final = await stream.finalMessage()
  t.strictSame(final.usage.output_tokens, 3)
  const tools = [{ name: 'now', input_schema: { type: 'object' as const } }]
  t.ok((await client.messages.create({ ...call('a'), tools })).id)
  t.equal(
    (await client.messages.countTokens({ model: 'claude-a', messages: call('a b').messages }))
      .input_tokens,
    2,
  )
  const requests = [{ custom_id: 'c1', params: call('a') }]
  t.equal((await client.messages.batches.create({ requests })).processing_status, 'in_progress')
  t.equal((await client.messages.batches.cancel('msgbatch_1')).processing_status, 'canceling')
  const listed: string[] = []
  for await (const { id } of client.models.list({ limit: 20 })) listed.push(id)
  t.ok(listed.includes('claude-sonnet-4-5'))

  const { request_id: requestId } = await client.messages.create(call('a')).withResponse()
  t.match(requestId, /^req_/, "the provider's own request id")
})

t.test('usage of a stream is in the audit', async (t) => {
  const site = await start(t)
  const { client } = clientOf(site)
  const { response } = await client.messages
    .create({ ...call('Say hello'), stream: true })
    .withResponse()
  await response.text()
  const id = response.headers.get('x-governor-request-id') ?? ''
  const [decision, outcome] = await site.entriesOf(id, 2)
  t.match(decision?.body, {
    operation: 'chat',
    api: 'messages',
    'gen_ai.provider.name': 'anthropic',
  })
  t.match(outcome?.body, { 'gen_ai.usage.input_tokens': 2, 'gen_ai.usage.output_tokens': 3 })
})

t.test('a refusal is a PermissionDeniedError, at once', async (t) => {
  const site = await start(t)
  const { client, made } = clientOf(site)
  const error = await thrown(client.messages.create(call('a', 'claude-opus-4-5')))
  t.type(error, PermissionDeniedError)
  t.match(error.message, 'Opus needs an approval')
  t.equal(error.type, 'permission_error')
  t.equal(error.requestID, error.headers?.get('x-governor-request-id'))
  t.equal(made.requests, 1)
  const document = {
    type: 'text' as const,
    media_type: 'text/plain' as const,
    data: 'project zeus',
  }
  const hidden = [{ type: 'document' as const, source: document }]
  for (const refused of [
    client.messages.create({ ...call('project zeus'), stream: true }),
    client.messages.create({ ...call(''), messages: [{ role: 'user', content: hidden }] }),
    client.messages.batches.create({
      requests: [{ custom_id: 'c', params: call('project zeus') }],
    }),
    client.messages.batches.create({
      requests: [
        { custom_id: 'c', params: call('a') },
        { custom_id: 'd', params: call('a', 'claude-opus-4-5') },
      ],
    }),
    client.messages.countTokens({ model: 'claude-a', messages: call('project zeus').messages }),
  ]) {
    t.type(await thrown(refused), PermissionDeniedError)
  }
  t.equal(made.requests, 6)
})

t.test('both ways to send the key work, and neither key goes further', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await start(t, { upstream: upstream.url })
  const headers = { 'anthropic-version': '2023-06-01', 'anthropic-beta': 'a-2025-01-01' }
  for (const credential of [{ 'x-api-key': site.key }, { authorization: `Bearer ${site.key}` }]) {
    const sent = { path: '/v1/messages', headers: { ...headers, ...credential }, body: call('a') }
    const { status } = await site.send({ ...sent, key: undefined } as never)
    t.equal(status, 200)
    t.match(upstream.last?.headers, { ...headers, 'x-api-key': UPSTREAM_KEY })
    t.equal(upstream.last?.headers.authorization, undefined)
  }
  t.notMatch(upstream.everything, site.key.split('.')[1]!)
  t.type(
    await thrown(clientOf(site, { apiKey: 'sk-ant-abc' }).client.models.list()),
    AuthenticationError,
  )
})

t.test('a limit is a RateLimitError', async (t) => {
  const site = await start(t, { limits: '[{ id: one, per: key, requests: 1/50s }]' })
  const { client } = clientOf(site, { maxRetries: 0 })
  await client.messages.create(call('a'))
  const error = await thrown(client.messages.create(call('a')))
  t.type(error, RateLimitError)
  t.equal(error.type, 'rate_limit_error')
})

t.test('a stream that breaks throws', async (t) => {
  const first = { type: 'message_start', message: { id: 'm', content: [], usage: {} } }
  const upstream = await FakeUpstream.start(
    t,
    resetMidStream([`event: message_start\ndata: ${JSON.stringify(first)}\n\n`]),
  )
  const site = await start(t, { upstream: upstream.url })
  const { client } = clientOf(site)
  const stream = await client.messages.create({ ...call('a'), stream: true })
  const error = await thrown(
    (async () => {
      for await (const each of stream) t.equal(each.type, 'message_start')
    })(),
  )
  t.type(error, APIError)
  t.match(error.message, 'The upstream broke off')
})

t.test('a path two providers share goes by the version header, else to the first', async (t) => {
  const site = await startGovernor(t, {
    policies: "[{ id: all, allow: { operations: ['*'] } }]",
    upstreams: ["{ name: claude, dialect: anthropic, url: 'echo:' }"],
  })
  const models = { method: 'GET', path: '/v1/models' }
  t.match((await site.send(models)).json, { object: 'list' })
  const version = { 'anthropic-version': '2023-06-01' }
  t.match((await site.send({ ...models, headers: version })).json, { has_more: false })
  t.match((await site.send({ ...models, path: '/claude/v1/models', headers: version })).json, {
    has_more: false,
  })
  t.match((await site.send({ path: '/messages', body: call('hi') })).json, { type: 'message' })
  const wrong = await site.send({
    path: '/v1/chat/completions',
    headers: version,
    body: call('hi'),
  })
  t.equal(wrong.status, 200, 'what only one of them knows is its own')
})
