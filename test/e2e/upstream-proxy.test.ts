import { writeFileSync } from 'node:fs'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { env } from 'node:process'

import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'

import { Authority } from '../support/certificates.ts'
import { begin, chat, open } from '../support/client.ts'
import { ConnectProxy, opensTheWay, type ProxyBehaviour, says } from '../support/connect-proxy.ts'
import { FakeRealtime, RealtimeClient, said } from '../support/fake-realtime.ts'
import { CHAT_ANSWER, FakeUpstream, hangMidStream } from '../support/fake-upstream.ts'
import { configText, InProcess, type Sections, UPSTREAM_KEY } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: with `proxy` everything sent to an upstream goes through that proxy, and neither side gets the
 * other's credential. Method: a real CONNECT proxy that writes down each byte.
 */

const CREDENTIAL = 'governor:p:ssword-0123456789'
const BASIC = `Basic ${Buffer.from(CREDENTIAL).toString('base64')}`

type Test = Parameters<typeof FakeUpstream.start>[0] & {
  testdir(files?: Readonly<Record<string, string>>): string
}

/** A running Governor; `files` are beside its configuration. */
async function start(
  t: Test,
  sections: Sections,
  files: Readonly<Record<string, string>> = {},
): Promise<InProcess> {
  const folder = t.testdir({ ...files, 'proxy-secret': `${CREDENTIAL}\n` })
  const site = new InProcess(folder, configText(sections))
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  return site
}

function through({ url }: { url: string }, more = ''): string {
  return `proxy: { url: '${url}', credential_file: proxy-secret${more} }`
}

