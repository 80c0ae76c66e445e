import { readFileSync } from 'node:fs'

import { AzureOpenAI, PermissionDeniedError } from 'openai'
import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'

/** Goal: clients of Azure OpenAI, Gemini and Ollama pass the same policies. */

const POLICIES = `
  - id: everything
    allow: { operations: ['*'], models: ['*'] }
  - id: no-frontier
    deny: { models: ['*5*-pro'] }
  - id: codename
    deny: { input: { matches: '(?i)project[- ]zeus' } }`

const say = (text: string) => ({ contents: [{ role: 'user', parts: [{ text }] }] })
const call = (content: string, model = 'gpt-4o') => ({
  model,
  messages: [{ role: 'user' as const, content }],
})
async function thrown(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (error: unknown) => error,
  )
}

const FLASH = '/v1beta/models/gemini-2.5-flash'

t.test('Azure: the official client, whole, streamed and refused', async (t) => {
  const site = await startGovernor(t, { dialect: 'azure-openai', policies: POLICIES })
  const client = new AzureOpenAI({
    endpoint: site.url,
    apiKey: site.key,
    apiVersion: '2024-10-21',
    deployment: 'gpt-4o',
  })
  const chat = await client.chat.completions.create(call('Say hello'))
  t.equal(chat.choices[0]?.message.content, 'echo: Say hello')
  let said = ''
  for await (const { choices } of await client.chat.completions.create({
    ...call('hi'),
    stream: true,
  })) {
    said += choices[0]?.delta.content ?? ''
  }
  t.equal(said, 'echo: hi')
  t.type(await thrown(client.chat.completions.create(call('project zeus'))), PermissionDeniedError)
  const pro = new AzureOpenAI({
    endpoint: site.url,
    apiKey: site.key,
    apiVersion: '2024-10-21',
    deployment: 'gpt-5-pro',
  })
  t.type(await thrown(pro.chat.completions.create(call('a', 'gpt-5-pro'))), PermissionDeniedError)
})

t.test('Gemini: whole, events and array, each with its usage', async (t) => {
  const site = await startGovernor(t, { dialect: 'gemini', policies: POLICIES })
  const key = { key: undefined, headers: { 'x-goog-api-key': site.key } } as never as object
  const whole = await site.send({ path: `${FLASH}:generateContent`, ...key, body: say('hi') })
  t.match(whole.json, { candidates: [{ content: { parts: [{ text: 'echo: hi' }] } }] })
  for (const [query, type] of [
    ['?alt=sse', 'text/event-stream; charset=utf-8'],
    ['', 'application/json'],
  ] as const) {
    const path = `${FLASH}:streamGenerateContent${query}`
    const streamed = await site.send({ path, ...key, body: say('Say hello') })
    t.equal(streamed.headers['content-type'], type)
    t.match(streamed.text, 'finishReason')
    const id = String(streamed.headers['x-governor-request-id'])
    const [decision, outcome] = await site.entriesOf(id, 2)
    t.match(decision?.body, { operation: 'chat', 'gen_ai.provider.name': 'gcp.gemini' })
    t.match(outcome?.body, { 'gen_ai.usage.input_tokens': 2, 'gen_ai.usage.output_tokens': 3 })
  }
  const denied = await site.send({
    path: `${FLASH}:generateContent`,
    ...key,
    body: say('project zeus'),
  })
  t.match(denied.json, { error: { code: 403, status: 'PERMISSION_DENIED' } })
  const pro = '/v1beta/models/gemini-2.5-pro:generateContent'
  t.equal((await site.send({ path: pro, ...key, body: say('a') })).status, 403)
  const inUrl = await site.send({
    path: `${FLASH}:generateContent?key=${site.key}`,
    body: say('a'),
  })
  t.equal(inUrl.status, 400, 'a key in the URL is refused')
  t.notMatch(inUrl.text, site.key)
  const compatible = { model: 'gemini-2.5-flash', messages: [{ role: 'user', content: 'hi' }] }
  const chat = await site.send({ path: '/v1beta/openai/chat/completions', body: compatible })
  t.match(chat.json, { choices: [{ message: { content: 'echo: hi' } }] })
  t.match((await site.send({ method: 'GET', path: '/v1beta/models' })).json, { models: [{}] })
})

