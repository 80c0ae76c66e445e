import t from 'tap'

import { chat } from '../support/client.ts'
import {
  after,
  answer,
  chatEvent,
  FakeUpstream,
  hangBeforeHeaders,
  hangMidStream,
} from '../support/fake-upstream.ts'
import { rawAnswer, RawConnection } from '../support/raw-http.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a request that two servers could read differently is refused, and what passes is framed
 * anew. Method: bytes on a socket; after each refusal the upstream must have heard nothing.
 */

const BODY = JSON.stringify(chat('hi'))

async function setUp(t: Parameters<typeof startGovernor>[0], timeouts = '{}') {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, timeouts })
  const authorization = `authorization: Bearer ${site.key}`
  /** A chat call; `lines` come after the usual ones. */
  const post = (lines: readonly string[], body = BODY, requestLine?: string) =>
    [
      requestLine ?? 'POST /v1/chat/completions HTTP/1.1',
      'host: sidecar',
      authorization,
      'content-type: application/json',
      ...lines,
      '',
      body,
    ].join('\r\n')
  const length = `content-length: ${BODY.length}`
  return { upstream, site, post, length, authorization }
}

const chunked = (text: string, extension = '') =>
  `${text.length.toString(16)}${extension}\r\n${text}\r\n0\r\n\r\n`

t.test('ambiguous framing is refused', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  const bodied = chunked(BODY)
  for (const [name, bytes, status] of [
    ['xchunked', post(['transfer-encoding: xchunked'], bodied), 400],
    ['chunked, identity', post(['transfer-encoding: chunked, identity'], bodied), 400],
    ['identity, chunked', post(['transfer-encoding: identity, chunked'], bodied), 400],
    ['gzip, chunked', post(['transfer-encoding: gzip, chunked'], bodied), 400],
    ['a space before the colon', post(['transfer-encoding : chunked'], bodied), 400],
    ['a vertical tab', post(['transfer-encoding: \x0bchunked'], bodied), 400],
    ['twice', post(['transfer-encoding: chunked', 'transfer-encoding: chunked'], bodied), 400],
    ['CL and TE', post([length, 'transfer-encoding: chunked'], bodied), 400],
    ['TE and CL', post(['transfer-encoding: chunked', 'content-length: 4'], bodied), 400],
    ['two CL', post([length, 'content-length: 3']), 400],
    ['the same CL twice', post([length, length]), 400],
    ['a list of CL', post([`content-length: ${BODY.length}, ${BODY.length}`]), 400],
    ['a signed CL', post([`content-length: +${BODY.length}`]), 400],
    ['a negative CL', post(['content-length: -1']), 400],
    ['a hexadecimal CL', post(['content-length: 0x10']), 400],
    ['a folded header', post([length, 'x-stainless-a: b\r\n c']), 400],
    ['a bare line feed', post([length, 'x-stainless-a: b\nx-stainless-c: d']), 400],
    ['a NUL in a header', post([length, 'x-stainless-a: b\0c']), 400],
    ['a header without a name', post([length, ': b']), 400],
    ['a space in a header name', post([length, 'x stainless: b']), 400],
    ['0x before a chunk size', post(['transfer-encoding: chunked'], `0x${bodied}`), 400],
    ['a space before a chunk size', post(['transfer-encoding: chunked'], ` ${bodied}`), 400],
    [
      'a chunk size that overflows',
      post(['transfer-encoding: chunked'], `1${'0'.repeat(16)}\r\n`),
      400,
    ],
    [
      'a chunk longer than it says',
      post(['transfer-encoding: chunked'], `1\r\n${BODY}\r\n0\r\n\r\n`),
      400,
    ],
  ] as const) {
    const answer = await rawAnswer(site.url, bytes)
    t.equal(answer.status, status, name)
    t.equal(answer.headers['x-governor-decision'], 'deny', name)
    t.match(answer.headers['x-governor-request-id'], /^[0-9a-f-]{36}$/, name)
    t.match(JSON.parse(answer.body), { error: { type: 'invalid_request_error' } }, name)
  }
  t.equal(upstream.received.length, 0)
})

t.test('a body in chunks is framed anew, its extensions and trailers dropped', async (t) => {
  const { upstream, site, post } = await setUp(t)
  const tail = '0\r\nx-stainless-trailer: secret\r\n\r\n'
  const body = `3;a=b;c="d"\r\n${BODY.slice(0, 3)}\r\n${(BODY.length - 3).toString(16)}\r\n${BODY.slice(3)}\r\n${tail}`
  const answer = await rawAnswer(site.url, post(['transfer-encoding: Chunked'], body))
  t.equal(answer.status, 200)
  t.equal(upstream.last?.headers['content-length'], String(BODY.length))
  t.equal(upstream.last?.headers['transfer-encoding'], undefined)
  t.equal(upstream.last?.body.toString(), BODY)
  t.notMatch(upstream.everything, 'secret')
})

