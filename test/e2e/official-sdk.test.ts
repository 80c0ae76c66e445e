import OpenAI, {
  APIError,
  AuthenticationError,
  PermissionDeniedError,
  RateLimitError,
} from 'openai'
import t from 'tap'

import { FakeUpstream, resetMidStream } from '../support/fake-upstream.ts'
import { type InProcess, startGovernor } from '../support/start-governor.ts'

/** Goal: the official client works as if it spoke to OpenAI, and raises its own errors at refusals. */

/** The client, and how many requests it made. */
function clientOf(site: InProcess, options: ConstructorParameters<typeof OpenAI>[0] = {}) {
  const made = { requests: 0 }
  const client = new OpenAI({
    baseURL: `${site.url}/v1`,
    apiKey: site.key,
    fetch: (input, init) => {
      made.requests += 1
      return fetch(input, init)
    },
    ...options,
  })
  return { client, made }
}

const messages = [{ role: 'user' as const, content: 'Say hello' }]

async function thrown(promise: Promise<unknown>): Promise<APIError> {
  return promise.then(
    () => {
      throw new Error('It did not throw')
    },
    (error: unknown) => error as APIError,
  )
}

t.test('every supported call, whole and streamed', async (t) => {
  const site = await startGovernor(t)
  const { client } = clientOf(site)
  const chat = await client.chat.completions.create({ model: 'gpt-4o', messages })
  t.equal(chat.choices[0]?.message.content, 'echo: Say hello')
  t.ok(chat.usage?.completion_tokens)

  const stream = await client.chat.completions.create({ model: 'gpt-4o', messages, stream: true })
  let said = ''
  for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ''
  t.equal(said, 'echo: Say hello')

  const response = await client.responses.create({ model: 'gpt-4o', input: 'Say hello' })
  t.equal(response.output_text, 'echo: Say hello')
  const types = []
  let text = ''
  const events = await client.responses.create({ model: 'gpt-4o', input: 'Hi', stream: true })
  for await (const event of events) {
    types.push(event.type)
    if (event.type === 'response.output_text.delta') text += event.delta
  }
  t.equal(text, 'echo: Hi')
  t.equal(types.at(0), 'response.created')
  t.equal(types.at(-1), 'response.completed')

  const model = 'text-embedding-3-small'
  const embedded = await client.embeddings.create({ model, input: ['a', 'b'] })
  t.equal(embedded.data.length, 2)
  t.equal(typeof embedded.data[0]?.embedding[0], 'number')

  const listed = []
  for await (const one of client.models.list()) listed.push(one.id)
  t.ok(listed.includes('gpt-4o'))
  t.equal((await client.models.retrieve('gpt-4o')).id, 'gpt-4o')

  const { data, request_id: requestId } = await client.chat.completions
    .create({ model: 'gpt-4o', messages })
    .withResponse()
  t.ok(data.id)
  t.match(requestId, /^req_/, "the provider's own request id")
})

t.test('the rest of the API works where policy opens it', async (t) => {
  const site = await startGovernor(t, {
    policies: `
  - id: everything
    allow: { operations: ['*'], models: ['*'] }
  - id: codename
    deny: { input: { matches: '(?i)project[- ]zeus' } }`,
  })
  const { client } = clientOf(site)
  const completion = await client.completions.create({ model: 'm', prompt: 'hi' })
  t.equal(completion.choices[0]?.text, 'echo: hi')
  let said = ''
  for await (const { choices } of await client.completions.create({
    model: 'm',
    prompt: 'Say hello',
    stream: true,
  })) {
    said += choices[0]?.text ?? ''
  }
  t.equal(said, 'echo: Say hello')
  t.equal((await client.moderations.create({ input: 'a' })).results[0]?.flagged, false)
  const image = { model: 'm', prompt: 'a', background: 'transparent' } as const
  t.ok((await client.images.generate(image)).data?.[0]?.b64_json)
  const speech = await client.audio.speech.create({ model: 'tts', voice: 'alloy', input: 'hi' })
  t.equal(Buffer.from(await speech.arrayBuffer()).toString('utf16le'), 'echo: hi', 'bytes as sent')
  const conversation = await client.conversations.create({
    items: [{ type: 'message', role: 'user', content: 'a' }],
  })
  t.ok(conversation.id)
  t.strictSame((await client.vectorStores.list({ limit: 2 })).data, [])
  t.equal((await client.files.delete('file-1')).deleted, true)
  t.ok(await client.responses.retrieve('resp_1'))
  await client.responses.cancel('resp_1')

  const zeus = { content: 'about project zeus', role: 'user' as const }
  for (const refused of [
    client.completions.create({ model: 'm', prompt: ['a', 'project zeus'] }),
    client.beta.threads.create({ messages: [zeus] }),
    client.vectorStores.search('vs_1', { query: 'project zeus' }),
    // What the history holds cannot be read here, and a text policy is about it.
    client.beta.threads.runs.create('thread_1', { assistant_id: 'asst_1' }),
    client.batches.create({
      input_file_id: 'file-1',
      endpoint: '/v1/responses',
      completion_window: '24h',
    }),
  ]) {
    t.type(await thrown(refused), PermissionDeniedError)
  }
})