t.test('Gemini: the key of the client stays here, ours goes on', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, {
    dialect: 'gemini',
    policies: POLICIES,
    upstream: upstream.url,
  })
  const headers = { 'x-goog-api-key': site.key }
  const sent = { path: `${FLASH}:generateContent`, headers, body: say('hi'), key: undefined }
  t.equal((await site.send(sent as never)).status, 200)
  t.equal(upstream.last?.headers['x-goog-api-key'], UPSTREAM_KEY)
  t.notMatch(upstream.everything, site.key.split('.')[1]!)
})

t.test('Ollama: lines as they come, and one answer', async (t) => {
  const site = await startGovernor(t, { dialect: 'ollama', policies: POLICIES })
  const body = { model: 'llama3.2', messages: [{ role: 'user', content: 'Say hello' }] }
  const lines = await site.send({ path: '/api/chat', body })
  t.equal(lines.headers['content-type'], 'application/x-ndjson')
  const said = lines.text
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { message: { content: string } }).message.content)
  t.equal(said.join(''), 'echo: Say hello')
  const [, outcome] = await site.entriesOf(String(lines.headers['x-governor-request-id']), 2)
  t.match(outcome?.body, { 'gen_ai.usage.input_tokens': 2, 'gen_ai.usage.output_tokens': 3 })
  const whole = await site.send({
    path: '/api/generate',
    body: { model: 'm', prompt: 'hi', stream: false },
  })
  t.match(whole.json, { response: 'echo: hi', done: true })
  const denied = await site.send({
    path: '/api/generate',
    body: { model: 'm', system: 'project zeus' },
  })
  t.equal(denied.status, 403)
  t.type(denied.json.error, 'string')
})

t.test('Ollama: lines that break off end with a line that says so', async (t) => {
  const upstream = await FakeUpstream.start(t, (_received, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write('{"model":"m","message":{"content":"a"},"done":false}\n')
    response.end()
  })
  const site = await startGovernor(t, {
    dialect: 'ollama',
    policies: POLICIES,
    upstream: upstream.url,
  })
  const { text } = await site.send({
    path: '/api/chat',
    body: { model: 'm', messages: [{ role: 'user', content: 'a' }] },
  })
  const last = JSON.parse(text.trim().split('\n').at(-1)!) as { error?: string }
  t.match(last.error, 'the stream ended early')
})

const SEVERAL = `
  - { id: everything, allow: { operations: ['*'], models: ['*'] } }
  - { id: soon, mode: warn, deny: { models: ['old-*'] } }
  - { id: lead, mode: shadow, require: { roles: [lead] } }
  - { id: masks, redact: { input: { detect: [email] } } }`

