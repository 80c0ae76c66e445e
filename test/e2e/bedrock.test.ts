import { createHash, createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import {
  BedrockRuntimeClient,
  type BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { SignatureV4 } from '@smithy/signature-v4'
import t from 'tap'

import { writeFrame } from '../../src/dialect/bedrock-frames.ts'
import { type Behaviour, answer, FakeUpstream, type Received } from '../support/fake-upstream.ts'
import { configText, type Sections, InProcess, startGovernor } from '../support/start-governor.ts'

/** Goal: the client of AWS works, what goes on is signed anew, and policies hold. */

const MODEL = 'anthropic.claude-3-haiku-20240307-v1:0'
const SECRET = 'sk-upstream-0123456789abcdefghijklmnopqrstuvwxyz'
const TOKEN = 'temporary-session-token'
const POLICIES = `
  - { id: everything, allow: { operations: ['*'], models: ['*'] } }
  - { id: no-model, deny: { models: ['*opus*'] } }
  - { id: no-text, deny: { input: { words: [zebra] } } }
  - { id: mask, redact: { input: { detect: [email] } } }`
const USAGE = { inputTokens: 3, outputTokens: 2, totalTokens: 5, cacheReadInputTokens: 4 }
const CONVERSED = {
  output: { message: { role: 'assistant', content: [{ text: 'hello there' }] } },
  stopReason: 'end_turn',
  usage: USAGE,
  metrics: { latencyMs: 1 },
}

const frame = (type: string, payload: object) =>
  writeFrame(
    { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    JSON.stringify(payload),
  )
const delta = (text: string) =>
  frame('contentBlockDelta', { contentBlockIndex: 0, delta: { text } })
const EVENTS = [
  frame('messageStart', { role: 'assistant' }),
  delta('hello'),
  delta(' there'),
  frame('messageStop', { stopReason: 'end_turn' }),
  frame('metadata', { usage: USAGE, metrics: { latencyMs: 1 } }),
]

function frames(pieces: readonly Buffer[]): Behaviour {
  return (_received, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    for (const piece of pieces) response.write(piece)
    response.end()
  }
}

/** Bytes in pieces of seven, so that no frame comes whole. */
const torn = (bytes: Buffer): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / 7) }, (_, at) => bytes.subarray(at * 7, at * 7 + 7))

/** Sections of a site whose calls are signed. */
async function subject(t: Parameters<typeof startGovernor>[0], sections: Sections = {}) {
  const upstream = await FakeUpstream.start(t, answer(CONVERSED))
  const given = { upstream: upstream.url, dialect: 'bedrock', policies: POLICIES, ...sections }
  const aws = 'aws: { region: eu-central-1, access_key_id_file: id, session_token_file: token }'
  const text = configText(given).replace('usage: observe', `usage: observe, ${aws}`)
  const directory = t.testdir()
  writeFileSync(join(directory, 'id'), 'AKIAEXAMPLE\n')
  writeFileSync(join(directory, 'token'), TOKEN)
  const site = new InProcess(directory, text)
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  return { upstream, site, client: clientOf(site) }
}

function clientOf(site: InProcess, key = site.key): BedrockRuntimeClient {
  return new BedrockRuntimeClient({
    region: 'eu-central-1',
    endpoint: site.url,
    token: { token: key },
    authSchemePreference: ['httpBearerAuth'],
    requestHandler: new NodeHttpHandler(),
    maxAttempts: 1,
  })
}

const say = (text: string, modelId = MODEL) => ({
  modelId,
  messages: [{ role: 'user' as const, content: [{ text }] }],
  inferenceConfig: { maxTokens: 9 },
})