t.test('odd targets are refused', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  for (const [line, status, code] of [
    ['POST http://169.254.169.254/v1/chat/completions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST //v1/chat/completions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /v1//chat/completions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /v1/./chat/completions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /healthz/../v1/chat/completions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /v1/chat%2Fcompletions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /v1/chat/completions%00 HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /v1\\chat\\completions HTTP/1.1', 400, 'TARGET_INVALID'],
    ['POST /v1/chat/completions#frag HTTP/1.1', 400, 'TARGET_INVALID'],
    ['OPTIONS * HTTP/1.1', 400, 'TARGET_INVALID'],
    ['OPTIONS /v1/chat/completions HTTP/1.1', 405, 'METHOD_NOT_ALLOWED'],
    ['HEAD /v1/chat/completions HTTP/1.1', 405, 'METHOD_NOT_ALLOWED'],
    ['TRACE /v1/chat/completions HTTP/1.1', 405, 'METHOD_NOT_ALLOWED'],
    ['CONNECT api.openai.com:443 HTTP/1.1', 405, 'METHOD_NOT_ALLOWED'],
    ['POST /v1/chat/completions/ HTTP/1.1', 403, 'OPERATION_UNKNOWN'],
    ['POST /v1/audio/choirs HTTP/1.1', 403, 'OPERATION_UNKNOWN'],
    ['POST /v1/chat/completions?model=gpt-5 HTTP/1.1', 400, 'QUERY_UNKNOWN'],
    ['POST /metrics HTTP/1.1', 404, 'ROUTE_UNKNOWN'],
    ['POST /admin HTTP/1.1', 404, 'ROUTE_UNKNOWN'],
    ['POST /V1/chat/completions HTTP/1.1', 404, 'ROUTE_UNKNOWN'],
    ['PROPFINDER /v1/chat/completions HTTP/1.1', 400, 'REQUEST_MALFORMED'],
    ['POST /v1/chat/completions HTTP/1.1 HTTP/1.1', 400, 'REQUEST_MALFORMED'],
    ['POST /v1/chat/completions HTTP/2.0', 400, 'REQUEST_MALFORMED'],
    ['PRI * HTTP/2.0', 400, 'REQUEST_MALFORMED'],
  ] as const) {
    const connection = await RawConnection.open(site.url)
    connection.send(post([length], line.startsWith('HEAD') ? '' : BODY, line))
    if (line.startsWith('HEAD')) {
      await until('the head', () => connection.unread.includes('\r\n\r\n'))
      t.match(connection.unread, 'HTTP/1.1 405')
    } else {
      const { headers, status: found } = await connection.answer()
      t.strictSame([found, headers['x-governor-code']], [status, code], line)
      t.equal(headers['access-control-allow-origin'], undefined)
    }
    connection.destroy()
  }
  t.equal(upstream.received.length, 0)
})

t.test('headers that may stand once only are refused when they stand twice', async (t) => {
  const { upstream, site, post, length, authorization } = await setUp(t)
  for (const [name, line] of [
    ['authorization', authorization],
    ['authorization of another', 'authorization: Bearer x'],
    ['host', 'host: other'],
    ['content-type', 'content-type: text/plain'],
    ['content-encoding', 'content-encoding: gzip\r\ncontent-encoding: identity'],
    ['api-key', 'api-key: a\r\napi-key: b'],
  ] as const) {
    const answer = await rawAnswer(site.url, post([length, line]))
    t.equal(answer.status, 400, name)
  }
  const check = post([length, authorization], BODY, 'POST /v1/check HTTP/1.1')
  t.equal((await rawAnswer(site.url, check)).status, 400, 'on /v1/check as well')
  t.equal(upstream.received.length, 0)
})

t.test('the Host header says nothing and must be there', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  const missing = await rawAnswer(site.url, post([length]).replace('host: sidecar\r\n', ''))
  t.equal(missing.status, 400)
  t.equal(missing.headers['x-governor-code'], 'HEADER_INVALID')
  t.equal(upstream.received.length, 0)
  for (const host of ['api.anthropic.com@evil', 'admin.internal', '', '[::1]:1']) {
    const answer = await rawAnswer(site.url, post([length]).replace('sidecar', host))
    t.equal(answer.status, 200, host)
    t.equal(upstream.last?.headers.host, new URL(upstream.url).host)
  }
})

