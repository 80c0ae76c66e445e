import { createServer as createTcpServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

import t from 'tap'

import { type Answered, chat, open } from '../support/client.ts'
import {
  CHAT_ANSWER,
  CHAT_EVENTS,
  FakeUpstream,
  after,
  answer,
  chatEvent,
  echoKey,
  endEarly,
  gzipped,
  hangBeforeHeaders,
  hangMidStream,
  huge,
  redirect,
  resetMidStream,
  stream,
  tooManyRequests,
  wrongLength,
} from '../support/fake-upstream.ts'
import { type InProcess, startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: whatever an upstream does, the client hears of it in the provider's own shape, the audit
 * says how it ended, and nothing of ours leaks. Method: one scripted fault at a time.
 */

async function outcomeOf(site: InProcess, answered: Answered | { headers: Answered['headers'] }) {
  const id = String(answered.headers['x-governor-request-id'])
  const [decision, outcome] = await site.entriesOf(id, 2)
  t.match(decision?.body, { kind: 'decision', decision: 'allow', forward: true })
  return outcome!.body
}

t.test('an upstream that cannot be reached is a 502', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  await upstream.close()
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 502)
  t.equal(answered.headers['x-governor-code'], 'UPSTREAM_UNREACHABLE')
  t.equal(answered.headers['x-governor-decision'], 'allow', 'it was not refused')
  t.strictSame(answered.json, {
    error: {
      message: 'The upstream cannot be reached',
      type: 'upstream_error',
      param: null,
      code: 'upstream_unreachable',
    },
  })
  t.match(await outcomeOf(site, answered), {
    outcome: 'upstream_failed',
    code: 'UPSTREAM_UNREACHABLE',
    status: 502,
  })
  t.equal(await site.metric('governor_upstream_errors_total', 'fault="connect"'), 1)
})

t.test('an upstream that does not begin to answer in time is a 504', async (t) => {
  const upstream = await FakeUpstream.start(t, hangBeforeHeaders)
  const site = await startGovernor(t, { upstream: upstream.url, timeouts: '{ first_byte: 200ms }' })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 504)
  t.equal(answered.json.error?.code, 'upstream_timeout')
  t.match(await outcomeOf(site, answered), { outcome: 'upstream_failed', code: 'UPSTREAM_TIMEOUT' })
  await until('the upstream call to be cut', () => upstream.last?.closedEarly)
})

for (const [name, everyMs, timeouts] of [
  ['too many informational answers', 0, '{ first_byte: 60s }'],
  ['informational answers only', 50, '{ first_byte: 300ms }'],
] as const) {
  t.test(`${name} are a 504 that frees the place`, async (t) => {
    const upstream = await FakeUpstream.start(t, async (_received, response) => {
      while (!response.destroyed) {
        response.writeEarlyHints({ link: '</a>; rel=preload' })
        await new Promise((resolve) => setTimeout(resolve, everyMs))
      }
    })
    const limits = '[{ id: c, per: key, concurrent: 1 }]'
    const site = await startGovernor(t, { upstream: upstream.url, timeouts, limits })
    const answered = await site.send({ body: chat('hi') })
    t.equal(answered.status, 504)
    t.equal(answered.json.error?.code, 'upstream_timeout')
    await until('the upstream call to be cut', () => upstream.last?.closedEarly)
    t.match(await outcomeOf(site, answered), {
      outcome: 'upstream_failed',
      code: 'UPSTREAM_TIMEOUT',
    })
    t.equal(await site.metric('governor_upstream_errors_total', 'fault="timeout"'), 1)
    upstream.behaviour = async (received, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload' })
      await answer()(received, response)
    }
    t.equal((await site.send({ body: chat('hi') })).status, 200, 'a few of them pass')
  })
}

for (const [name, behaviour, code] of [
  ['an answer shorter than it promised', wrongLength, 'UPSTREAM_FAILED'],
  ['a redirect', redirect('http://169.254.169.254/latest/meta-data'), 'UPSTREAM_REDIRECT'],
  ['a body in an encoding nobody asked for', gzipped, 'UPSTREAM_FAILED'],
] as const) {
  t.test(`${name} is a 502`, async (t) => {
    const elsewhere = await FakeUpstream.start(t)
    const upstream = await FakeUpstream.start(t, behaviour)
    if (name === 'a redirect') upstream.behaviour = redirect(`${elsewhere.url}/v1/chat/completions`)
    const site = await startGovernor(t, { upstream: upstream.url })
    const answered = await site.send({ body: chat('hi') })
    t.equal(answered.status, 502)
    t.match(answered.json.error, { type: 'upstream_error', param: null })
    t.equal(answered.headers['x-governor-code'], code)
    t.equal(answered.headers['location'], undefined)
    t.match(await outcomeOf(site, answered), { outcome: 'upstream_failed', code, status: 502 })
    t.equal(upstream.received.length, 1)
    t.equal(elsewhere.received.length, 0, 'and nobody else was asked')
  })
}

