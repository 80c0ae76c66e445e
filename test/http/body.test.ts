import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { deflateSync, gzipSync, zstdCompressSync, brotliCompressSync } from 'node:zlib'

import t, { type Test } from 'tap'

import type { Endpoint } from '../../src/exchange.ts'
import { type BodyMaximums, readBody, release } from '../../src/http/body.ts'
import { HttpExchange } from '../../src/http/exchange.ts'
import { until } from '../support/until.ts'

const JSON_ENDPOINT: Endpoint = {
  operation: 'chat',
  api: 'chat.completions',
  body: 'json',
  query: [],
  generates: true,
}

/** A server that answers with what readBody made of the request: its text, or its error code. */
async function subject(
  t: Test,
  over: { timeoutMs?: number; endpoint?: Endpoint; maximums?: Partial<BodyMaximums> } = {},
) {
  const inFlight = { bytes: 0 }
  const active = new Set<HttpExchange>()
  const defaults = { bodyBytes: 10_000, decodedBytes: 20_000, inFlightBytes: 50_000 }
  const maximums = { ...defaults, ...over.maximums }
  const handle = (awaits: boolean) => (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const exchange = new HttpExchange(incoming, outgoing, { awaitsContinue: awaits })
    const endpoint = over.endpoint ?? JSON_ENDPOINT
    const timeoutMs = over.timeoutMs ?? 5000
    const holder = String(incoming.headers['x-holder'] ?? 'one')
    active.add(exchange)
    void readBody(exchange, { endpoint, maximums, timeoutMs, inFlight, holder, active })
      .then(
        ({ decoded, bytes, boundary }) => {
          const after = boundary === undefined ? '' : ` ${boundary}`
          return `${decoded ? 'decoded ' : ''}${bytes.toString()}${after}`
        },
        (error: { code: string }) => error.code,
      )
      .then((text) => {
        release(exchange, inFlight)
        active.delete(exchange)
        return exchange.outgoing.end(text)
      })
  }
  const server = createServer(handle(false)).on('checkContinue', handle(true))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const send = (body: Buffer | string, headers: IncomingHttpHeaders = {}): Promise<string> =>
    new Promise((resolve, reject) => {
      const type = { 'content-type': 'application/json' }
      request({ port, method: 'POST', headers: { ...type, ...headers } }, (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () => resolve(Buffer.concat(chunks).toString()))
      })
        .on('error', reject)
        .end(body)
    })
  return { send, inFlight, port }
}

t.test('readBody() gives the bytes as sent and counts nothing afterwards', async (t) => {
  const { send, inFlight } = await subject(t)
  t.equal(await send('{"a":1}'), '{"a":1}')
  t.equal(await send('{"a":1}', { 'transfer-encoding': 'chunked' }), '{"a":1}')
  t.equal(inFlight.bytes, 0)
})

t.test('readBody() removes gzip, deflate and zstd, several members too', async (t) => {
  const { send } = await subject(t)
  t.equal(await send(gzipSync('{"a":1}'), { 'content-encoding': 'gzip' }), 'decoded {"a":1}')
  t.equal(await send(deflateSync('{"a":1}'), { 'content-encoding': 'deflate' }), 'decoded {"a":1}')
  t.equal(
    await send(zstdCompressSync('{"a":1}'), { 'content-encoding': 'zstd' }),
    'decoded {"a":1}',
  )
  const members = Buffer.concat([gzipSync('{"a"'), gzipSync(':1}')])
  t.equal(await send(members, { 'content-encoding': 'gzip' }), 'decoded {"a":1}')
  const frames = Buffer.concat([zstdCompressSync('{"a"'), zstdCompressSync(':1}')])
  t.equal(await send(frames, { 'content-encoding': 'zstd' }), 'decoded {"a":1}')
})

t.test(
  'readBody() refuses encodings it does not decode, or that are not what they say',
  async (t) => {
    const { send } = await subject(t)
    const br = { 'content-encoding': 'br' }
    t.equal(await send(brotliCompressSync('{}'), br), 'ENCODING_UNSUPPORTED')
    t.equal(await send('{}', { 'content-encoding': 'gzip, gzip' }), 'ENCODING_UNSUPPORTED')
    t.equal(await send('{}', { 'content-encoding': 'gzip' }), 'ENCODING_INVALID')
    for (const tail of [Buffer.alloc(8), Buffer.from('GARBAGE')]) {
      const encoded = Buffer.concat([gzipSync('{}'), tail])
      t.equal(await send(encoded, { 'content-encoding': 'gzip' }), 'ENCODING_INVALID', 'gzip')
      const zstd = Buffer.concat([zstdCompressSync('{}'), tail])
      t.equal(await send(zstd, { 'content-encoding': 'zstd' }), 'ENCODING_INVALID', 'zstd')
      const deflated = Buffer.concat([deflateSync('{}'), tail])
      t.equal(
        await send(deflated, { 'content-encoding': 'deflate' }),
        'ENCODING_INVALID',
        'deflate',
      )
    }
    for (const [encoding, whole] of [
      ['gzip', gzipSync('{"a":"bcdefgh"}')],
      ['deflate', deflateSync('{"a":"bcdefgh"}')],
      ['zstd', zstdCompressSync('{"a":"bcdefgh"}')],
    ] as const) {
      const cut = whole.subarray(0, whole.length - 3)
      t.equal(await send(cut, { 'content-encoding': encoding }), 'ENCODING_INVALID', encoding)
      t.equal(await send('', { 'content-encoding': encoding }), 'ENCODING_INVALID', 'nothing')
    }
  },
)