t.test('too many or too large headers are refused', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  const many = Array.from({ length: 300 }, (_value, index) => `x-stainless-${index}: a`)
  for (const [name, lines] of [
    ['one of 17 KB', [`x-stainless-a: ${'a'.repeat(17 * 1024)}`]],
    ['300 of them', many],
    ['2000 of them', Array.from({ length: 2000 }, () => 'a: b')],
  ] as const) {
    const answer = await rawAnswer(site.url, post([length, ...lines]))
    t.equal(answer.status, 431, name)
    t.equal(answer.headers['x-governor-code'], 'HEADERS_TOO_LARGE', name)
  }
  const target = `POST /v1/chat/completions?a=${'b'.repeat(4000)} HTTP/1.1`
  t.equal((await rawAnswer(site.url, post([length], BODY, target))).status, 400, 'a long target')
  t.equal(upstream.received.length, 0)
})

t.test(
  '100-continue is answered when nothing speaks against the call, and never before',
  async (t) => {
    const { upstream, site, post, length, authorization } = await setUp(t)
    const head = post([length, 'expect: 100-Continue'], '')
    const good = await RawConnection.open(site.url)
    good.send(head)
    t.equal((await good.answer()).status, 100)
    good.send(BODY)
    t.equal((await good.answer()).status, 200)
    t.equal(upstream.last?.headers['expect'], undefined)
    good.destroy()

    for (const [name, bytes, status] of [
      ['without a key', head.replace(authorization, 'x-nothing: a'), 401],
      ['too large', head.replace(length, 'content-length: 999999999'), 413],
      ['another type', head.replace('application/json', 'text/plain'), 415],
      ['unknown', head.replace('chat/completions', 'nothing'), 403],
      ['another expectation', head.replace('100-Continue', '200-ok'), 417],
    ] as const) {
      const connection = await RawConnection.open(site.url)
      connection.send(bytes)
      const answer = await connection.answer()
      t.equal(answer.status, status, name)
      await connection.untilClosed()
      t.equal(connection.unread, '', 'and nothing else')
    }
    t.equal(upstream.received.length, 1)
  },
)

t.test('an offer of h2c is ignored and not passed on, any other upgrade refused', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  const h2c = await rawAnswer(
    site.url,
    post([
      length,
      'upgrade: h2c',
      'http2-settings: AAMAAABkAARAAAAAAAIAAAAA',
      'connection: Upgrade, HTTP2-Settings',
    ]),
  )
  t.equal(h2c.status, 200)
  t.equal(upstream.last?.body.toString(), BODY)
  t.strictSame(
    Object.keys(upstream.last?.headers ?? {}).filter((name) => /upgrade|http2/.test(name)),
    [],
  )
  for (const path of ['/v1/realtime?model=gpt-4o', '/v1/embeddings', '/v1/models']) {
    const answer = await rawAnswer(
      site.url,
      post(
        [
          'upgrade: websocket',
          'connection: Upgrade',
          'sec-websocket-version: 13',
          'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
        ],
        '',
        `GET ${path} HTTP/1.1`,
      ),
    )
    t.ok([403, 405].includes(answer.status), `${path}: ${answer.status}`)
    t.equal(answer.headers['upgrade'], undefined)
  }
  t.equal(upstream.received.length, 1)
})

t.test('after an offer to upgrade nothing on the connection is a request', async (t) => {
  const { upstream, site, authorization } = await setUp(t)
  const offer = ['GET /v1/models HTTP/1.1', 'host: a', authorization, 'upgrade: h2c', '', '']
  const inner = ['GET /v1/models/gpt-4o HTTP/1.1', 'host: a', authorization, '', ''].join('\r\n')
  const outer = [
    'POST /v1/embeddings HTTP/1.1',
    'host: a',
    authorization,
    'content-type: application/json',
    `content-length: ${inner.length}`,
    '',
    '',
  ].join('\r\n')
  upstream.behaviour = after(300, answer())
  for (const lines of [offer, [...offer.slice(0, -2), 'connection: Upgrade', '', '']]) {
    const before = upstream.received.length
    const connection = await RawConnection.open(site.url)
    connection.send(lines.join('\r\n') + outer)
    await until('the first to arrive', () => upstream.received.length > before)
    connection.send(inner)
    const answered = await connection.answer()
    t.equal(answered.status, 200)
    t.equal(answered.headers['connection'], 'close')
    await connection.untilClosed()
    t.equal(connection.unread, '', 'and nothing else')
    t.strictSame(
      upstream.received.slice(before).map(({ path }) => path),
      ['/v1/models'],
    )
  }
  t.equal(await site.metric('governor_inflight_requests'), 0)
})