t.test('among several upstreams a path is that of whom it belongs to', async (t) => {
  const upstreams = ['anthropic', 'azure-openai', 'gemini', 'bedrock', 'ollama'].map((dialect) => {
    const name = dialect === 'azure-openai' ? 'azure' : dialect
    return `{ name: ${name}, dialect: ${dialect}, url: 'echo:', credential: none }`
  })
  upstreams.push("{ name: openai, dialect: openai, url: 'echo:', credential: none }")
  const site = await startGovernor(t, { policies: SEVERAL, upstreams })

  await t.test('a refusal before a route is found wears its shape', async (t) => {
    const openai = { error: { type: 'invalid_request_error', param: null } }
    const anthropic = { type: 'error', error: { type: /./, message: /./ }, request_id: /./ }
    const marked = { 'anthropic-version': '2023-06-01' }
    for (const [method, path, status, shape, id, headers = {}] of [
      ['GET', '/v1/messages', 405, anthropic, 'request-id'],
      ['POST', '/v1/nothing', 403, openai, 'x-request-id'],
      ['POST', '/v1/nothing', 403, anthropic, 'request-id', marked],
      ['POST', '/anthropic/v1/nothing', 403, anthropic, 'request-id'],
      ['POST', '/anthropic/nothing', 404, anthropic, 'request-id'],
      ['POST', '/v1/messages?key=a', 400, anthropic, 'request-id'],
      ['GET', '/model/m/converse', 405, { message: /takes POST/ }, 'x-amzn-requestid'],
      ['POST', '/v1beta/models/m:nothing', 405, { error: { code: 405 } }, 'x-request-id'],
      ['GET', '/api/chat', 405, { error: /takes POST/ }, 'x-request-id'],
      ['POST', '/nothing', 404, openai, 'x-request-id'],
    ] as const) {
      const answer = await site.send({ method, path, headers, body: method === 'GET' ? '' : {} })
      t.equal(answer.status, status, path)
      t.match(answer.json, shape, path)
      t.equal(answer.headers[id], answer.headers['x-governor-request-id'], path)
    }
  })

  await t.test('the name of an upstream takes no path from another', async (t) => {
    const body = { messages: [{ role: 'user', content: 'hi' }] }
    const path = '/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21'
    t.equal((await site.send({ path, body })).status, 200)
    const mounted = await site.send({ path: '/openai/v1/chat/completions', body: call('hi') })
    t.equal(mounted.status, 200)
    const [decision] = await site.entriesOf(String(mounted.headers['x-governor-request-id']), 1)
    t.equal(decision?.body['upstream'], 'openai')
  })

  await t.test(
    "what Groq's client sends is OpenAI's, unless an upstream of Azure is meant",
    async (t) => {
      for (const [path, upstream] of [
        ['/openai/openai/v1/chat/completions', 'openai'],
        ['/azure/openai/v1/chat/completions', 'azure'],
      ] as const) {
        const answer = await site.send({ path, body: call('hi') })
        t.match(answer.text, 'echo: hi', path)
        const [decision] = await site.entriesOf(String(answer.headers['x-governor-request-id']), 1)
        t.equal(decision?.body['upstream'], upstream)
      }
    },
  )

  await t.test('echoes of embeddings have what clients look for', async (t) => {
    const texts = ['a', 'b']
    const ollama = await site.send({ path: '/api/embed', body: { model: 'm', input: texts } })
    t.match(ollama.json, { embeddings: [[0.6], [0.6]], load_duration: 1, total_duration: 1 })
    const titan = '/model/amazon.titan-embed-text-v2%3A0/invoke'
    const one = await site.send({ path: titan, body: { inputText: 'a' } })
    t.match(one.json, { embedding: [0.6, 0.8], inputTextTokenCount: /\d/ })
    const cohere = '/model/cohere.embed-english-v3/invoke'
    const both = await site.send({ path: cohere, body: { texts, input_type: 'search_query' } })
    t.match(both.json, { embeddings: [[0.6], [0.6]], texts })
  })

  await t.test("a refusal has Cohere's message where its clients look for it", async (t) => {
    const { status, json } = await site.send({
      path: '/v2/chat',
      body: { model: '', messages: [] },
    })
    t.equal(status, 400)
    t.match(json, { id: /./, message: /model/, error: { message: /model/ } })
  })

  await t.test('an answer has an id under the name the client knows, also unsent', async (t) => {
    const { headers } = await site.send({ path: `${FLASH}:generateContent`, body: say('hi') })
    t.match(headers['x-request-id'], /./)
    const ollama = await site.send({ path: '/api/chat', body: { ...call('hi'), stream: false } })
    t.match(ollama.headers['x-request-id'], /./)
  })

  await t.test('the reference names every member of the entries they left', async (t) => {
    const reference = readFileSync(new URL('../../config/README.md', import.meta.url), 'utf8')
    const described = reference.split(/^## /m).find((part) => part.startsWith('Entries of the'))
    const calls = site.entries().filter(({ kind }) => kind === 'decision' || kind === 'outcome')
    t.ok(calls.length > 0)
    const members = new Set(calls.flatMap(({ body }) => Object.keys(body)))
    members.delete('kind')
    for (const name of members) {
      t.match(described, `\`${name.replace(/^gen_ai\.usage\..*/, 'gen_ai.usage.*')}\``)
    }
  })

  await t.test(
    'policies in warn and shadow are counted by what they would have done',
    async (t) => {
      const sent = { path: '/v1/chat/completions', body: call('to a@example.com', 'old-1') }
      const { status, headers } = await site.send(sent)
      t.equal(status, 200)
      t.equal(headers['x-governor-warning'], 'soon')
      const counted = (decision: string, policy: string, mode: string) =>
        site.metric(
          'governor_decisions_total',
          `decision="${decision}"`,
          `policy="${policy}"`,
          `mode="${mode}"`,
        )
      t.equal(await counted('deny', 'soon', 'warn'), 1)
      t.ok((await counted('deny', 'lead', 'shadow')) > 0)
      t.equal(await counted('redact', 'masks', 'enforce'), 1)
      t.equal(await site.metric('governor_config_reloads_total', 'result="ok"'), 0)
      t.equal(await site.metric('governor_config_reloads_total', 'result="refused"'), 0)
    },
  )
})