/** An https server with a certificate of its own. */
async function tlsUpstream(t: Test, authority: Authority): Promise<string> {
  const pair = authority.issue({ subject: { CN: 'upstream' }, dns: ['localhost'] })
  const server = createHttpsServer(pair, (request, response) => {
    const isOurs = request.headers.authorization === `Bearer ${UPSTREAM_KEY}`
    response.writeHead(isOurs ? 200 : 401, { 'content-type': 'application/json' })
    response.end(JSON.stringify(CHAT_ANSWER))
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket: WebSocket) => {
    socket.on('error', () => {})
    socket.on('message', (data) => socket.send(data as Buffer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    server.close()
  })
  return `https://localhost:${(server.address() as AddressInfo).port}`
}

t.test('an http upstream is called through the proxy, over one connection', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const proxy = await ConnectProxy.start(t)
  const site = await start(t, { upstream: upstream.url, more: through(proxy) })
  const headers = { 'proxy-authorization': 'Basic b2Y6Y2xpZW50' }
  const first = await site.send({ body: chat('hi'), headers })
  t.equal(first.status, 200)
  t.equal(first.text, JSON.stringify(CHAT_ANSWER))
  t.equal((await site.send({ body: chat('hi again') })).status, 200)
  const authority = new URL(upstream.url).host
  t.strictSame(proxy.others, [])
  t.strictSame(proxy.asked, [
    {
      target: authority,
      rawHeaders: ['host', authority, 'connection', 'keep-alive', 'proxy-authorization', BASIC],
    },
  ])
  t.equal(upstream.received.length, 2)
  t.equal(upstream.last?.headers.authorization, `Bearer ${UPSTREAM_KEY}`)
  t.equal(upstream.last?.headers.host, authority)
  t.notMatch(upstream.everything, /proxy-authorization/i)
  t.match(proxy.passed, /Hello there/, 'it did pass there')
})

t.test('an https upstream is checked inside, and the proxy reads nothing', async (t) => {
  const [ours, theirs] = [new Authority('Ours'), new Authority('Theirs')]
  const upstream = await tlsUpstream(t, ours)
  const proxy = await ConnectProxy.start(t)
  const more = `${through(proxy)}, ca_file: ca.pem`
  const site = await start(t, { upstream, more }, { 'ca.pem': ours.cert, 'other.pem': theirs.cert })
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.equal(proxy.asked[0]?.target, new URL(upstream).host)
  t.notMatch(proxy.passed, /Hello there|sk-upstream|chat\/completions/)

  writeFileSync(site.file, configText({ upstream, more: more.replace('ca.pem', 'other.pem') }))
  await site.governor.reload(site.load())
  const untrusted = await site.send({ body: chat('hi') })
  t.equal(untrusted.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
  const byAddress = upstream.replace('localhost', '127.0.0.1')
  writeFileSync(site.file, configText({ upstream: byAddress, more }))
  await site.governor.reload(site.load())
  const misnamed = await site.send({ body: chat('hi') })
  t.equal(misnamed.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
  t.equal(await site.metric('governor_upstream_errors_total', 'fault="tls"'), 2)
})

t.test('an https proxy is trusted by its own ca_file, and by nothing else', async (t) => {
  const [ours, theirs] = [new Authority('Ours'), new Authority('Theirs')]
  const upstream = await tlsUpstream(t, ours)
  const pair = theirs.issue({ subject: { CN: 'proxy' }, ips: ['127.0.0.1'] })
  const proxy = await ConnectProxy.start(t, { pair })
  const files = { 'ca.pem': ours.cert, 'proxy.pem': theirs.cert }
  const trusting = `${through(proxy, ', ca_file: proxy.pem')}, ca_file: ca.pem`
  const site = await start(t, { upstream, more: trusting }, files)
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  const watched = ['proxy-secret', 'ca.pem', 'proxy.pem'].map((each) => join(site.directory, each))
  t.strictSame(new Set(site.load().secretFiles), new Set(watched), 'its files are watched')

  writeFileSync(site.file, configText({ upstream, more: `${through(proxy)}, ca_file: ca.pem` }))
  await site.governor.reload(site.load())
  const refused = await site.send({ body: chat('hi') })
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
  t.equal(proxy.asked.length, 1, 'it got no credential')
})

const long = `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`
const REFUSALS: readonly { readonly name: string; readonly behaviour: ProxyBehaviour }[] = [
  { name: '407', behaviour: says('HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n') },
  { name: 'a redirect', behaviour: says('HTTP/1.1 302 Found\r\nlocation: http://a/\r\n\r\n') },
  { name: 'an informational answer', behaviour: says('HTTP/1.1 103 Early Hints\r\n\r\n') },
  { name: 'no HTTP', behaviour: says('SSH-2.0-OpenSSH_9.6\r\n') },
  { name: 'too long a head', behaviour: says(long) },
  { name: 'an answer of its own', behaviour: says('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n') },
  { name: 'an end', behaviour: (_proxy, client) => void client.end() },
  { name: 'a reset', behaviour: (_proxy, client) => void client.resetAndDestroy() },
]

for (const { name, behaviour } of REFUSALS) {
  t.test(`a proxy that answers with ${name} is an upstream that cannot be reached`, async (t) => {
    const upstream = await FakeUpstream.start(t)
    const proxy = await ConnectProxy.start(t, { behaviour })
    const site = await start(t, { upstream: upstream.url, more: through(proxy) })
    const answer = await site.send({ body: chat('hi') })
    t.equal(answer.status, 502)
    t.equal(answer.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
    t.equal(await site.metric('governor_upstream_errors_total', 'fault="connect"'), 1)
    t.notMatch(answer.text + site.logLines.join(), /p:ssword|Z292ZXJub3I/)
    t.equal(upstream.received.length, 0)
    proxy.behaviour = opensTheWay
    t.equal((await site.send({ body: chat('hi') })).status, 200, 'the next call tries again')
  })
}

t.test('nobody at the address of the proxy is an upstream that cannot be reached', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const proxy = await ConnectProxy.start(t)
  proxy.close()
  const site = await start(t, { upstream: upstream.url, more: through(proxy) })
  const answer = await site.send({ body: chat('hi') })
  t.equal(answer.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
  t.equal(upstream.received.length, 0, 'there is no way around it')
})

t.test('a proxy that says nothing has the time to connect, and no more', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const proxy = await ConnectProxy.start(t, { behaviour: says('') })
  const timeouts = '{ connect: 300ms }'
  const site = await start(t, { upstream: upstream.url, more: through(proxy), timeouts })
  const late = await site.send({ body: chat('hi') })
  t.equal(late.status, 504)
  t.equal(late.headers['x-governor-code'], 'UPSTREAM_TIMEOUT')
  t.equal(await site.metric('governor_upstream_errors_total', 'fault="timeout"'), 1)

  const other = await tlsUpstream(t, new Authority())
  proxy.behaviour = says('HTTP/1.1 200 OK\r\n\r\n')
  writeFileSync(site.file, configText({ upstream: other, more: through(proxy), timeouts }))
  await site.governor.reload(site.load())
  const unsecured = await site.send({ body: chat('hi') })
  t.equal(unsecured.headers['x-governor-code'], 'UPSTREAM_TIMEOUT', 'TLS inside is part of it')
})

t.test('a proxy that goes away in the middle of a stream is an upstream that did', async (t) => {
  const upstream = await FakeUpstream.start(t, hangMidStream())
  const proxy = await ConnectProxy.start(t)
  const site = await start(t, { upstream: upstream.url, more: through(proxy) })
  const { response } = await open(site.url, { key: site.key, body: chat('hi', { stream: true }) })
  let text = ''
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (text === '') proxy.cutAll()
    text += chunk.toString()
  }
  t.match(text, /Hello[\s\S]*upstream_failed/)
  upstream.behaviour = (_received, outgoing) => void outgoing.end('{}')
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'the next call has a new way')
})

t.test('a client that leaves while the proxy thinks leaves nothing behind', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const clients: (() => void)[] = []
  const proxy = await ConnectProxy.start(t, {
    behaviour: (...given) => void clients.push(() => opensTheWay(...given)),
  })
  const site = await start(t, { upstream: upstream.url, more: through(proxy) })
  const leaves = begin(site.url, { key: site.key, body: chat('one') })
  leaves.response.catch(() => {})
  await until('the proxy to be asked', () => clients.length === 1)
  leaves.request.destroy()
  await until('the call to be over', () => {
    return site.entries().some(({ body }) => body.outcome === 'client_closed')
  })
  clients[0]!()
  proxy.behaviour = opensTheWay
  t.equal((await site.send({ body: chat('two') })).status, 200)
  t.strictSame(
    upstream.received.map(({ body }) => /one|two/.exec(body.toString())?.[0]),
    ['two'],
  )
})