t.test('HTTP/1.0 is served and closed', async (t) => {
  const { site, post, length } = await setUp(t)
  const connection = await RawConnection.open(site.url)
  connection.send(
    post([length], BODY, 'POST /v1/chat/completions HTTP/1.0').replace('host: sidecar\r\n', ''),
  )
  t.equal((await connection.answer()).status, 200)
  await connection.untilClosed()
  const line = 'POST /v1/chat/completions HTTP/1.0'
  const chunks = post(['transfer-encoding: chunked'], chunked(BODY), line)
  t.equal((await rawAnswer(site.url, chunks)).status, 400, 'which has no chunks')
  const offer = [
    'connection: Upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
    `authorization: Bearer ${site.key}`,
  ]
  const target = '/v1/realtime?model=gpt-realtime'
  const upgrade = (version: string) =>
    rawAnswer(site.url, `GET ${target} ${version}\r\nhost: x\r\n${offer.join('\r\n')}\r\n\r\n`)
  t.match(await upgrade('HTTP/1.0'), { headers: { 'x-governor-code': 'OPERATION_UNKNOWN' } })
  t.match(await upgrade('HTTP/1.1'), { headers: { 'x-governor-code': 'POLICY_DENIED' } }, 'asked')
})

t.test('pipelined requests are answered one by one, in order', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  const connection = await RawConnection.open(site.url)
  const denied = JSON.stringify(chat('all about project zeus'))
  connection.send(
    post([length]) +
      post([`content-length: ${denied.length}`], denied) +
      post([length], BODY, 'POST /v1/nothing HTTP/1.1') +
      post([length]),
  )
  const statuses = []
  const ids = new Set()
  for (let index = 0; index < 4; index++) {
    const answer = await connection.answer()
    statuses.push(answer.status)
    ids.add(answer.headers['x-governor-request-id'])
  }
  t.strictSame(statuses, [200, 403, 403, 200])
  t.equal(ids.size, 4)
  t.equal(upstream.received.length, 2)
  connection.destroy()
})

t.test('more than 16 requests at once on a connection end it', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  upstream.behaviour = hangBeforeHeaders
  const connection = await RawConnection.open(site.url)
  connection.send(post([length]).repeat(16))
  await until('all of them to be under way', () => upstream.received.length === 16)
  t.equal(connection.closed, false)
  connection.send(post([length]).repeat(1000))
  await connection.untilClosed()
  await until('them to end', async () => (await site.metric('governor_inflight_requests')) === 0)
  t.equal(upstream.received.length, 16)
  await until('the calls to be cut', () => upstream.received.every((call) => call.closedEarly))
})

t.test('a client that leaves while answers queue is noticed for each of them', async (t) => {
  const { upstream, site, post } = await setUp(t)
  const bodies = [chat('slow'), chat('stream', { stream: true })].map((body) =>
    JSON.stringify(body),
  )
  const streamed = hangMidStream([chatEvent('a')])
  upstream.behaviour = (received, response) =>
    received.body.toString().includes('slow') ? undefined : streamed(received, response)
  const connection = await RawConnection.open(site.url)
  connection.send(bodies.map((body) => post([`content-length: ${body.length}`], body)).join(''))
  await until('both to be under way', () => upstream.received.length === 2)
  connection.socket.resetAndDestroy()
  await until('both to be cut', () => upstream.received.every((call) => call.closedEarly))
  await until('both to end', async () => (await site.metric('governor_inflight_requests')) === 0)
})

t.test('bytes after a call are a request of their own', async (t) => {
  const { upstream, site, post, length } = await setUp(t)
  const connection = await RawConnection.open(site.url)
  connection.send(`${post([length])}GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n`)
  t.equal((await connection.answer()).status, 200)
  t.equal((await connection.answer()).status, 401, 'which has to show a key of its own')
  t.equal(upstream.received.length, 1)
  connection.destroy()
})