t.test('an upstream that is no HTTP server is a 502', async (t) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.9\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const site = await startGovernor(t, { upstream: `http://127.0.0.1:${port}` })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 502)
  t.equal(answered.json.error?.code, 'upstream_failed')
})

for (const [name, behaviour, code, outcome] of [
  ['is reset', resetMidStream(), 'UPSTREAM_FAILED', 'upstream_failed'],
  ['ends without [DONE]', endEarly(), 'UPSTREAM_FAILED', 'incomplete'],
  ['falls silent', hangMidStream(), 'UPSTREAM_TIMEOUT', 'upstream_failed'],
] as const) {
  t.test(`a stream that ${name} ends in an error frame, its outcome ${outcome}`, async (t) => {
    const upstream = await FakeUpstream.start(t, behaviour)
    const timeouts = outcome === 'incomplete' ? '{}' : '{ idle: 200ms }'
    const site = await startGovernor(t, { upstream: upstream.url, timeouts })
    const answered = await site.send({ body: chat('hi', { stream: true }) })
    t.equal(answered.status, 200)
    t.ok(answered.text.startsWith(chatEvent('Hello')), 'what came before stays')
    const frame = answered.text.slice(chatEvent('Hello').length)
    t.match(frame, /^data: .*\n\n$/)
    t.match(JSON.parse(frame.slice(6)), { error: { code: code.toLowerCase() } })
    t.match(await outcomeOf(site, answered), { outcome, code, status: 200 })
  })
}

t.test('a stream of responses that breaks ends in an error event', async (t) => {
  const upstream = await FakeUpstream.start(t, resetMidStream(['event: a\ndata: {"type":"a"}\n\n']))
  const site = await startGovernor(t, { upstream: upstream.url })
  const body = { model: 'gpt-4o', input: 'hi', stream: true }
  const answered = await site.send({ path: '/v1/responses', body })
  t.match(answered.text, /\n\nevent: error\ndata: \{"type":"error","code":"upstream_failed"/)
  const frame = JSON.parse(answered.text.trim().split('\ndata: ').at(-1)!) as object
  t.match(frame, { error: { code: 'upstream_failed', message: 'The upstream broke off' } })
})

t.test('an error that the upstream sent in its stream passes as it is', async (t) => {
  const frame = 'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
  const upstream = await FakeUpstream.start(t, stream([chatEvent('Hello'), frame]))
  const site = await startGovernor(t, { upstream: upstream.url })
  const answered = await site.send({ body: chat('hi', { stream: true }) })
  t.ok(answered.text.startsWith(chatEvent('Hello') + frame))
})

t.test('our credential is taken out of what an upstream echoes', async (t) => {
  const upstream = await FakeUpstream.start(t, echoKey)
  const site = await startGovernor(t, { upstream: upstream.url })
  const whole = await site.send({ body: chat('hi') })
  t.equal(whole.status, 401)
  t.match(whole.json.error, {
    message: 'Incorrect API key provided: Bearer [redacted]',
    code: 'invalid_api_key',
  })
  t.equal(whole.headers['x-governor-code'], undefined, 'it is not our refusal')

  const escaped = `{"error":{"message":"No: ${UPSTREAM_KEY.replaceAll('-', '\\u002d')}"}}`
  upstream.behaviour = answer(escaped, { status: 401 })
  t.equal((await site.send({ body: chat('hi') })).text, '{"error":{"message":"No: [redacted]"}}')

  const event = chatEvent(`the key is ${UPSTREAM_KEY}, yes`)
  for (const at of [10, event.indexOf('sk-') + 1, event.indexOf('sk-') + 20]) {
    upstream.behaviour = stream([event.slice(0, at), event.slice(at), 'data: [DONE]\n\n'], 5)
    const streamed = await site.send({ body: chat('hi', { stream: true }) })
    t.equal(streamed.text, `${chatEvent('the key is [redacted], yes')}data: [DONE]\n\n`)
  }

  upstream.behaviour = answer(CHAT_ANSWER, { headers: { 'openai-echo': `Bearer ${UPSTREAM_KEY}` } })
  const inHeader = await site.send({ body: chat('hi') })
  t.equal(inHeader.headers['openai-echo'], 'Bearer [redacted]')

  upstream.behaviour = answer(CHAT_ANSWER, { headers: { 'x-request-id': UPSTREAM_KEY } })
  const inId = await site.send({ body: chat('hi') })
  t.notMatch(inId.rawHeaders.join(), UPSTREAM_KEY)
  await site.entriesOf(String(inId.headers['x-governor-request-id']), 2)
  t.notMatch(JSON.stringify(site.entries()), UPSTREAM_KEY)
})

t.test("the provider's own limit passes and can be told from ours", async (t) => {
  const upstream = await FakeUpstream.start(t, tooManyRequests)
  const site = await startGovernor(t, { upstream: upstream.url })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 429)
  t.match(answered.headers, {
    'retry-after': '2',
    'x-ratelimit-remaining-requests': '0',
    'x-governor-decision': 'allow',
  })
  t.equal(answered.headers['x-governor-code'], undefined)
  t.match(await outcomeOf(site, answered), {
    outcome: 'complete',
    status: 429,
    upstream_status: 429,
  })
})

