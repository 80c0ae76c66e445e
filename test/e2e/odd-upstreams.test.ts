import t from 'tap'

import { chat, open } from '../support/client.ts'
import { CHAT_ANSWER, chatEvent, DONE } from '../support/fake-upstream.ts'
import { RawUpstream, type Said } from '../support/raw-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/**
 * Goal: what an upstream may say by the letter of HTTP reaches the client as the answer that it is. Method: bytes on a
 * socket, twice each, so that a connection that is used again is seen as well.
 */

const ANSWER = JSON.stringify(CHAT_ANSWER)
const OK = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'
const WHOLE = `${OK}content-length: ${ANSWER.length}\r\n\r\n${ANSWER}`
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const HINTS = 'HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n'

const chunk = (text: string, extension = '') =>
  `${text.length.toString(16)}${extension}\r\n${text}\r\n`
const chunked = (body: string) => `${OK}transfer-encoding: chunked\r\n\r\n${body}`
/** Byte by byte, each in a segment of its own. */
const slowly = (text: string): Said => text.split('').flatMap((byte) => [byte, null])

const STREAM = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n'
const EVENTS = chatEvent('Hello') + DONE

t.test('answers in any framing that HTTP allows', async (t) => {
  const upstream = await RawUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  for (const [name, says] of [
    ['a 100 nobody asked for', [CONTINUE + WHOLE]],
    ['a 100 by itself, then the answer', [CONTINUE, null, null, WHOLE]],
    ['hints and some of both', [CONTINUE + HINTS + CONTINUE, null, HINTS + WHOLE]],
    ['a 100 whose bytes come one by one', slowly(CONTINUE + WHOLE)],
    ['a 100 with headers', [CONTINUE.replace('\r\n', '\r\nserver: a\r\n') + WHOLE]],
    ['a head whose bytes come one by one', slowly(WHOLE)],
    ['extensions of chunks', [chunked(`${chunk(ANSWER, ';a=b;c="d"')}0;e\r\n\r\n`)]],
    ['trailers', [chunked(`${chunk(ANSWER)}0\r\nx-a: b\r\n\r\n`)]],
    ['sizes of chunks with zeros', [chunked(`000${chunk(ANSWER)}000\r\n\r\n`)]],
    ['no reason', [WHOLE.replace(' OK', '')]],
    ['an empty line before it', [`\r\n${WHOLE}`]],
    ['no length', [`${OK}\r\n${ANSWER}`, null, 'end']],
    ['HTTP/1.0 without a length', [`${OK}\r\n${ANSWER}`.replace('/1.1', '/1.0'), 'end']],
    ['an encoding that is none', [WHOLE.replace('\r\n', '\r\ncontent-encoding: Identity\r\n')]],
    ['an empty list of encodings', [WHOLE.replace('\r\n', '\r\ncontent-encoding:\r\n')]],
  ] as const) {
    upstream.says = says
    for (const time of ['first', 'second']) {
      const answered = await site.send({ body: chat('hi') })
      t.strictSame([answered.status, answered.text], [200, ANSWER], `${name}, the ${time} time`)
    }
  }
  t.equal(await site.metric('governor_upstream_errors_total'), 0)
})

t.test('answers without a body have none, whatever follows their head', async (t) => {
  const upstream = await RawUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const none = 'HTTP/1.1 204 No Content\r\n'
  for (const says of [
    [`${none}\r\n`],
    [`${none}content-length: 5\r\n\r\nhello`],
    [`${none}transfer-encoding: chunked\r\n\r\n${chunk('hello')}0\r\n\r\n`],
  ]) {
    for (let time = 0; time < 2; time++) {
      upstream.says = says
      const answered = await site.send({ body: chat('hi') })
      t.strictSame([answered.status, answered.text], [204, ''])
    }
  }
})

t.test('what can be read in two ways is a 502, and no connection is used after it', async (t) => {
  const upstream = await RawUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const length = `content-length: ${ANSWER.length}\r\n`
  for (const [name, says] of [
    ['a length and chunks', WHOLE.replace('\r\n', '\r\ntransfer-encoding: chunked\r\n')],
    ['two lengths', WHOLE.replace(length, length + length.replace(': ', ': 1'))],
    ['a folded header', WHOLE.replace('\r\n', '\r\nx-a: b\r\n c\r\n')],
    ['lines that end with LF', WHOLE.replaceAll('\r\n', '\n')],
    ['a space before a colon', WHOLE.replace('content-type:', 'content-type :')],
    ['an upgrade nobody asked for', 'HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['a head of 20 KB', WHOLE.replace('\r\n', `\r\nx-a: ${'a'.repeat(20_000)}\r\n`)],
  ] as const) {
    upstream.says = [says]
    const before = upstream.connections
    t.equal((await site.send({ body: chat('hi') })).status, 502, name)
    upstream.says = [WHOLE]
    t.equal((await site.send({ body: chat('hi') })).text, ANSWER, 'the next call is not touched')
    t.ok(upstream.connections > before)
  }
})

t.test('a stream that breaks says so behind whole lines only', async (t) => {
  const upstream = await RawUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const hello = chatEvent('Hello')
  for (const [name, begun, passed] of [
    ['in a line', 'data: {"choices":[{"ind', ''],
    ['in a name', 'dat', ''],
    ['in a letter', 'data: {"a":"\xc3', ''],
    ['behind a line', 'event: x\n', ''],
    ['before the empty line', 'data: {"choices":[]}\n', 'data: {"choices":[]}\n\n\n'],
    ['in a comment', ': kee', ''],
  ] as const) {
    const said = hello + begun
    upstream.says = [`${STREAM}transfer-encoding: chunked\r\n\r\n`, chunk(said), null, 'reset']
    const { text } = await site.send({ body: chat('hi', { stream: true }) })
    t.ok(text.startsWith(hello + passed), name)
    const frame = text.slice(hello.length + passed.length)
    t.match(frame, /^data: [^\n]*\n\n$/, name)
    t.match(JSON.parse(frame.slice(6)), { error: { code: 'upstream_failed' } }, name)
  }
})

t.test('a stream that breaks behind its end mark is complete', async (t) => {
  const upstream = await RawUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  upstream.says = [`${STREAM}transfer-encoding: chunked\r\n\r\n`, chunk(EVENTS), null, 'reset']
  const answered = await site.send({ body: chat('hi', { stream: true }) })
  t.equal(answered.text, EVENTS)
  const id = String(answered.headers['x-governor-request-id'])
  const [, outcome] = await site.entriesOf(id, 2)
  t.match(outcome?.body, { outcome: 'complete', status: 200 })
  t.equal(await site.metric('governor_upstream_errors_total', 'fault="reset"'), 1, 'it is counted')
})

t.test('half a line waits for its other half, and nothing else does', async (t) => {
  const upstream = await RawUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const [hello, there] = [chatEvent('Hello'), chatEvent(' there')]
  upstream.says = [`${STREAM}connection: close\r\n\r\n`, hello + there.slice(0, 20)]
  const { request, response } = await open(site.url, {
    key: site.key,
    body: chat('hi', { stream: true }),
  })
  const [first] = (await new Promise((resolve) => {
    response.once('data', (bytes: Buffer) => resolve([bytes]))
  })) as [Buffer]
  t.equal(first.toString(), hello)
  request.destroy()
})