t.test('readBody() stops a decompression bomb at the decoded maximum', async (t) => {
  const { send, inFlight } = await subject(t)
  const zeros = Buffer.alloc(5_000_000)
  t.equal(await send(gzipSync(zeros), { 'content-encoding': 'gzip' }), 'BODY_TOO_LARGE')
  t.equal(await send(zstdCompressSync(zeros), { 'content-encoding': 'zstd' }), 'BODY_TOO_LARGE')
  t.equal(inFlight.bytes, 0)
})

t.test('readBody() refuses a body over the maximum, declared or not', async (t) => {
  const { send } = await subject(t)
  t.equal(await send('x'.repeat(10_000)), 'x'.repeat(10_000))
  t.equal(await send('x'.repeat(10_001)), 'BODY_TOO_LARGE')
  const chunked = { 'transfer-encoding': 'chunked' }
  t.equal(await send('x'.repeat(10_001), chunked), 'BODY_TOO_LARGE')
})

t.test('readBody() refuses when all bodies together are too much', async (t) => {
  const { send, inFlight } = await subject(t)
  inFlight.bytes = 45_000
  t.equal(await send('x'.repeat(5001)), 'OVERLOADED')
  t.equal(inFlight.bytes, 45_000)
})

/** Declares a body and sends only the beginning of it. */
async function beginBody(
  t: Test,
  port: number,
  holder: string,
  sent: { of: number; text: string },
) {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  socket.write(
    `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-holder: ${holder}\r\n` +
      `content-length: ${sent.of}\r\n\r\n${sent.text}`,
  )
  return socket
}

const LARGE = { bodyBytes: 1_000_000, decodedBytes: 2_000_000, inFlightBytes: 4_000_000 }

t.test('readBody() holds a large body as it arrives, not as it is declared', async (t) => {
  const { send, inFlight, port } = await subject(t, { maximums: LARGE })
  for (const holder of ['a', 'b', 'c', 'd']) {
    await beginBody(t, port, holder, { of: 1_000_000, text: '{' })
  }
  await until('all of them to be held', () => inFlight.bytes === 4 * 64 * 1024)
  const body = 'x'.repeat(1_000_000)
  t.equal(await send(body, { 'x-holder': 'e' }), body)
  t.equal(await send(body, { 'x-holder': 'f', 'transfer-encoding': 'chunked' }), body)
  t.equal(inFlight.bytes, 4 * 64 * 1024)
})

t.test('readBody() lets one caller hold a quarter beside its largest body', async (t) => {
  const { send, inFlight, port } = await subject(t, {
    maximums: { ...LARGE, inFlightBytes: 1_200_000 },
  })
  const sent = { of: 300_000, text: 'x'.repeat(290_000) }
  for (const count of [1, 2]) {
    await beginBody(t, port, 'greedy', sent)
    await until('it to be held', () => inFlight.bytes === count * 300_000)
  }
  t.equal(await send('{}', { 'x-holder': 'greedy' }), 'OVERLOADED')
  t.equal(inFlight.bytes, 600_000)
  const body = 'x'.repeat(500_000)
  t.equal(await send(body, { 'x-holder': 'other' }), body, 'another has room, also for a large one')
})

for (const [type, want] of [
  ['application/json', '{}'],
  ['application/json; charset=utf-8', '{}'],
  ['application/json;charset=UTF-8', '{}'],
  ['Application/JSON', '{}'],
  ['application/json; charset=utf-16', 'CONTENT_TYPE_UNSUPPORTED'],
  ['application/json garbage', 'CONTENT_TYPE_UNSUPPORTED'],
  ['application/json\tx', 'CONTENT_TYPE_UNSUPPORTED'],
  ['application/json, text/plain', 'CONTENT_TYPE_UNSUPPORTED'],
  ['application/x-www-form-urlencoded', 'CONTENT_TYPE_UNSUPPORTED'],
  ['multipart/form-data; boundary=x', 'CONTENT_TYPE_UNSUPPORTED'],
  ['text/plain', 'CONTENT_TYPE_UNSUPPORTED'],
  ['', 'CONTENT_TYPE_UNSUPPORTED'],
] as const) {
  t.test(`readBody() takes "${type}" as ${want}`, async (t) => {
    const { send } = await subject(t)
    t.equal(await send('{}', { 'content-type': type }), want)
  })
}