t.test('a header value no HTTP allows does not break the answer', async (t) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.end(
        Buffer.from(
          'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nopenai-model: gpt→4\r\n' +
            'content-length: 2\r\nconnection: close\r\n\r\n{}',
        ),
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const site = await startGovernor(t, { upstream: `http://127.0.0.1:${port}` })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 200)
  t.equal(answered.text, '{}')
  t.match(await outcomeOf(site, answered), { outcome: 'complete' })
})

t.test('a huge answer and a late one pass whole', async (t) => {
  const upstream = await FakeUpstream.start(t, huge(3_000_000))
  const site = await startGovernor(t, { upstream: upstream.url })
  const large = await site.send({ body: chat('hi') })
  t.equal(large.bytes.length > 3_000_000, true)
  t.match(large.json, { id: 'chatcmpl-1' })
  t.match(await outcomeOf(site, large), { outcome: 'complete', answer_bytes: large.bytes.length })

  upstream.behaviour = after(300, answer())
  const late = await site.send({ body: chat('hi') })
  t.strictSame(late.json, CHAT_ANSWER)
})

t.test('a large answer that breaks off breaks the connection, not the truth', async (t) => {
  const sockets: (Socket | null)[] = []
  const upstream = await FakeUpstream.start(t, (_received, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '2000000' })
    response.write('x'.repeat(1_000_000))
    sockets.push(response.socket)
  })
  const site = await startGovernor(t, { upstream: upstream.url })
  const { response } = await open(site.url, { key: site.key, body: chat('hi') })
  const ended = new Promise((resolve, reject) => response.on('end', resolve).on('error', reject))
  response.once('data', () => sockets[0]?.resetAndDestroy())
  await t.rejects(ended, { code: 'ECONNRESET' })
  t.match(await outcomeOf(site, response), { outcome: 'upstream_failed', code: 'UPSTREAM_FAILED' })
})

for (const [name, headers] of [
  ['without a content type', {}],
  ['of HTML', { 'content-type': 'text/html' }],
] as const) {
  t.test(`a large answer ${name} is no event stream and gets no error frame`, async (t) => {
    const page = 'h'.repeat(400_000)
    const upstream = await FakeUpstream.start(t, (_received, response) => {
      response.writeHead(200, { ...headers, 'content-length': page.length }).end(page)
    })
    const site = await startGovernor(t, { upstream: upstream.url })
    const answered = await site.send({ body: chat('hi') })
    t.equal(answered.text, page)
    t.match(await outcomeOf(site, answered), { outcome: 'complete', answer_bytes: page.length })
  })
}

t.test('a mode nobody asked for is taken as it comes', async (t) => {
  const upstream = await FakeUpstream.start(t, answer())
  const site = await startGovernor(t, { upstream: upstream.url })
  const json = await site.send({ body: chat('hi', { stream: true }) })
  t.strictSame(json.json, CHAT_ANSWER)
  t.match(await outcomeOf(site, json), { outcome: 'complete', 'gen_ai.usage.output_tokens': 2 })
  upstream.behaviour = stream()
  const events = await site.send({ body: chat('hi') })
  t.equal(events.text, CHAT_EVENTS.join(''))
  upstream.behaviour = (_received, response) => {
    response.writeHead(200).write(CHAT_EVENTS[0]!)
    response.end(CHAT_EVENTS.slice(1).join(''))
  }
  const untyped = await site.send({ body: chat('hi', { stream: true }) })
  t.equal(untyped.text, CHAT_EVENTS.join(''))
  for (const [type, body] of [
    ['audio/mpeg', Buffer.from(Array.from({ length: 256 }, (_, at) => at))],
    ['text/plain; charset=utf-8', Buffer.from('Hello there.\ndata: none\n')],
  ] as const) {
    upstream.behaviour = (_received, response) => {
      response.writeHead(200, { 'content-type': type })
      response.write(body.subarray(0, 20))
      response.end(body.subarray(20))
    }
    const whole = await site.send({ body: chat('hi', { stream: true }) })
    t.strictSame(whole.text, body.toString(), `${type} gets no error frame`)
    t.match(await outcomeOf(site, whole), { outcome: 'complete', answer_bytes: body.length })
  }
  upstream.behaviour = (_received, response) => {
    response.socket?.end(
      'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
    )
  }
  const coded = await site.send({ body: chat('hi') })
  t.equal(coded.status, 502, 'an answer that is compressed for the way is one nobody asked for')
})

t.test('a connection that idles at the upstream is not used after it closed', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  for (let round = 0; round < 5; round++) {
    t.equal((await site.send({ body: chat('hi') })).status, 200)
    upstream.dropIdle()
    await until('the pool to notice', async () => {
      return (await site.metric('governor_pool_connections', 'state="open"')) === 0
    })
  }
})
