import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'

import t from 'tap'

import { writeFrame } from '../../src/dialect/bedrock-frames.ts'
import type { Row } from '../../src/dialect/table.ts'
import type { SocketReader } from '../../src/nouns/socket-events.ts'
import { unformatted } from '../config/generated.ts'
import type { Answered } from '../support/client.ts'
import {
  type Event,
  FakeRealtime,
  type FakeSession,
  RealtimeClient,
} from '../support/fake-realtime.ts'
import { answer, type Behaviour, FakeUpstream } from '../support/fake-upstream.ts'
import { type Entry, type InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'
import { claimsOf, eventsOf, producesOutput, SOCKETS, TABLES } from './coverage.ts'
import { ENDPOINTS, endpointsFile } from './endpoints.ts'
import { sampleCall, samplePath } from './samples.ts'

/** Goal: no endpoint of the tables can be reached without every control its line claims. */

const POLICIES = `
  - { id: everything, allow: { operations: ['*'], models: ['*'] } }
  - { id: no-model, deny: { models: ['denied-*'] } }
  - { id: no-text, deny: { input: { words: [zebra] } } }`
/** Of calls, which have an upstream beside, and more answers than sessions. */
const CALL_POLICIES = `${POLICIES}
  - { id: mask, redact: { input: { detect: [email] } } }
  - { id: no-answer, for: { upstreams: [said] }, deny: { output: { words: [walrus] } } }`
const LIMITS = '[{ id: once, per: key, for: { keys: [limited] }, requests: 1/1h }]'
const PLAIN = { model: 'some-model', text: 'hello' }

/** Calls under way together, so that their entries share commits. */
const AT_ONCE = 16

interface Call {
  readonly row: Row
  readonly streamed: boolean
  readonly wanted?: typeof PLAIN
  readonly key?: string
  /** It is for the upstream whose answers are refused. */
  readonly isSaid?: boolean
}

/** What a model says that policies on answers refuse, in all the places where dialects have texts. */
const WALRUS = 'a walrus here'
const SAID_WHOLE = {
  id: 'x',
  object: 'list',
  text: WALRUS,
  data: [{ id: 'y', text: WALRUS, content: [{ type: 'text', text: { value: WALRUS } }] }],
}
const SAID_EVENT = {
  type: 'transcript.text.delta',
  delta: WALRUS,
  choices: [{ index: 0, delta: { content: WALRUS }, text: WALRUS }],
}
const ANTHROPIC_EVENT = {
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: WALRUS },
}
const sse = (event: object) => `event: thing\ndata: ${JSON.stringify(event)}\n\n`
const FRAME = { ':message-type': 'event', ':event-type': 'contentBlockDelta' }
/** The same as a stream, by dialect; of those that are not here as of OpenAI. */
const SAID_STREAMS: Readonly<Record<string, readonly [string, string | Buffer]>> = {
  openai: ['text/event-stream', sse(SAID_EVENT)],
  anthropic: ['text/event-stream', sse(ANTHROPIC_EVENT).replace('thing', ANTHROPIC_EVENT.type)],
  gemini: [
    'text/event-stream',
    sse({ ...SAID_EVENT, candidates: [{ content: { parts: [{ text: WALRUS }] } }] }),
  ],
  bedrock: [
    'application/vnd.amazon.eventstream',
    writeFrame(FRAME, JSON.stringify({ contentBlockIndex: 0, delta: { text: WALRUS } })),
  ],
  ollama: [
    'application/x-ndjson',
    `${JSON.stringify({ message: { content: WALRUS }, response: WALRUS, done: false })}\n`,
  ],
}

/** Says what policies refuse, as a stream to who asks for one. */
function saying(dialect: string): Behaviour {
  const [type, stream] = SAID_STREAMS[dialect] ?? SAID_STREAMS['openai']!
  return (received, response) => {
    if (received.headers['user-agent'] !== 'streamed') return answer(SAID_WHOLE)(received, response)
    response.writeHead(200, { 'content-type': type }).end(stream)
  }
}

/** A call that passed: what its entries have to say. */
interface Passed extends Call {
  readonly name: string
  readonly id: string
  /** The call whose answer was refused. */
  readonly saidId: string
}

interface Assert {
  ok(found: unknown, name: string): unknown
  equal(found: unknown, wanted: unknown, name: string): unknown
  match(found: unknown, wanted: RegExp, name: string): unknown
  notOk(found: unknown, name: string): unknown
  strictSame(found: unknown, wanted: unknown, name: string): unknown
}