for (const [type, want] of [
  ['application/json', '{}'],
  ['application/octet-stream', '{}'],
  ['', '{}'],
  ['text/plain', 'CONTENT_TYPE_UNSUPPORTED'],
  ['application/octet-stream; charset=utf-16', 'CONTENT_TYPE_UNSUPPORTED'],
  ['multipart/form-data; boundary=x', 'CONTENT_TYPE_UNSUPPORTED'],
] as const) {
  t.test(`readBody() takes "${type}" as ${want} where a body is JSON by definition`, async (t) => {
    const { send } = await subject(t, { endpoint: { ...JSON_ENDPOINT, untyped: true } })
    t.equal(await send('{}', { 'content-type': type }), want)
  })
}

for (const [type, want] of [
  ['multipart/form-data; boundary=x', '{} x'],
  ["multipart/form-data;boundary=----a'b+c_d.e-9", "{} ----a'b+c_d.e-9"],
  ['Multipart/Form-Data ; Boundary=x', '{} x'],
  ['multipart/form-data; boundary="x"', 'BODY_INVALID'],
  ['multipart/form-data; boundary=x ', '{} x'],
  ['multipart/form-data; boundary=x y', 'BODY_INVALID'],
  ['multipart/form-data; boundary=x;', 'BODY_INVALID'],
  ['multipart/form-data; boundary=x; boundary=y', 'BODY_INVALID'],
  ['multipart/form-data; charset=utf-8; boundary=x', 'BODY_INVALID'],
  ['multipart/form-data; boundary=', 'BODY_INVALID'],
  [`multipart/form-data; boundary=${'x'.repeat(71)}`, 'BODY_INVALID'],
  ['multipart/form-data', 'CONTENT_TYPE_UNSUPPORTED'],
  ['multipart/mixed; boundary=x', 'CONTENT_TYPE_UNSUPPORTED'],
  ['application/json', 'CONTENT_TYPE_UNSUPPORTED'],
] as const) {
  t.test(`readBody() takes "${type}" for a form as ${want}`, async (t) => {
    const { send } = await subject(t, { endpoint: { ...JSON_ENDPOINT, body: 'form' } })
    t.equal(await send('{}', { 'content-type': type }), want)
  })
}

t.test('readBody() takes JSON and forms where both are known', async (t) => {
  const { send } = await subject(t, { endpoint: { ...JSON_ENDPOINT, body: 'json or form' } })
  t.equal(await send('{}', { 'content-type': 'application/json' }), '{}')
  t.equal(await send('{}', { 'content-type': 'multipart/form-data; boundary=x' }), '{} x')
  t.equal(await send('{}', { 'content-type': 'text/plain' }), 'CONTENT_TYPE_UNSUPPORTED')
})

t.test('readBody() refuses a body where there must be none', async (t) => {
  const { send } = await subject(t, { endpoint: { ...JSON_ENDPOINT, body: 'none' } })
  t.equal(await send('{}'), 'BODY_INVALID')
  t.equal(await send(''), '')
})

t.test('readBody() asks a waiting client to go on, but not for a body it refuses', async (t) => {
  const { port } = await subject(t)
  const ask = (lengthBytes: number): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.write(
        `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n` +
          `content-length: ${lengthBytes}\r\nexpect: 100-continue\r\n\r\n`,
      )
      socket.once('data', (bytes) => {
        resolve(bytes.toString().split('\r\n')[0]!)
        socket.destroy()
      })
    })
  t.equal(await ask(5), 'HTTP/1.1 100 Continue')
  t.equal(await ask(50_000), 'HTTP/1.1 200 OK', 'which is the test server saying BODY_TOO_LARGE')
})

t.test(
  'readBody() gives up on a body that does not come, and on a client that leaves',
  async (t) => {
    const { port, inFlight } = await subject(t, { timeoutMs: 50 })
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n')
      socket.write('content-length: 5\r\n\r\n{')
      socket.once('data', (bytes) => resolve(bytes.toString()))
    })
    t.match(answer, /BODY_TIMEOUT/)
    const leaver = connect(port, '127.0.0.1')
    leaver.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n')
    leaver.write('content-length: 500\r\n\r\n{')
    while (inFlight.bytes === 0) await new Promise((resolve) => setImmediate(resolve))
    leaver.destroy()
    while (inFlight.bytes !== 0) await new Promise((resolve) => setImmediate(resolve))
    t.equal(inFlight.bytes, 0)
  },
)

t.test('readBody() keeps a body of one-byte chunks as one buffer', async (t) => {
  const { send } = await subject(t)
  t.equal(await send('y'.repeat(3000), { 'transfer-encoding': 'chunked' }), 'y'.repeat(3000))
})
