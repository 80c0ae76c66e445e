import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import t from 'tap'
import { type RawData, WebSocket, WebSocketServer } from 'ws'

import {
  type InProcess,
  type Sections,
  startGovernor,
  UPSTREAM_KEY,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: what is declared `inspect: none` is sent on unread, and only where a policy says so; who calls, how
 * often, where to and with which credential is decided as ever. Method: the real `ws` on both sides.
 */

const POLICIES = `
  - { id: voices, allow: { operations: [realtime], models: ['*'], uninspectable: [tunnel] } }
  - { id: answers, allow: { operations: [chat] } }
  - { id: codename, deny: { input: { words: [zeus] } } }`
const PATH = '/voice/v2/speak?model=loud&format=pcm_16'

type Test = Parameters<typeof startGovernor>[0]
type Heads = { url: string | undefined; headers: NodeJS.Dict<string | string[]> }[]

interface Service {
  readonly url: string
  readonly heads: Heads
  readonly sockets: WebSocket[]
}

/** A service that repeats what it hears, compressed where that was agreed. */
async function startService(t: Test): Promise<Service> {
  const server = createServer((_, outgoing) => outgoing.writeHead(500).end('no'))
  const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 } })
  const service: Service = { url: '', heads: [], sockets: [] }
  sockets.on('headers', (lines) => lines.push('set-cookie: a=b', 'x-secret: s', 'x-request-id: r1'))
  sockets.on('connection', (socket: WebSocket, { url, headers }) => {
    service.heads.push({ url, headers })
    service.sockets.push(socket)
    socket.on('error', () => {})
    socket.on('message', (data: RawData, binary: boolean) => {
      socket.send(data as Buffer, { binary })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    server.close()
  })
  return { ...service, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/base` }
}

interface Parts {
  readonly service: Service
  readonly site: InProcess
}

async function setUp(t: Test, sections: Sections = {}): Promise<Parts> {
  const service = await startService(t)
  const voice = unread('voice', service.url)
  const site = await startGovernor(t, { upstreams: [voice], policies: POLICIES, ...sections })
  return { service, site }
}

/** An upstream whose upgrades nobody reads. */
function unread(name: string, url: string): string {
  return `{ name: ${name}, dialect: openai, url: '${url}', credential: '\${UPSTREAM_KEY}', inspect: none }`
}

/** What a refused client reads. */
function refusal(opening: Promise<unknown>): Promise<string> {
  return opening.then(
    () => 'it was opened',
    (error: Error) => error.message,
  )
}

/** Opens a tunnel; rejects with the status where it is refused. */
async function open(
  { site }: Pick<Parts, 'site'>,
  { path = PATH, key = site.key, more = {} }: { path?: string; key?: string; more?: object } = {},
): Promise<WebSocket> {
  const headers = { authorization: `Bearer ${key}`, 'x-forwarded-for': '1.2.3.4', ...more }
  const socket = new WebSocket(site.url.replace('http', 'ws') + path, ['speech'], {
    headers,
    perMessageDeflate: true,
  })
  socket.on('error', () => {})
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('unexpected-response', (_, response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        reject(new Error(`${response.statusCode} ${Buffer.concat(chunks).toString()}`))
      })
    })
  })
  return socket
}

t.test(
  'a tunnel: our credential, our host, bytes as they are, and an entry that says so',
  async (t) => {
    const parts = await setUp(t)
    const { service, site } = parts
    const socket = await open(parts)
    t.match(socket.extensions, /permessage-deflate/)
    const noise = Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * 7919) % 251))
    const heard: Buffer[] = []
    socket.on('message', (data: RawData) => heard.push(data as Buffer))
    socket.send('about zeus, which nobody reads')
    socket.send(noise)
    await until('both', () => heard.length === 2)
    t.equal(heard[0]!.toString(), 'about zeus, which nobody reads')
    t.ok(heard[1]!.equals(noise))
    const [head] = service.heads
    t.equal(head!.url, '/base/v2/speak?model=loud&format=pcm_16')
    t.match(head!.headers, {
      host: new URL(service.url).host,
      authorization: `Bearer ${UPSTREAM_KEY}`,
      'sec-websocket-protocol': 'speech',
    })
    t.notOk('x-forwarded-for' in head!.headers)
    t.notOk(JSON.stringify(head).includes(site.key.split('.')[1]!))
    socket.close(1000)
    const [decision] = await site.bodiesOf('decision', 1)
    t.match(decision, {
      decision: 'allow',
      operation: 'realtime',
      api: 'tunnel',
      upstream: 'voice',
      'gen_ai.request.model': 'loud',
      facts: { uninspectable: { tunnel: 1 } },
    })
    const [outcome] = await site.bodiesOf('outcome', 1)
    t.match(outcome, { outcome: 'complete', status: 101, upstream_status: 101 })
    t.ok(Number(outcome!['sent_bytes']) > 100, String(outcome!['sent_bytes']))
    t.ok(Number(outcome!['answer_bytes']) > 100, String(outcome!['answer_bytes']))
    t.equal(await site.metric('governor_inflight_requests'), 0)
  },
)

t.test('of the answer only listed headers come back, and ours', async (t) => {
  const parts = await setUp(t)
  const socket = new WebSocket(parts.site.url.replace('http', 'ws') + PATH, {
    headers: { authorization: `Bearer ${parts.site.key}` },
  })
  const [{ headers }] = (await once(socket, 'upgrade')) as [{ headers: NodeJS.Dict<string> }]
  t.match(headers, { 'x-request-id': 'r1', 'x-governor-decision': 'allow' })
  t.notOk('set-cookie' in headers)
  t.notOk('x-secret' in headers)
  socket.terminate()
})

t.test('nothing is tunnelled that a policy did not open in so many words', async (t) => {
  const cases: readonly [name: string, policies: string][] = [
    ['no allow', '[{ id: chat, allow: { operations: [chat] } }]'],
    ['an allow that says nothing of tunnels', '[{ id: all, allow: {} }]'],
    ['other content', '[{ id: all, allow: { uninspectable: [audio] } }]'],
    [
      'in shadow',
      '[{ id: all, allow: {} }, { id: t, mode: shadow, allow: { uninspectable: [tunnel] } }]',
    ],
    [
      'a deny',
      "[{ id: all, allow: { uninspectable: [tunnel] } }, { id: never, deny: { models: ['lo*'] } }]",
    ],
    [
      'a policy on answers',
      '[{ id: all, allow: { uninspectable: [tunnel] } }, { id: never, deny: { output: { words: [bluebird] } } }]',
    ],
  ]
  for (const [name, policies] of cases) {
    await t.test(name, async (t) => {
      const parts = await setUp(t, { policies })
      await t.rejects(open(parts), { message: /^403 .*policy_denied/ })
      t.equal(parts.service.heads.length, 0)
      t.match(await parts.site.bodiesOf('decision', 1), [{ decision: 'deny', api: 'tunnel' }])
    })
  }
})

t.test('who calls and what is called are looked at before anything is opened', async (t) => {
  const parts = await setUp(t)
  await t.rejects(open(parts, { key: 'nobody' }), { message: /^401/ })
  for (const path of ['/voice//x', '/voice/a%2fb', '/voice/x?a=b%20c', '/voice/x?a=1&a=2']) {
    await t.rejects(open(parts, { path }), { message: /^400/ }, path)
  }
  for (const name of ['api_key', 'access_token', 'token', 'auth']) {
    const path = `/voice/x?${name}=sk-something`
    const message = await refusal(open(parts, { path }))
    t.match(message, /^400/)
    t.notMatch(message, /sk-something/)
  }
  await t.rejects(open(parts, { path: '/v2/speak' }), { message: /^40[34]/ })
  await t.rejects(open(parts, { path: '/up/v2/speak' }), { message: /^40[34]/ })
  const plain = await parts.site.send({ path: '/voice/v2/speak', body: '{}' })
  t.equal(plain.status, 404, 'a call is no tunnel: its path has to be known')
  t.equal(parts.service.heads.length, 0)
})

t.test('a call to such an upstream is inspected like any other', async (t) => {
  const parts = await setUp(t)
  const body = { model: 'gpt-4o', messages: [{ role: 'user', content: 'about zeus' }] }
  const refused = await parts.site.send({ path: '/voice/v1/chat/completions', body })
  t.equal(refused.status, 403)
})

t.test('a place is held as long as the tunnel is open', async (t) => {
  const parts = await setUp(t, { limits: '[{ id: one, per: key, concurrent: 1 }]' })
  const socket = await open(parts)
  await t.rejects(open(parts), { message: /^429/ })
  socket.terminate()
  await until('the place to be free', async () => {
    const next = await open(parts).catch(() => null)
    next?.terminate()
    return next !== null
  })
})

t.test('a provider that does not agree, is not there, or goes away', async (t) => {
  const parts = await setUp(t)
  const refusing = createServer((_, outgoing) => {
    outgoing.writeHead(401, { 'x-leak': UPSTREAM_KEY }).end(`key ${UPSTREAM_KEY} is wrong`)
  })
  refusing.listen(0, '127.0.0.1')
  await once(refusing, 'listening')
  t.teardown(() => refusing.close())
  const { port } = refusing.address() as AddressInfo
  const upstreams = [
    unread('refusing', `http://127.0.0.1:${port}`),
    unread('gone', 'http://127.0.0.1:9'),
  ]
  await t.test('not opened', async (t) => {
    const site = await startGovernor(t, { upstreams, policies: POLICIES })
    const message = await refusal(open({ site }, { path: '/refusing/x' }))
    t.match(message, /^502 .*status 401/)
    t.notOk(message.includes(UPSTREAM_KEY))
    await t.rejects(open({ site }, { path: '/gone/x' }), { message: /^502/ })
    t.match(await site.bodiesOf('outcome', 2), [
      { code: 'UPSTREAM_FAILED' },
      { code: 'UPSTREAM_UNREACHABLE' },
    ])
  })
  const socket = await open(parts)
  parts.service.sockets[0]!.terminate()
  await once(socket, 'close')
  t.match(await parts.site.bodiesOf('outcome', 1), [{ status: 101 }])
  t.equal(await parts.site.metric('governor_streams_open'), 0)
})