class Site {
  readonly #site: InProcess
  readonly #agent = new Agent({ keepAlive: true })
  readonly #dialect: string
  /** A key whose limit is used up. */
  readonly limited: string

  constructor(site: InProcess, dialect: string, limited: string) {
    this.#site = site
    this.limited = limited
    this.#dialect = dialect
  }

  call({ row, streamed, wanted = PLAIN, key, isSaid = false }: Call): Promise<Answered> {
    const { body, headers } = sampleCall(row, wanted, streamed)
    const marks = this.#dialect === 'anthropic' ? { 'anthropic-version': '2023-06-01' } : {}
    return this.#site.send({
      method: row.method,
      path: `${isSaid ? '/said' : ''}${samplePath(row, wanted.model, streamed)}`,
      agent: this.#agent,
      ...(key !== undefined && { key }),
      headers: { ...headers, ...marks, 'user-agent': streamed ? 'streamed' : 'whole' },
      ...(body !== undefined && { body }),
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

const code = ({ status, headers }: Answered) =>
  `${status} ${String(headers['x-governor-policy'] ?? headers['x-governor-code'] ?? '-')}`

for (const [dialect, rows] of Object.entries(TABLES)) {
  t.test(`every endpoint of ${dialect} is under every control it claims`, async (t) => {
    const said = await FakeUpstream.start(t, saying(dialect))
    const sections = {
      dialect,
      upstreams: [
        `{ name: said, dialect: ${dialect}, url: '${said.url}', credential: '\${UPSTREAM_KEY}', usage: observe }`,
      ],
      policies: CALL_POLICIES,
      limits: LIMITS,
      defaults: '{ uninspectable: allow }',
      usage: dialect.endsWith('openai') ? ('ask' as const) : ('observe' as const),
    }
    const site = await startGovernor(t, sections)
    const limited = await site.createKey('limited')
    const calls = new Site(site, dialect, limited)
    const passed: Passed[] = []
    await until('the key that is limited to have used its limit', async () => {
      const { status } = await calls.call({ row: rows[0]!, streamed: false, key: limited })
      return status === 403 ? true : null
    })
    const all = rows.flatMap((row): Call[] => {
      const whole = { row, streamed: false }
      return claimsOf(row).streams ? [whole, { row, streamed: true }] : [whole]
    })
    for (let at = 0; at < all.length; at += AT_ONCE) {
      const some = all.slice(at, at + AT_ONCE)
      passed.push(...(await Promise.all(some.map((call) => checkCall(t, calls, call)))))
    }
    calls.close()
    await checkEntries(t, site, passed)
  })
}

/** All refusals of one endpoint, and the call that passes. */
async function checkCall(t: Assert, calls: Site, call: Call): Promise<Passed> {
  const { row, streamed } = call
  const { model, text } = claimsOf(row)
  const name = `${row.method} ${row.path}${streamed ? ' streamed' : ''}`
  const answer = await calls.call(call)
  const isAnswered = answer.status === 200 || answer.status === 404
  t.ok(isAnswered, `${name}: passes, ${isAnswered ? '' : answer.text}`)
  const refused: readonly (readonly [string, string, Partial<Call>, boolean])[] = [
    ['auth', '401 AUTH_KEY_INVALID', { key: 'sk-none' }, true],
    ['limit', '403 LIMIT_EXHAUSTED', { key: calls.limited }, true],
    ['model', '403 no-model', { wanted: { ...PLAIN, model: 'denied-model' } }, model !== '-'],
    ['text', '403 no-text', { wanted: { ...PLAIN, text: 'a zebra here' } }, text],
  ]
  for (const [control, wanted, more, isClaimed] of refused) {
    if (isClaimed)
      t.equal(code(await calls.call({ ...call, ...more })), wanted, `${name}: ${control}`)
  }
  if (text) {
    const wanted = { ...PLAIN, text: 'to jo@example.com now' }
    const masked = await calls.call({ ...call, wanted })
    const changed = String(masked.headers['x-governor-changed'])
    t.match(changed, /\bredacted\b/, `${name}: redaction`)
    t.notOk(masked.text.includes('jo@example'), `${name}: what is masked is not told`)
  }
  const refusal = await calls.call({ ...call, isSaid: true })
  if (!streamed) t.equal(code(refusal), '403 no-answer', `${name}: output`)
  t.notOk(refusal.bytes.includes('walrus'), `${name}: output does not arrive`)
  const [id, saidId] = [answer, refusal].map(({ headers }) =>
    String(headers['x-governor-request-id']),
  )
  return { ...call, name, id: id!, saidId: saidId! }
}

async function checkEntries(t: Assert, site: InProcess, passed: readonly Passed[]): Promise<void> {
  const ids = new Set(passed.flatMap(({ id, saidId }) => [id, saidId]))
  const entries = await until('all outcomes', () => {
    const found = site.entries().filter(({ requestId }) => ids.has(requestId))
    return found.length >= 4 * passed.length ? found : null
  })
  const byId = Map.groupBy(entries, ({ requestId }: Entry) => requestId)
  for (const { name, id, saidId, row, streamed } of passed) {
    const [decision, outcome] = byId.get(id)!.map(({ body }) => body)
    const { operation, api } = row.endpoint
    t.strictSame([decision?.['operation'], decision?.['api']], [operation, api], `${name}: audit`)
    const { usage, usageStreamed } = claimsOf(row)
    const isReported = typeof outcome?.['gen_ai.usage.input_tokens'] === 'number'
    t.strictSame(isReported, streamed ? usageStreamed : usage, `${name}: usage`)
    const said = JSON.stringify(byId.get(saidId)![1]!.body)
    t.ok(said.includes('"no-answer"'), `${name}: who refused the answer`)
  }
}

const USAGE = { input_tokens: 20, output_tokens: 10, total_tokens: 30 }
const GEMINI_USAGE = { promptTokenCount: 20, responseTokenCount: 10 }

/** What opens a session where its query does not. */
function opening({ first }: SocketReader, { model, text }: typeof PLAIN): object | null {
  if (first === undefined) return null
  if (first === 'event') return { type: 'response.create', model, input: text }
  return { setup: { model, systemInstruction: { parts: [{ text }] } } }
}

/** An event of a name, with a text in it. */
function sampleEvent(type: string, text: string): object {
  if (type === 'clientContent') {
    return { clientContent: { turns: [{ parts: [{ text }] }], turnComplete: true } }
  }
  if (type === 'realtimeInput') return { realtimeInput: { text } }
  if (type === 'toolResponse') {
    return { toolResponse: { functionResponses: [{ id: 'c', name: 'f', response: { text } }] } }
  }
  // Of an event of the session itself every string counts, too.
  return type === 'response.steer' ? { type, input: text } : { type, event_id: text }
}

/** A provider of all kinds of sessions: a response for every event that asks for one. */
function respond(session: FakeSession, event: Event): void {
  const tell = (message: object) => session.socket.send(JSON.stringify(message))
  if ('setup' in event) tell({ setupComplete: {} })
  if ('clientContent' in event) {
    tell({ serverContent: { modelTurn: { parts: [{ text: 'hi' }] } } })
    tell({ serverContent: { turnComplete: true }, usageMetadata: GEMINI_USAGE })
  }
  if (event.type !== 'response.create') return
  const response = { id: `resp_${session.received.length}`, usage: USAGE, output: [] }
  tell({ type: 'response.created', response: { id: response.id } })
  const isRealtime = session.head.url!.includes('realtime')
  tell({ type: isRealtime ? 'response.done' : 'response.completed', response })
}

class Sockets {
  readonly #site: InProcess
  readonly #reader: SocketReader
  readonly #path: string

  constructor(site: InProcess, reader: SocketReader, path: string) {
    this.#site = site
    this.#reader = reader
    const [parameter] = reader.modelParameters
    this.#path = parameter === undefined ? `/up${path}` : `/up${path}?${parameter}=`
  }

  /** Why it is not opened: a status, or what its error says; else the client. */
  async open(key: string, wanted = PLAIN): Promise<RealtimeClient | string> {
    const { modelParameters } = this.#reader
    const path = modelParameters.length === 0 ? this.#path : this.#path + wanted.model
    try {
      const client = await RealtimeClient.open(this.#site.url, key, path)
      const first = opening(this.#reader, wanted)
      if (first === null) return client
      client.socket.send(JSON.stringify(first))
      await until('an answer', () => client.heard.length > 0 || client.closed !== null)
      const error = client.heard[0]?.['error'] as { code?: unknown; status?: string } | undefined
      if (error === undefined) return client
      client.socket.terminate()
      return error.status ?? String(error.code)
    } catch (error) {
      return (error as Error).message
    }
  }
}

for (const [dialect, readers] of Object.entries(SOCKETS)) {
  for (const reader of readers) {
    const { api } = reader.endpoint
    t.test(`sessions of ${dialect} ${api} are under every control they claim`, async (t) => {
      const upstream = await FakeRealtime.start(t, { greets: false })
      upstream.script = respond
      const defaults = '{ uninspectable: allow }'
      const sections = { dialect, policies: POLICIES, limits: LIMITS, defaults }
      const site = await startGovernor(t, { upstream: upstream.url, ...sections })
      const limited = await site.createKey('limited')
      for (const path of reader.paths) {
        const sockets = new Sockets(site, reader, path)
        t.equal(await sockets.open('sk-none'), '401', `${path}: auth`)
        const used = await until('the limit to be used up', async () => {
          const opened = await sockets.open(limited)
          if (typeof opened === 'string') return opened === '401' ? null : opened
          opened.socket.terminate()
          return null
        })
        t.match(
          used,
          /^(?:403|insufficient_quota|RESOURCE_EXHAUSTED|PERMISSION_DENIED)$/,
          `${path}: limit`,
        )
        const model = await sockets.open(site.key, { ...PLAIN, model: 'denied-model' })
        t.match(model, /^(?:403|policy_denied|PERMISSION_DENIED)$/, `${path}: model`)
        if (reader.first === 'setup') {
          const text = await sockets.open(site.key, { ...PLAIN, text: 'a zebra here' })
          t.equal(text, 'PERMISSION_DENIED', `${path}: text`)
        }
        await checkEvents(t, { site, upstream, reader, sockets, path })
      }
    })
  }
}

interface Talk {
  readonly site: InProcess
  readonly upstream: FakeRealtime
  readonly reader: SocketReader
  readonly sockets: Sockets
  readonly path: string
}

/** Every event: refused for its text, then sent on; all of it in the audit. */
async function checkEvents(t: Assert, talk: Talk): Promise<void> {
  const { site, upstream, reader, sockets, path } = talk
  const client = (await sockets.open(site.key)) as RealtimeClient
  await until('the session', () => upstream.sessions.length > 0)
  const session = upstream.last
  for (const type of eventsOf(reader)) {
    const name = `${path} ${type}`
    const refusals = client.heard.filter(isError).length
    const sent = session.received.length
    const model = type === 'response.create' && !reader.keepsModels ? { model: 'some-model' } : {}
    client.socket.send(JSON.stringify({ ...sampleEvent(type, 'a zebra here'), ...model }))
    await until(`${name} to be refused`, () => client.heard.filter(isError).length > refusals)
    t.equal(session.received.length, sent, `${name}: text`)
    client.socket.send(JSON.stringify({ ...sampleEvent(type, 'hello'), ...model }))
    await until(`${name} to pass`, () => session.received.length > sent)
  }
  client.socket.close()
  for (const type of eventsOf(reader)) {
    const { api, operation } = reader.eventEndpoint({ type, produces: producesOutput(type) })
    const entries = await until(`entries of ${type}`, () => {
      const all = site.entries()
      const decision = all.find(({ kind, body }) => {
        return kind === 'decision' && body.decision === 'allow' && isEventOf(body, api)
      })
      const outcome = all.find(({ kind, requestId }) => {
        return kind === 'outcome' && requestId === decision?.requestId
      })
      return outcome === undefined ? null : [decision!.body, outcome.body]
    })
    const [decision, outcome] = entries
    t.equal(decision!['operation'], operation, `${path} ${type}: audit`)
    const isReported = outcome!['gen_ai.usage.input_tokens'] === 20
    t.equal(isReported, producesOutput(type), `${path} ${type}: usage`)
  }
}

function isError(event: object): boolean {
  return JSON.stringify(event).includes('"error"')
}

function isEventOf(body: Entry['body'], api: string): boolean {
  return body['api'] === api && body['session'] !== undefined
}

t.test('the printed table is what the tables say', async (t) => {
  const printed = unformatted(readFileSync(ENDPOINTS, 'utf8'))
  t.equal(printed, unformatted(endpointsFile()), 'run test/dialect/endpoints.ts --write')
})