t.test('a body that turns out malformed is a recorded 400, not a reset', async (t) => {
  const { site, post, upstream } = await setUp(t)
  const connection = await RawConnection.open(site.url)
  connection.send(post(['transfer-encoding: chunked'], ''))
  await until('the call to be under way', async () => {
    return (await site.metric('governor_inflight_requests')) === 1
  })
  connection.send('zz\r\n')
  const answer = await connection.answer()
  t.equal(answer.status, 400)
  t.equal(answer.headers['x-governor-code'], 'REQUEST_MALFORMED')
  await connection.untilClosed()
  const [decision] = await site.entriesOf(answer.headers['x-governor-request-id']!, 1)
  t.match(decision?.body, { decision: 'deny', code: 'REQUEST_MALFORMED', tenant: 'acme' })
  t.equal(upstream.received.length, 0)
})

t.test('slow headers run out of time', async (t) => {
  const { upstream, site } = await setUp(t, '{ client_headers: 300ms }')
  const headers = await RawConnection.open(site.url)
  headers.send('POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-slow')
  const late = await headers.answer()
  t.equal(late.status, 408)
  t.equal(late.headers['x-governor-code'], 'HEADERS_TIMEOUT')
  await headers.untilClosed()
  t.equal(upstream.received.length, 0)
})

t.test('a slow body runs out of time', async (t) => {
  const { upstream, site, post } = await setUp(t, '{ client_body: 300ms }')
  const body = await RawConnection.open(site.url)
  body.send(post(['content-length: 100'], '{"model":'))
  const answer = await body.answer()
  t.equal(answer.status, 408)
  t.equal(answer.headers['x-governor-code'], 'BODY_TIMEOUT')
  await body.untilClosed()
  t.equal(upstream.received.length, 0)
})

t.test(
  'a refusal before the body has come closes the connection, and says nothing more',
  async (t) => {
    const { upstream, site, post, length, authorization } = await setUp(t)
    const unknown = post([length], '').replace(authorization, 'authorization: Bearer x')
    for (const [name, head, status] of [
      ['without a key', unknown, 401],
      ['too large', post(['content-length: 99999999'], ''), 413],
    ] as const) {
      const connection = await RawConnection.open(site.url)
      connection.send(head)
      const answered = await connection.answer()
      t.equal(answered.status, status, name)
      t.equal(answered.headers['connection'], 'close', name)
      connection.send(BODY.slice(0, 5))
      await until('the call to be settled', async () => {
        return (await site.metric('governor_inflight_requests')) === 0
      })
      t.equal(connection.closed, false, 'the rest is read')
      connection.send(`${BODY.slice(5)}${post([length])}`)
      await connection.untilClosed()
      t.equal(connection.unread, '', 'what follows the body is no request')
    }
    t.equal(upstream.received.length, 0)
  },
)

t.test('a refusal of a request that has come whole keeps the connection', async (t) => {
  const { site, post, length, authorization } = await setUp(t)
  const connection = await RawConnection.open(site.url)
  for (let round = 0; round < 3; round++) {
    connection.send(post([length]).replace(authorization, 'authorization: Bearer x'))
    const answered = await connection.answer()
    t.equal(answered.status, 401)
    t.equal(answered.headers['connection'], 'keep-alive')
  }
  connection.destroy()
})

t.test('a refused body that never ends is cut off', async (t) => {
  const { site, post } = await setUp(t, '{ client_headers: 300ms, client_body: 300ms }')
  const silent = await RawConnection.open(site.url)
  silent.send(post(['content-length: 99999999'], ''))
  t.equal((await silent.answer()).status, 413)
  await silent.untilClosed()
  t.equal(silent.unread, '', 'without a second answer')
  t.equal(await site.metric('governor_requests_total', 'HEADERS_TIMEOUT'), 0)
  const slow = await RawConnection.open(site.url)
  slow.send(post(['transfer-encoding: chunked', 'content-encoding: br'], ''))
  t.equal((await slow.answer()).status, 415)
  await until('it to be taken down', () => {
    slow.send('1\r\na\r\n')
    return slow.closed
  })
})

t.test('a reset after CONNECT, or in a refusal, ends nothing', async (t) => {
  const { site } = await setUp(t)
  for (const bytes of ['CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n', 'nonsense\r\n\r\n', 'GET /']) {
    for (let index = 0; index < 20; index++) {
      const connection = await RawConnection.open(site.url)
      connection.send(bytes)
      if (index % 2 === 0) await new Promise(setImmediate)
      connection.socket.resetAndDestroy()
    }
  }
  const halfOpen = await RawConnection.open(site.url, { halfOpen: true })
  halfOpen.send('CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n')
  t.equal((await halfOpen.answer()).status, 405)
  await until('it to be taken down', () => {
    halfOpen.send('more')
    return halfOpen.closed
  })
  t.equal((await site.send({ body: chat('still there?') })).status, 200)
})