t.test('a changed proxy or secret is taken by a reload, without a restart', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const [one, other] = [await ConnectProxy.start(t), await ConnectProxy.start(t)]
  const site = await start(t, { upstream: upstream.url, more: through(one) })
  const call = async () => t.equal((await site.send({ body: chat('hi') })).status, 200)
  await call()
  await site.governor.reload(site.load())
  await call()
  t.equal(one.asked.length, 1, 'what is the same keeps its connections')
  writeFileSync(join(site.directory, 'proxy-secret'), 'governor:new\n')
  await site.governor.reload(site.load())
  await call()
  const changed = `Basic ${Buffer.from('governor:new').toString('base64')}`
  t.strictSame(
    one.asked.map(({ rawHeaders }) => rawHeaders.at(-1)),
    [BASIC, changed],
  )
  writeFileSync(site.file, configText({ upstream: upstream.url, more: through(other) }))
  await site.governor.reload(site.load())
  await call()
  t.strictSame([one.asked.length, other.asked.length], [2, 1])
  writeFileSync(site.file, configText({ upstream: upstream.url }))
  await site.governor.reload(site.load())
  await call()
  t.strictSame([one.asked.length, other.asked.length], [2, 1], 'without it, straight')
})

t.test('sessions over WebSocket go through it', async (t) => {
  const upstream = await FakeRealtime.start(t)
  const proxy = await ConnectProxy.start(t)
  const policies = `[{ id: all, allow: { operations: [realtime], models: ['*'] } }]`
  const site = await start(t, { upstream: upstream.url, more: through(proxy), policies })
  const client = await RealtimeClient.open(site.url, site.key)
  await client.hears('session.created')
  client.send(said('hello'))
  client.send({ type: 'response.create' })
  await client.hears('response.done')
  client.socket.close()
  t.equal(proxy.asked[0]?.target, new URL(upstream.url).host)
  t.equal(proxy.asked.length, 1)
  t.notMatch(JSON.stringify(upstream.sessions[0]!.head.rawHeaders), /proxy-authorization/i)
  proxy.behaviour = says('HTTP/1.1 403 Forbidden\r\n\r\n')
  const refused = await RealtimeClient.open(site.url, site.key).catch((error: Error) => error)
  t.equal((refused as Error).message, '502')
  t.equal(await site.metric('governor_upstream_errors_total', 'fault="connect"'), 1)
})

t.test('tunnels go through it, with TLS inside', async (t) => {
  const authority = new Authority()
  const upstream = await tlsUpstream(t, authority)
  const proxy = await ConnectProxy.start(t)
  const policies = `[{ id: all, allow: { operations: [realtime], models: ['*'], uninspectable: [tunnel] } }]`
  const more = `inspect: none, ca_file: ca.pem, ${through(proxy)}`
  const site = await start(t, { upstream, more, policies }, { 'ca.pem': authority.cert })
  const connect = async () => {
    const socket = new WebSocket(`${site.url.replace('http', 'ws')}/up/v1/speak`, {
      headers: { authorization: `Bearer ${site.key}` },
    })
    socket.on('error', () => {})
    const { promise, resolve } = Promise.withResolvers<string>()
    socket.once('open', () => socket.send('hello'))
    socket.once('message', (data) => resolve((data as Buffer).toString()))
    socket.once('unexpected-response', (_, { statusCode }) => resolve(`status ${statusCode}`))
    socket.once('close', () => resolve('closed'))
    const heard = await promise
    socket.terminate()
    return heard
  }
  t.equal(await connect(), 'hello')
  t.equal(proxy.asked[0]?.target, new URL(upstream).host)
  t.notMatch(proxy.passed, /sk-upstream/)
  proxy.behaviour = says('HTTP/1.1 403 Forbidden\r\n\r\n')
  t.equal(await connect(), 'status 502')
})

t.test('what the environment says of proxies is ignored', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const proxy = await ConnectProxy.start(t)
  const named = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY']
  const before = named.map((name) => [name, env[name]] as const)
  for (const name of named) env[name] = proxy.url
  t.teardown(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete env[name]
      else env[name] = value
    }
  })
  const site = await start(t, { upstream: upstream.url })
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.strictSame([proxy.asked.length, proxy.others.length], [0, 0])
})
