import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { logBytes, makeRoom } from '../../src/audit/make-room.ts'
import { commitPersonal, withCommitments } from '../../src/audit/personal.ts'
import { shippedTo } from '../../src/audit/shipped-to.ts'
import { Shipper } from '../../src/audit/shipper.ts'
import { HttpSink } from '../../src/audit/sink-http.ts'
import { PostgresSink } from '../../src/audit/sink-postgres.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { runSql } from '../support/postgres.ts'
import { decision, openWal, outcome, rows } from './support/log.ts'
import { emptyDatabase } from './support/shipped.ts'

const NOW_MS = Date.UTC(2036, 0, 1)
const PAD = 'x'.repeat(4000)
const BYTES_MAX = 2 * 1024 * 1024

interface Test {
  testdir(): string
  teardown(then: () => unknown): void
}

/** Two chains of half a megabyte each, and a collector that takes everything. */
async function ready(
  t: Test,
): Promise<{ path: string; sink: HttpSink; ship: () => Promise<void> }> {
  const path = join(t.testdir(), 'audit.db')
  for (const writer of ['a', 'b']) {
    const wal = await openWal(path, { signs: true })
    const calls = Array.from({ length: 240 }, (_, index) => `${writer}${index}`)
    await Promise.all(calls.map((id) => wal.record(decision(id, PAD))))
    for (const id of calls) wal.queue(outcome(id))
    await wal.close()
  }
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const sink = new HttpSink({ url: `http://127.0.0.1:${port}/`, credential: null }, path)
  t.teardown(async () => {
    await sink.close()
    server.closeAllConnections()
    server.close()
  })
  const shipper = new Shipper({ path, sink, onFork() {}, onHead() {}, onDead() {} })
  const ship = async () => {
    while (await shipper.step());
    shipper.close()
  }
  return { path, sink, ship }
}

t.test('entries that have arrived make room, and the log verifies', async (t) => {
  const { path, sink, ship } = await ready(t)
  const options = { path, version: 'test', bytesMax: BYTES_MAX }
  const before = logBytes(path)
  t.ok(before > BYTES_MAX * 0.8)
  const kept = makeRoom(options, await shippedTo(path, sink), NOW_MS)
  t.strictSame(kept.entries, 0, 'nothing has arrived')
  t.equal(rows(path).filter(({ kind }) => kind === 'retention').length, 0)

  await ship()
  const { entries, bytes } = makeRoom(options, await shippedTo(path, sink), NOW_MS)
  t.ok(entries > 400, `${entries} were removed`)
  t.ok(bytes < BYTES_MAX * 0.6, `${before} bytes became ${bytes}`)
  const { exitCode, problems } = verifyLog(path, { strict: true })
  t.strictSame([exitCode, problems], [0, []])
  await ship()
  const again = makeRoom(options, await shippedTo(path, sink), NOW_MS)
  t.equal(again.entries, 0, 'there is room')
})

t.test('nothing goes on the word of a database whose head is not ours', async (t) => {
  const { path } = await ready(t)
  const url = await emptyDatabase(t)
  const sink = new PostgresSink(url)
  t.teardown(() => sink.close())
  const chains = "SELECT lower(hex(writer_id)) AS writer, epoch FROM chains WHERE role = 'run'"
  const db = new Database(path, { readonly: true })
  const found = db.prepare<[], { writer: string; epoch: number }>(chains).all()
  db.close()
  // Whoever may write there can say of entries that they have arrived.
  for (const [index, { writer, epoch }] of found.entries()) {
    const seq = index === 0 ? 1_000_000 : 300
    await runSql(
      url,
      `INSERT INTO governor.writers (writer_id, epoch, last_seq, last_hash)
       VALUES ('\\x${writer}', ${epoch}, ${seq}, decode(repeat('ab', 32), 'hex'))`,
    )
  }
  const shipped = await shippedTo(path, sink)
  t.strictSame(
    found.map(({ writer, epoch }) => shipped(writer, epoch)),
    [0, 0],
  )
  const before = rows(path).length
  t.equal(makeRoom({ path, version: 'test', bytesMax: BYTES_MAX }, shipped, NOW_MS).entries, 0)
  t.equal(rows(path).length, before)
})

t.test('a clock that was ahead once keeps nothing from making room', async (t) => {
  const { path, sink, ship } = await ready(t)
  await ship()
  const options = { path, version: 'test', bytesMax: BYTES_MAX }
  const longBeforeMs = Date.UTC(2020, 0, 1)
  const { entries, bytes } = makeRoom(options, await shippedTo(path, sink), longBeforeMs)
  t.ok(entries > 400, `${entries} were removed`)
  t.ok(bytes < BYTES_MAX * 0.6)
  const { exitCode, problems } = verifyLog(path, { strict: true })
  t.strictSame([exitCode, problems], [0, []])
})

t.test('what is younger stays where the older make room enough', async (t) => {
  const { path, sink, ship } = await ready(t)
  await ship()
  const nowMs = Date.now() + 3 * 3_600_000
  const options = { path, version: 'test', bytesMax: BYTES_MAX }
  // Entries of tests say that they are of 2026; those of checkpoints are of now.
  makeRoom(options, await shippedTo(path, sink), nowMs)
  const retention = rows(path).filter(({ kind }) => kind === 'retention')
  t.equal(retention.length, 1)
  const olderThan = Date.parse(String(retention[0]!.body['older_than']))
  t.equal(olderThan, nowMs - 3_600_000, 'of an hour and more')
})

t.test('chains with values that are shipped nowhere stay whole', async (t) => {
  const { path, sink, ship } = await ready(t)
  const wal = await openWal(path, { signs: true })
  const entry = decision('with values', PAD)
  const committed = commitPersonal({ subject: 's', values: { v: 'x' } })
  await wal.record({
    ...entry,
    body: withCommitments(entry.body, committed),
    side: committed.side,
  })
  await wal.close()
  await ship()
  makeRoom({ path, version: 'test', bytesMax: 1000 }, await shippedTo(path, sink), NOW_MS)
  const left = rows(path).filter(({ kind }) => kind === 'decision')
  t.strictSame(
    left.map(({ request_id }) => request_id),
    ['with values'],
  )
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})