class Sha256 {
  readonly #hash
  constructor(key?: Uint8Array) {
    this.#hash = key === undefined ? createHash('sha256') : createHmac('sha256', key)
  }
  update(data: Uint8Array): void {
    this.#hash.update(data)
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {}
}

/** Signs what was received as AWS' own code does, and compares. */
async function isSigned({ method, path, headers, body }: Received): Promise<boolean> {
  const signer = new SignatureV4({
    service: 'bedrock',
    region: 'eu-central-1',
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: SECRET, sessionToken: TOKEN },
    sha256: Sha256 as never,
  })
  const [, y, m, d, h, min, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(
    String(headers['x-amz-date']),
  )!
  const signed = await signer.sign(
    {
      method,
      path,
      protocol: 'http:',
      hostname: '127.0.0.1',
      headers: { host: String(headers.host) },
      body,
      query: {},
    },
    { signingDate: new Date(`${y}-${m}-${d}T${h}:${min}:${s}Z`) },
  )
  return (
    signed.headers['authorization'] === headers.authorization &&
    headers['x-amz-security-token'] === TOKEN &&
    headers['x-amz-content-sha256'] === createHash('sha256').update(body).digest('hex')
  )
}

async function failure(call: Promise<unknown>): Promise<BedrockRuntimeServiceException> {
  return call.then(
    () => {
      throw new Error('It did not throw')
    },
    (error: unknown) => error as BedrockRuntimeServiceException,
  )
}

t.test('the client converses, whole and streamed, and each call is signed anew', async (t) => {
  const { upstream, site, client } = await subject(t)
  const whole = await client.send(new ConverseCommand(say('hi')))
  t.equal(whole.output?.message?.content?.[0]?.text, 'hello there')
  upstream.behaviour = frames(torn(Buffer.concat(EVENTS)))
  const { stream } = await client.send(new ConverseStreamCommand(say('hi')))
  const texts: string[] = []
  for await (const event of stream!) texts.push(event.contentBlockDelta?.delta?.text ?? '')
  t.equal(texts.join(''), 'hello there')
  for (const received of upstream.received) {
    t.ok(await isSigned(received), received.path)
    t.notOk(JSON.stringify(received.rawHeaders).includes(site.key), 'the key stays here')
  }
  t.equal(upstream.received[0]?.path, '/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse')
  const calls = site.entries().filter(({ body }) => body['api'] !== undefined)
  t.strictSame(
    calls.map(({ body }) => body['operation']),
    ['chat', 'chat'],
  )
})

t.test('usage of whole and streamed answers is in the entry, cached tokens included', async (t) => {
  const { upstream, site } = await subject(t)
  for (const [verb, behaviour] of [
    ['converse', answer(CONVERSED)],
    ['converse-stream', frames(torn(Buffer.concat(EVENTS)))],
  ] as const) {
    upstream.behaviour = behaviour
    const { headers, bytes } = await site.send({
      path: `/model/${MODEL}/${verb}`,
      body: { messages: [{ role: 'user', content: [{ text: 'hi' }] }] },
    })
    if (verb === 'converse-stream') t.ok(bytes.equals(Buffer.concat(EVENTS)), 'byte for byte')
    const [, outcome] = await site.entriesOf(String(headers['x-governor-request-id']), 2)
    t.equal(outcome?.body['gen_ai.usage.input_tokens'], 7, verb)
    t.equal(outcome?.body['gen_ai.usage.output_tokens'], 2, verb)
  }
})

t.test('the client invokes models in their own form', async (t) => {
  const { upstream, client } = await subject(t)
  const message = { content: [{ type: 'text', text: 'hello' }], usage: { input_tokens: 1 } }
  upstream.behaviour = answer(message)
  const body = JSON.stringify({
    anthropic_version: 'bedrock-2023-05-31',
    max_tokens: 9,
    messages: [{ role: 'user', content: 'hi' }],
  })
  const call = { modelId: MODEL, body, contentType: 'application/json' }
  const whole = await client.send(new InvokeModelCommand(call))
  t.strictSame(JSON.parse(whole.body.transformToString()), message)
  t.equal(upstream.last?.body.toString(), body)
  const last = { type: 'message_stop', 'amazon-bedrock-invocationMetrics': { inputTokenCount: 1 } }
  const chunk = frame('chunk', { bytes: Buffer.from(JSON.stringify(last)).toString('base64') })
  upstream.behaviour = frames([chunk])
  const streamed = await client.send(new InvokeModelWithResponseStreamCommand(call))
  for await (const event of streamed.body!) {
    t.strictSame(JSON.parse(Buffer.from(event.chunk!.bytes!).toString()), last)
  }
  const text = body.replace('"hi"', '"a zebra"')
  const refused = await failure(client.send(new InvokeModelCommand({ ...call, body: text })))
  t.equal(refused.name, 'AccessDeniedException')
})

t.test('refusals are the client’s own exceptions', async (t) => {
  const { upstream, site, client } = await subject(t, {
    limits: '[{ id: once, per: key, for: { keys: [limited] }, requests: 1/30s }]',
  })
  for (const call of [say('a zebra'), say('hi', 'us.anthropic.claude-opus-4-v1:0')]) {
    const refused = await failure(client.send(new ConverseCommand(call)))
    t.equal(refused.name, 'AccessDeniedException')
    t.equal(refused.$metadata.httpStatusCode, 403)
  }
  const unknown = await failure(clientOf(site, 'none').send(new ConverseCommand(say('hi'))))
  t.equal(unknown.$metadata.httpStatusCode, 401)
  const arn = 'arn:aws:bedrock:eu-central-1:123456789012:prompt:ABC'
  t.equal(
    (await failure(client.send(new ConverseCommand(say('hi', arn))))).name,
    'ValidationException',
  )
  const slash = say('hi', 'arn:aws:bedrock:eu-central-1:1:inference-profile/x')
  t.equal((await failure(client.send(new ConverseCommand(slash)))).$metadata.httpStatusCode, 400)
  t.equal(upstream.received.length, 0)
  const limited = clientOf(site, await site.createKey('limited'))
  const outcomes = await Promise.all(
    [1, 2].map(async () =>
      limited.send(new ConverseCommand(say('hi'))).then(
        () => 'passed',
        (error: Error) => error.name,
      ),
    ),
  )
  t.strictSame(outcomes.sort(), ['ThrottlingException', 'passed'])
})

t.test('values are masked and parameters stay where they are', async (t) => {
  const { upstream, client } = await subject(t)
  await client.send(new ConverseCommand(say('to jo@example.com')))
  t.match(upstream.last?.body.toString(), /"to \[EMAIL_1\]"/)
  t.ok(await isSigned(upstream.last!), 'what is sent is what is signed')
})

t.test('a stream that is broken ends as an exception, and no bad byte passes', async (t) => {
  const { upstream, client } = await subject(t)
  const bad = Buffer.from(EVENTS[2]!)
  bad[bad.length - 6]! ^= 1
  const huge = Buffer.from(EVENTS[2]!)
  huge.writeUInt32BE(0x7fffffff, 0)
  for (const [name, pieces] of [
    ['a wrong checksum', [EVENTS[0]!, EVENTS[1]!, bad, ...EVENTS.slice(3)]],
    ['a wrong length', [EVENTS[0]!, EVENTS[1]!, huge]],
    ['half of a frame', [EVENTS[0]!, EVENTS[1]!, EVENTS[2]!.subarray(0, 20)]],
    ['no end', [EVENTS[0]!, EVENTS[1]!]],
    ['no frames', [EVENTS[0]!, EVENTS[1]!, Buffer.from('data: {"a":1}\n\n')]],
  ] as const) {
    upstream.behaviour = frames(pieces)
    const { stream } = await client.send(new ConverseStreamCommand(say('hi')))
    const texts: string[] = []
    const read = async () => {
      for await (const event of stream!) texts.push(event.contentBlockDelta?.delta?.text ?? '')
    }
    t.equal((await failure(read())).name, 'ModelStreamErrorException', name)
    t.equal(texts.join(''), 'hello', name)
  }
})

const ANSWER_POLICIES = `${POLICIES}
  - { id: no-secret, deny: { output: { words: [secret] } } }
  - { id: mask-out, redact: { output: { detect: [email] } } }`

t.test('policies on answers read whole ones and streams, and mask in both', async (t) => {
  const { upstream, site, client } = await subject(t, { policies: ANSWER_POLICIES })
  const content = [{ text: 'the secret' }]
  upstream.behaviour = answer({ ...CONVERSED, output: { message: { role: 'assistant', content } } })
  t.equal(
    (await failure(client.send(new ConverseCommand(say('hi'))))).name,
    'AccessDeniedException',
  )
  const texts: string[] = []
  const read = async (pieces: readonly string[]) => {
    texts.length = 0
    const events = [EVENTS[0]!, ...pieces.map((text) => delta(text)), ...EVENTS.slice(3)]
    upstream.behaviour = frames(torn(Buffer.concat(events)))
    const { stream } = await client.send(new ConverseStreamCommand(say('hi')))
    for await (const event of stream!) texts.push(event.contentBlockDelta?.delta?.text ?? '')
  }
  await read(['mail jo', '@exam', 'ple.com now'])
  t.equal(texts.join(''), 'mail [EMAIL_1] now')
  t.equal((await failure(read(['well, the se', 'cret is out']))).name, 'ValidationException')
  t.notMatch(texts.join(''), /cret/)
  const plain = Buffer.concat(EVENTS)
  upstream.behaviour = frames(torn(plain))
  const { bytes } = await site.send({
    path: `/model/${MODEL}/converse-stream`,
    body: { messages: [{ role: 'user', content: [{ text: 'hi' }] }] },
  })
  t.ok(bytes.equals(plain), 'byte for byte where nothing is found')
})

const chunk = (event: object, more: object = {}) =>
  frame('chunk', { bytes: Buffer.from(JSON.stringify(event)).toString('base64'), ...more })
const claude = (text: string) => ({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text },
})