t.test('the client that goes is heard of at once', async (t) => {
  const parts = await setUp(t)
  const socket = await open(parts)
  const gone = once(parts.service.sockets[0]!, 'close')
  socket.terminate()
  await gone
  t.match(await parts.site.bodiesOf('outcome', 1), [{ outcome: /complete|client_closed/ }])
})

t.test('a tunnel nobody uses is closed, and so is one whose key is revoked', async (t) => {
  await t.test('idle', async (t) => {
    const parts = await setUp(t, { timeouts: '{ idle: 1s }' })
    const socket = await open(parts)
    await once(socket, 'close')
    t.match(await parts.site.bodiesOf('outcome', 1), [{ outcome: 'complete' }])
  })
  const parts = await setUp(t)
  const socket = await open(parts)
  const closed = once(socket, 'close')
  await parts.site.cli('keys', 'revoke', parts.site.key.split('.')[0]!)
  await closed
  t.match(await parts.site.bodiesOf('outcome', 1), [{ code: 'AUTH_KEY_INVALID' }])
})

t.test('shutting down waits for a tunnel that is used, not for one that is quiet', async (t) => {
  const parts = await setUp(t)
  const quiet = await open(parts)
  const used = await open(parts)
  const heard: string[] = []
  used.on('message', (data: RawData) => heard.push((data as Buffer).toString()))
  const speaking = setInterval(() => used.send('still here'), 50)
  t.teardown(() => clearInterval(speaking))
  const stopped = parts.site.governor.stop(20_000)
  await once(quiet, 'close')
  const before = heard.length
  await until('the other to go on', () => heard.length > before)
  used.close(1000)
  clearInterval(speaking)
  await stopped
})