t.test('the stream helper and tools work', async (t) => {
  const site = await startGovernor(t)
  const { client } = clientOf(site)
  const runner = client.chat.completions.stream({
    model: 'gpt-4o',
    messages,
    stream_options: { include_usage: true },
    tools: [{ type: 'function', function: { name: 'now', parameters: { type: 'object' } } }],
  })
  const final = await runner.finalChatCompletion()
  t.equal(final.choices[0]?.message.content, 'echo: Say hello')
  t.ok(final.usage?.total_tokens)
})

t.test('a refusal is a PermissionDeniedError, at once', async (t) => {
  const site = await startGovernor(t)
  const { client, made } = clientOf(site)
  const error = await thrown(client.chat.completions.create({ model: 'gpt-5', messages }))
  t.type(error, PermissionDeniedError)
  t.match(error.message, 'Frontier models need an approval')
  t.match(error, { status: 403, code: 'policy_denied', type: 'policy_violation' })
  t.equal(error.headers?.get('x-governor-policy'), 'no-frontier')
  t.equal(error.requestID, error.headers?.get('x-governor-request-id'))
  t.equal(made.requests, 1)

  const streamed = client.chat.completions.create({ model: 'gpt-5', messages, stream: true })
  t.type(await thrown(streamed), PermissionDeniedError)
  const responded = client.responses.create({ model: 'gpt-4o', input: 'project zeus' })
  t.type(await thrown(responded), PermissionDeniedError)
  const speech = client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'a' })
  t.type(await thrown(speech), PermissionDeniedError, 'what nothing allows is refused')
  t.equal(made.requests, 4)
})

t.test('a wrong key is an AuthenticationError, at once', async (t) => {
  const site = await startGovernor(t)
  const { client, made } = clientOf(site, { apiKey: 'sk-proj-abc' })
  const error = await thrown(client.models.list())
  t.type(error, AuthenticationError)
  t.match(error.message, 'This is a provider key')
  t.equal(made.requests, 1)
})

t.test('a limit is a RateLimitError, and a short wait is waited', async (t) => {
  const site = await startGovernor(t, { limits: '[{ id: one, per: key, requests: 1/1s }]' })
  const { client } = clientOf(site, { maxRetries: 0 })
  await client.chat.completions.create({ model: 'gpt-4o', messages })
  const error = await thrown(client.chat.completions.create({ model: 'gpt-4o', messages }))
  t.type(error, RateLimitError)
  t.match(error, { status: 429, code: 'rate_limit_exceeded' })

  const patient = clientOf(site, { maxRetries: 5 })
  const answer = await patient.client.chat.completions.create({ model: 'gpt-4o', messages })
  t.equal(answer.choices[0]?.message.content, 'echo: Say hello')
  t.ok(patient.made.requests <= 3, `${patient.made.requests} requests`)
})

t.test('a stream that breaks throws', async (t) => {
  const upstream = await FakeUpstream.start(t, resetMidStream())
  const site = await startGovernor(t, { upstream: upstream.url })
  const { client } = clientOf(site)
  const stream = await client.chat.completions.create({ model: 'gpt-4o', messages, stream: true })
  let said = ''
  const reading = (async () => {
    for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ''
  })()
  const error = await thrown(reading)
  t.type(error, APIError)
  t.match(error.message, 'The upstream broke off')
  t.equal(said, 'Hello')

  const response = await client.responses.create({ model: 'gpt-4o', input: 'a', stream: true })
  const types: string[] = []
  const failure = await thrown(
    (async () => {
      for await (const { type } of response) types.push(type)
    })(),
  )
  t.type(failure, Error)
  t.notOk(types.includes('response.completed'))
})