t.test('policies on answers read the chunks of an invocation, of any model', async (t) => {
  const { upstream, client } = await subject(t, { policies: ANSWER_POLICIES })
  const end = { type: 'message_stop', 'amazon-bedrock-invocationMetrics': { inputTokenCount: 1 } }
  const call = {
    modelId: MODEL,
    contentType: 'application/json',
    body: JSON.stringify({
      anthropic_version: 'bedrock-2023-05-31',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hi' }],
    }),
  }
  const read = async (pieces: readonly Buffer[]) => {
    upstream.behaviour = frames(torn(Buffer.concat(pieces)))
    const { body } = await client.send(new InvokeModelWithResponseStreamCommand(call))
    let said = ''
    for await (const event of body!) {
      const inner = JSON.parse(Buffer.from(event.chunk!.bytes!).toString())
      said += inner.delta?.text ?? inner.generation ?? ''
    }
    return said
  }
  const padded = chunk(claude('jo@exa'), { p: 'abcdefgh' })
  t.equal(await read([padded, chunk(claude('mple.com!')), chunk(end)]), '[EMAIL_1]!')
  const llama = ['to jo@exa', 'mple.com'].map((generation) => chunk({ generation }))
  t.equal(await read([...llama, chunk(end)]), 'to [EMAIL_1]')
  for (const pieces of [
    [chunk(claude('the sec')), chunk(claude('ret'))],
    [chunk({ generation: 'the sec' }), chunk({ generation: 'ret' })],
    [chunk(claude('hello'), { beside: 'secret' })],
    [chunk(claude('hello'), { p: 'the secret' })],
    [frame('chunk', { bytes: 'aGVsbG8' })],
  ]) {
    t.equal((await failure(read([...pieces, chunk(end)]))).name, 'ValidationException')
  }
})

