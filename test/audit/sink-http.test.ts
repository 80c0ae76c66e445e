import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { Shipper } from '../../src/audit/shipper.ts'
import { HttpSink } from '../../src/audit/sink-http.ts'

interface Test {
  testdir(): string
  teardown(after: () => unknown): unknown
}

interface Line {
  readonly writer: string
  readonly epoch: number
  readonly seq: number
  readonly hash: string
  readonly entry: unknown
}

function kindOf(entry: unknown): unknown {
  return (entry as { kind?: unknown }).kind
}

/** A collector that keeps what it accepts. */
async function collector(t: Test) {
  const found = {
    url: '',
    lines: [] as Line[],
    headers: [] as IncomingMessage['headers'][],
    status: 204,
    cut: false,
  }
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const take = async () => {
      const body = await text(request)
      found.headers.push(request.headers)
      if (found.status < 300) {
        const lines = body.trimEnd().split('\n')
        found.lines.push(...lines.map((line) => JSON.parse(line) as Line))
      }
      if (found.cut) response.destroy()
      else response.writeHead(found.status, { location: 'http://127.0.0.1:1/' }).end()
    }
    void take()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  found.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/audit`
  return found
}

function shipperTo(t: Test, url: string, path: string): Shipper {
  const sink = new HttpSink({ url, credential: 'collector-key' }, path)
  const shipper = new Shipper({
    path,
    sink,
    onFork: ({ what }) => {
      throw new Error(what)
    },
    onDead: () => {},
    onHead: () => {},
  })
  t.teardown(async () => {
    shipper.close()
    await sink.close()
  })
  return shipper
}

t.test('a collector gets every entry as a line, in order, and not again', async (t) => {
  const there = await collector(t)
  const path = join(t.testdir(), 'audit.db')
  const body = '{"kind":"admin","action":"one"}'
  appendOnce(path, 'test', [
    { kind: 'admin', body },
    { kind: 'admin', body: 'not\njson' },
    { kind: 'admin', body: '{\n"kind": "admin"}' },
  ])
  const shipper = shipperTo(t, there.url, path)
  while (await shipper.step());
  const own = there.lines.filter(({ entry }) => kindOf(entry) !== 'checkpoint')
  t.match(own, [
    { epoch: 1, seq: 1, entry: { kind: 'writer.open' } },
    { epoch: 1, seq: 2, hash: /^[0-9a-f]{64}$/, entry: JSON.parse(body) },
    { seq: 3, entry: 'not\njson' },
    { seq: 4, entry: '{\n"kind": "admin"}' },
    { entry: { kind: 'writer.close' } },
  ])
  t.match(there.headers, [
    {
      authorization: 'Bearer collector-key',
      'content-type': 'application/x-ndjson',
      'idempotency-key': /^[0-9a-f]{32}-1-1-\d+$/,
    },
  ])
  appendOnce(path, 'test', [{ kind: 'admin', body }])
  const again = shipperTo(t, there.url, path)
  while (await again.step());
  const opened = there.lines.filter(({ entry }) => kindOf(entry) === 'writer.open')
  t.equal(opened.length, 2)
  t.equal(new Set(there.lines.map(({ hash }) => hash)).size, there.lines.length)
})

t.test('what a collector does not take is kept and sent again', async (t) => {
  const there = await collector(t)
  const path = join(t.testdir(), 'audit.db')
  appendOnce(path, 'test', [{ kind: 'admin', body: '{"kind":"admin"}' }])
  const shipper = shipperTo(t, there.url, path)
  for (const status of [500, 429, 307, 401]) {
    there.status = status
    await t.rejects(shipper.step(), { message: `The collector answered ${status}` })
  }
  const { entries } = shipper.backlog()
  there.status = 200
  there.cut = true
  await t.rejects(shipper.step())
  there.cut = false
  while (await shipper.step());
  const all = Array.from({ length: entries }, (_, index) => index + 1)
  t.strictSame(
    there.lines.map(({ seq }) => seq),
    [...all, ...all],
    'twice when the answer was lost, with the same names',
  )
})
