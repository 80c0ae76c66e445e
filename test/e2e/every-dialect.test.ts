import { hash } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import t from 'tap'

import { writeFrame } from '../../src/dialect/bedrock-frames.ts'
import { begin as begun, open } from '../support/client.ts'
import { type Behaviour, FakeUpstream, type Received, redirect } from '../support/fake-upstream.ts'
import { configText, InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: whatever the provider, a streamed call passes byte for byte, is heard as it comes, ends with the
 * provider's own error when it breaks, and stops at the provider when its client leaves.
 */

interface Provider {
  readonly path: string
  readonly body: object
  /** The same call, to be answered as a whole. */
  readonly plain: { readonly path?: string; readonly body?: object }
  readonly type: string
  /** Pieces of one stream, cut where no event ends; the last one is its end. */
  readonly pieces: readonly (string | Buffer)[]
  /** What the client reads after the first piece when the provider breaks off. */
  readonly broken: RegExp
  /** A refusal by policy. */
  readonly refused: object
  /** A failure of the upstream. */
  readonly failed: object
}

const messages = [{ role: 'user', content: 'héllo \u{1f600} \\ "q"' }]
const chunk = '{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
const OPENAI = {
  body: { stream: true, model: 'm-1', messages, temperature: 1.5 },
  plain: { body: { model: 'm-1', messages } },
  type: 'text/event-stream',
  pieces: [`: hi\n\ndata: ${chunk}\n\nda`, 'ta: {"choices":[]}\r\n\r\n', 'data: [DO', 'NE]\n\n'],
  broken: /\n\ndata: \{"error":\{"message":"The upstream broke off/,
  refused: { error: { type: 'policy_violation', code: 'policy_denied' } },
  failed: { error: { code: /^upstream_/ } },
}
const frame = (type: string, payload: object) =>
  writeFrame(
    { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    JSON.stringify(payload),
  )
const PROVIDERS: Readonly<Record<string, Provider>> = {
  openai: { ...OPENAI, path: '/v1/chat/completions' },
  'azure-openai': {
    ...OPENAI,
    path: '/openai/deployments/m-1/chat/completions?api-version=2024-10-21',
  },
  anthropic: {
    path: '/v1/messages?beta=true',
    body: { model: 'm-1', max_tokens: 9, stream: true, messages },
    plain: { body: { model: 'm-1', max_tokens: 9, messages } },
    type: 'text/event-stream; charset=utf-8',
    pieces: [
      'event: message_start\ndata: {"type":"message_start","message":{"model":"m-1"}}\n\nevent: pi',
      'ng\ndata: {"type": "ping"}\n\n',
      'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ],
    broken: /\n\nevent: error\ndata: \{"type":"error","error":\{"type":"api_error"/,
    refused: { type: 'error', error: { type: 'permission_error' } },
    failed: { type: 'error', error: { type: /^(api|timeout)_error$/ } },
  },
  gemini: {
    path: '/v1beta/models/m-1:streamGenerateContent?alt=sse',
    body: { contents: [{ role: 'user', parts: [{ text: 'hi \u00e9' }] }] },
    plain: { path: '/v1beta/models/m-1:generateContent' },
    type: 'text/event-stream',
    pieces: [
      'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\nda',
      'ta: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n',
    ],
    broken: /\ndata: \{"error":\{"code":502,.*\n\n: the answer broke off$/,
    refused: { error: { code: 403, status: 'PERMISSION_DENIED' } },
    failed: { error: { status: /^[A-Z_]+$/ } },
  },
  ollama: {
    path: '/api/chat',
    body: { model: 'm-1', messages },
    plain: { body: { model: 'm-1', messages, stream: false } },
    type: 'application/x-ndjson',
    pieces: ['{"message":{"content":"a"},"done":false}\n{"mess', 'age":{},"done":true}\n'],
    broken: /\{"error":"The upstream broke off/,
    refused: { error: /Policy denied/ },
    failed: { error: /upstream/ },
  },
  bedrock: {
    path: '/model/anthropic.claude-3-haiku-20240307-v1:0/converse-stream',
    body: { messages: [{ role: 'user', content: [{ text: 'hi \u00e9' }] }] },
    plain: { path: '/model/anthropic.claude-3-haiku-20240307-v1:0/converse' },
    type: 'application/vnd.amazon.eventstream',
    pieces: [
      Buffer.concat([
        frame('messageStart', { role: 'assistant' }),
        frame('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'a' } }),
      ]),
      frame('messageStop', { stopReason: 'end_turn' }),
      frame('metadata', { usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 } }),
    ],
    broken: /:exception-type.*"The upstream broke off/s,
    refused: { message: /Policy denied/ },
    failed: { message: /upstream/ },
  },
}

const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: words, deny: { input: { words: [zebra] } } }
  - { id: said, for: { keys: [watched] }, deny: { output: { words: [walrus] } } }`

for (const [dialect, provider] of Object.entries(PROVIDERS)) {
  const { path, body, type, pieces } = provider
  const begin = (response: ServerResponse) => response.writeHead(200, { 'content-type': type })
  t.test(dialect, async (t) => {
    const upstream = await FakeUpstream.start(t)
    const sections = { dialect, policies: POLICIES, usage: 'observe' as const }
    const site = await startGovernor(t, { ...sections, upstream: upstream.url })
    await t.test(`a stream passes byte for byte, both ways`, async (t) => {
      upstream.behaviour = async (_received, response) => {
        begin(response)
        for (const piece of pieces) {
          response.write(piece)
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      }
      const sent = JSON.stringify(body, null, 1)
      const answer = await site.send({ path, body: sent })
      const all = Buffer.concat(pieces.map((piece) => Buffer.from(piece)))
      t.equal(answer.bytes.toString('latin1'), all.toString('latin1'))
      t.equal(answer.headers['content-type'], type)
      t.equal(upstream.last?.body.toString(), sent)
      t.equal(upstream.last?.path, path)
      const [decision, outcome] = await site.entriesOf(
        String(answer.headers['x-governor-request-id']),
        2,
      )
      t.match(JSON.stringify(decision?.body), hash('sha256', sent))
      t.match(outcome?.body, { outcome: 'complete', status: 200 })
    })

    await t.test(`a stream that breaks says so in the provider's words`, async (t) => {
      upstream.behaviour = (_received, response) => {
        begin(response).end(pieces[0])
      }
      const { bytes } = await site.send({ path, body })
      const first = Buffer.from(pieces[0]!)
      // Of text what is whole goes on: to the end of its last line.
      const isText = typeof pieces[0] === 'string'
      const whole = isText ? first.subarray(0, first.lastIndexOf('\n') + 1) : first
      t.ok(bytes.subarray(0, whole.length).equals(whole))
      t.match(bytes.toString('utf8'), provider.broken)
    })

    await t.test(`a client that leaves stops the call`, async (t) => {
      upstream.behaviour = (_received, response) => void begin(response).write(pieces[0])
      const { response } = await open(site.url, { key: site.key, path, body })
      await once(response, 'data')
      response.destroy()
      await until('the upstream call to be cut', () => upstream.last?.closedEarly)
      const id = String(response.headers['x-governor-request-id'])
      const [, outcome] = await site.entriesOf(id, 2)
      t.match(outcome?.body, { outcome: 'client_closed' })
    })

    await t.test(`a refusal, a redirect and an error have the provider's shape`, async (t) => {
      const before = upstream.received.length
      const hidden = JSON.stringify(body).replace('"m-1"', '"m-1","user":"a zebra"')
      const text = hidden.includes('zebra') ? hidden : hidden.replace('hi', 'zebra hi')
      const refused = await site.send({ path, body: text })
      t.equal(refused.headers['x-governor-policy'], 'words')
      t.equal(refused.headers['x-should-retry'], 'false')
      t.match(refused.json, provider.refused)
      t.equal(upstream.received.length, before)
      upstream.behaviour = redirect('http://127.0.0.1:1/')
      const redirected = await site.send({ path, body })
      t.equal(redirected.headers['x-governor-code'], 'UPSTREAM_REDIRECT')
      upstream.behaviour = (_received, response) => {
        response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '7' })
        response.end('{"error":"slow down"}')
      }
      const limited = await site.send({ path, body })
      t.equal(limited.status, 429)
      t.equal(limited.text, '{"error":"slow down"}')
      t.equal(limited.headers['retry-after'], '7', "the provider's own")
      t.equal(limited.headers['x-governor-code'], undefined)
    })
  })
}

/** What an upstream does wrong, and what a client hears of it; null: the error within a stream. */
const FAULTS: Readonly<
  Record<
    string,
    {
      readonly behaviour: Behaviour
      readonly heard: readonly [number, string] | null
    }
  >
> = {
  'says nothing': { behaviour: () => {}, heard: [504, 'UPSTREAM_TIMEOUT'] },
  'falls silent': { behaviour: begin, heard: null },
  'breaks off': {
    behaviour: (received, response) => {
      begin(received, response)
      setImmediate(() => response.socket?.resetAndDestroy())
    },
    heard: null,
  },
  'goes away': {
    behaviour: (_received, response) => void response.socket?.destroy(),
    heard: [502, 'UPSTREAM_FAILED'],
  },
  'speaks something else': {
    behaviour: (_received, { socket }) => void socket?.end('SSH-2.0-OpenSSH_9.9\r\n'),
    heard: [502, 'UPSTREAM_FAILED'],
  },
  'has headers without end': {
    behaviour: (_received, { socket }) => {
      socket?.on('error', () => {})
      socket?.write(`HTTP/1.1 200 OK\r\nx-long: ${'x'.repeat(200_000)}`)
    },
    heard: [502, 'UPSTREAM_FAILED'],
  },
  'sends elsewhere': {
    behaviour: redirect('http://127.0.0.1:1/'),
    heard: [502, 'UPSTREAM_REDIRECT'],
  },
  'answers in an encoding': {
    behaviour: (_received, response) => {
      response.writeHead(200, { 'content-encoding': 'br' }).end('x')
    },
    heard: [502, 'UPSTREAM_FAILED'],
  },
}

/** After a good beginning what is nearly an event, of which some client might read the text. */
const talksNonsense: Behaviour = (received, response) => {
  begin(received, response)
  const nonsense: Readonly<Record<string, string | Buffer>> = {
    'application/vnd.amazon.eventstream': frame('contentBlockDelta', {
      delta: { text: 'walrus' },
    }).fill(0xff, 20, 40),
    'application/x-ndjson': '{"message":{"content":"walrus"\n{"message":{"content":"walrus"}}\n',
  }
  const { type } = Object.values(PROVIDERS).find(({ path }) => path === received.path)!
  response.end(nonsense[type] ?? '\n\ndata: {"delta":{"text":"walrus"\n\n')
}

/** Before the name of a fault, for calls that ask for a whole answer. */
const WHOLE = 'whole '

/** The beginning of the stream that was asked for, or of a whole answer. */
function begin({ path, headers }: Received, response: ServerResponse): void {
  if (headers['user-agent']?.startsWith(WHOLE)) {
    response.writeHead(200, { 'content-type': 'application/json' }).write('{"a":')
    return
  }
  const { type, pieces } = Object.values(PROVIDERS).find((each) => each.path === path)!
  response.writeHead(200, { 'content-type': type }).write(pieces[0]!)
}

t.test(
  'whatever an upstream does wrong, a client of any provider hears it as its own',
  async (t) => {
    const upstream = await FakeUpstream.start(t, (received, response) => {
      const name = received.headers['user-agent']?.replace(WHOLE, '') ?? ''
      return (FAULTS[name]?.behaviour ?? talksNonsense)(received, response)
    })
    const own = Object.keys(PROVIDERS).map((dialect) => {
      const timeouts = '{ first_byte: 8s, idle: 8s }'
      return `  - { name: ${dialect}, dialect: ${dialect}, url: '${upstream.url}', credential: '\${UPSTREAM_KEY}', timeouts: ${timeouts} }\n`
    })
    const text = configText({ policies: POLICIES }).replace(
      /(upstreams:\n)(?: .*\n)+/,
      (_all, head: string) => head + own.join(''),
    )
    const site = new InProcess(t.testdir(), text)
    site.key = await site.createKey()
    const watched = await site.createKey('watched')
    await site.open()
    t.teardown(() => site.governor.stop(0))
    for (const [dialect, provider] of Object.entries(PROVIDERS)) {
      const sent = { path: `/${dialect}${provider.path}`, body: provider.body, key: watched }
      const text = (await site.send(sent)).bytes.toString('latin1')
      t.notMatch(text, /walrus/, `${dialect}: nothing passes that nobody could read`)
      t.match(text, /cannot be read|checksum of a frame is wrong/, dialect)
    }
    const calls = Object.entries(PROVIDERS).flatMap(([dialect, provider]) =>
      Object.entries(FAULTS).map(async ([name, { heard }]) => {
        const what = `${dialect}: ${name}`
        const headers = { 'user-agent': name }
        const path = `/${dialect}${provider.path}`
        const answer = await site.send({ path, body: provider.body, headers })
        const id = String(answer.headers['x-governor-request-id'])
        if (heard === null) {
          t.equal(answer.status, 200, what)
          const first = Buffer.from(provider.pieces[0]!)
          t.match(answer.bytes.toString('utf8', first.length), /upstream (did not|broke)/, what)
          return {
            id,
            what,
            code: name === 'falls silent' ? 'UPSTREAM_TIMEOUT' : 'UPSTREAM_FAILED',
          }
        }
        const [status, code] = heard
        t.strictSame([answer.status, answer.headers['x-governor-code']], [status, code], what)
        t.match(answer.json, provider.failed, what)
        return { id, what, code }
      }),
    )
    const whole = Object.entries(PROVIDERS).flatMap(([dialect, { path, body, plain, failed }]) =>
      Object.entries(FAULTS).map(async ([name, { heard }]) => {
        const what = `${dialect}, not streamed: ${name}`
        const headers = { 'user-agent': `${WHOLE}${name}` }
        const sent = { path: `/${dialect}${plain.path ?? path}`, body: plain.body ?? body, headers }
        if (heard === null) {
          // Where some of it was passed on already, the connection breaks as that of the provider did.
          const status = await site
            .send(sent)
            .then((answer) => answer.status)
            .catch(() => 0)
          t.not(status, 200, what)
          return []
        }
        const answer = await site.send(sent)
        const [status, code] = heard
        t.strictSame([answer.status, answer.headers['x-governor-code']], [status, code], what)
        t.match(answer.json, failed, what)
        return [{ id: String(answer.headers['x-governor-request-id']), what, code }]
      }),
    )
    const told = [...(await Promise.all(calls)), ...(await Promise.all(whole)).flat()]
    for (const { id, what, code } of told) {
      const [, outcome] = await site.entriesOf(id, 2)
      t.match(outcome?.body, { outcome: 'upstream_failed', code }, what)
    }
    t.equal(await site.metric('governor_inflight_requests'), 0)

    const before = upstream.received.length
    for (const [dialect, { path, body, plain }] of Object.entries(PROVIDERS)) {
      for (const form of [
        { path, body },
        { path, body, ...plain },
      ]) {
        const headers = { 'user-agent': 'says nothing' }
        const sent = { key: site.key, headers, body: form.body, path: `/${dialect}${form.path}` }
        const { request, response } = begun(site.url, sent)
        response.catch(() => {})
        const count = upstream.received.length
        await until('the upstream to be called', () => upstream.received.length > count)
        request.destroy()
        await until('its call to be cut', () => upstream.last!.closedEarly)
      }
    }
    const left = upstream.received.length - before
    await until('all who left to be settled', () => {
      return site.entries().filter(({ body }) => body.outcome === 'client_closed').length === left
    })
    t.equal(left, 2 * Object.keys(PROVIDERS).length)
    t.equal(await site.metric('governor_inflight_requests'), 0)
  },
)