t.test('a signature of the client’s own is dropped', async (t) => {
  const { upstream, site } = await subject(t, { pod: '{ tenant: pods, user: pod, roles: [] }' })
  const client = new BedrockRuntimeClient({
    region: 'eu-central-1',
    endpoint: site.url,
    credentials: { accessKeyId: 'AKIACLIENT', secretAccessKey: 'x', sessionToken: 'client-token' },
    requestHandler: new NodeHttpHandler(),
    maxAttempts: 1,
  })
  await client.send(new ConverseCommand(say('hi')))
  t.ok(await isSigned(upstream.last!))
  t.notMatch(JSON.stringify(upstream.last?.rawHeaders), /AKIACLIENT|client-token/)
  const own = { authorization: 'AWS4-HMAC-SHA256 Credential=x', 'x-api-key': site.key }
  const { status } = await site.send({
    path: `/model/${MODEL}/converse`,
    headers: own,
    body: { messages: [{ role: 'user', content: [{ text: 'hi' }] }] },
  })
  t.equal(status, 200, 'a Governor key beside it counts')
})

t.test('an API key of Bedrock is sent as one', async (t) => {
  const upstream = await FakeUpstream.start(t, answer(CONVERSED))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    dialect: 'bedrock',
    policies: POLICIES,
  })
  await clientOf(site).send(new ConverseCommand(say('hi')))
  t.equal(upstream.last?.headers.authorization, `Bearer ${SECRET}`)
  t.equal(upstream.last?.headers['x-amz-date'], undefined)
})
