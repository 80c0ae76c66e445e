import { copyFileSync, openSync, renameSync, statSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { chainHasher } from '../../src/audit/chain.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { pruneLog } from '../../src/audit/prune.ts'
import { LogFile } from '../../src/audit/ship-source.ts'
import type { ChainHead, ShipBatch } from '../../src/audit/ship-types.ts'
import { shippedTo } from '../../src/audit/shipped-to.ts'
import { type Fork, Shipper } from '../../src/audit/shipper.ts'
import { PostgresSink } from '../../src/audit/sink-postgres.ts'
import { Writer } from '../../src/audit/writer.ts'
import { Patience } from '../../src/patience.ts'
import { freshDatabase, runSql, startPostgres } from '../support/postgres.ts'
import { Seeded } from '../support/seeded.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { decision, openWal, outcome } from './support/log.ts'

const NOW_MS = Date.UTC(2026, 10, 21)

interface Test {
  testdir(): string
  teardown(after: () => unknown): unknown
}

interface Ready {
  readonly url: string
  readonly path: string
  readonly forks: Fork[]
  dead: number
  readonly shipper: Shipper
  readonly sink: PostgresSink
}

/** A migrated database, a place for a log, and a shipper between them. */
async function ready(
  t: Test,
  {
    url,
    path,
    rowsMax = 7,
    patience,
  }: { url?: string; path?: string; rowsMax?: number; patience?: Patience } = {},
): Promise<Ready> {
  const database = url ?? (await freshDatabase(t))
  if (url === undefined) await migrate(database, NOW_MS)
  const sink = new PostgresSink(database, patience)
  const log = path ?? join(t.testdir(), 'audit.db')
  const found = { forks: [] as Fork[], dead: 0 }
  const shipper = new Shipper({
    path: log,
    sink,
    onFork: (fork) => found.forks.push(fork),
    onDead: (entries) => (found.dead += entries),
    onHead: () => {},
    rowsMax,
  })
  t.teardown(async () => {
    shipper.close()
    await sink.close()
  })
  return Object.assign(found, { url: database, path: log, shipper, sink })
}

async function shipAll(shipper: Shipper): Promise<void> {
  while (await shipper.step());
}

async function record(path: string, calls: number, prefix = 'c'): Promise<void> {
  const wal = await openWal(path, { signs: true })
  for (let call = 0; call < calls; call++) {
    await wal.record(decision(`${prefix}-${call}`))
    wal.queue(outcome(`${prefix}-${call}`))
  }
  await wal.close()
}

interface Kept {
  readonly writer: string
  readonly epoch: number
  readonly seq: number
  readonly us: number
  readonly kind: string
  readonly request_id: string
  readonly hash: string
  readonly body: string
}

/** What the files say, in the order of chains. */
function local(...paths: readonly string[]): Kept[] {
  return paths
    .flatMap((path) => {
      const db = new Database(path, { readonly: true })
      const rows = db
        .prepare<[], Kept>(
          `SELECT lower(hex(writer_id)) AS writer, epoch, seq, occurred_at AS us, kind, request_id,
             lower(hex(hash)) AS hash, lower(hex(body)) AS body
           FROM entries JOIN chains ON chains.id = chain`,
        )
        .all()
      db.close()
      return rows
    })
    .sort(inOrder)
}

async function remote(url: string): Promise<Kept[]> {
  const rows = await runSql<Record<keyof Kept, string>>(
    url,
    `SELECT encode(writer_id, 'hex') AS writer, epoch, seq,
       (extract(epoch FROM occurred_at) * 1000000)::bigint AS us, kind, request_id,
       encode(hash, 'hex') AS hash, encode(body, 'hex') AS body
     FROM governor.entries`,
  )
  return rows
    .map((row) => ({ ...row, epoch: Number(row.epoch), seq: Number(row.seq), us: Number(row.us) }))
    .sort(inOrder)
}

function inOrder(a: Kept, b: Kept): number {
  return a.writer.localeCompare(b.writer) || a.epoch - b.epoch || a.seq - b.seq
}

t.test('every entry arrives once, as the bytes that were hashed', async (t) => {
  const { url, path, shipper } = await ready(t)
  await record(path, 30)
  appendOnce(path, 'test', [{ kind: 'admin', body: '{"kind":"admin","tenant":"Ünïcode 🚀"}' }])
  await shipAll(shipper)
  t.strictSame(await remote(url), local(path))
  t.strictSame(shipper.backlog(), { entries: 0, oldestUs: 0 })
  await record(path, 3, 'later')
  t.ok(shipper.backlog().entries > 6)
  await shipAll(shipper)
  t.strictSame(await remote(url), local(path))
})

t.test('the columns that questions are asked by are those of the body', async (t) => {
  const { url, path, shipper } = await ready(t)
  const body = {
    kind: 'decision',
    tenant: 'acme',
    key_id: 'k1',
    operation: 'chat',
    'gen_ai.request.model': 'gpt-5',
    decision: 'deny',
    policy: 'no-frontier',
    code: 'POLICY_DENIED',
  }
  appendOnce(path, 'test', [{ kind: 'decision', body: JSON.stringify(body) }])
  await shipAll(shipper)
  const rows = await runSql(
    url,
    `SELECT tenant, key_id, operation, model, decision, policy, code, entry
     FROM governor.audit WHERE kind = 'decision'`,
  )
  const { 'gen_ai.request.model': model, kind: _kind, ...columns } = body
  t.strictSame(rows, [{ ...columns, model, entry: body }])
})

t.test('a new shipper goes on where the last one ended, whatever was sent before', async (t) => {
  const { url, path } = await ready(t)
  await record(path, 20)
  for (let run = 0; run < 5; run++) {
    const { shipper } = await ready(t, { url, path, rowsMax: 3 })
    for (let steps = 0; steps < 3; steps++) await shipper.step()
  }
  const { shipper, forks } = await ready(t, { url, path })
  await shipAll(shipper)
  t.strictSame(await remote(url), local(path))
  t.strictSame(forks, [])
})

t.test('two shippers of one log do not disturb each other', async (t) => {
  const one = await ready(t, { rowsMax: 2 })
  await record(one.path, 60)
  const two = await ready(t, { url: one.url, path: one.path, rowsMax: 3 })
  await Promise.all([shipAll(one.shipper), shipAll(two.shipper)])
  t.strictSame(await remote(one.url), local(one.path))
  t.strictSame([...one.forks, ...two.forks], [])
})

/** All batches a log makes, of at most `rowsMax` entries. */
function batchesOf(path: string, rowsMax: number): ShipBatch[] {
  const file = new LogFile({ path, epoch: 1 })
  const batches: ShipBatch[] = []
  const heads = new Map<number, ChainHead>()
  for (let id = 0; ;) {
    const rows = file.read(id, rowsMax, 1_000_000)
    if (rows.length === 0) break
    const chain = rows[0]!.chain
    const mine = rows.filter((row) => row.chain === chain)
    const after = heads.get(chain.id) ?? { seq: 0, hash: Buffer.alloc(32) }
    batches.push({ chain, after, rows: mine.map(({ row }) => row) })
    heads.set(chain.id, mine.at(-1)!.row)
    id = mine.at(-1)!.id
  }
  file.close()
  return batches
}

t.test('batches doubled and in any order leave each entry once or not at all', async (t) => {
  const { url, path, shipper, sink, forks } = await ready(t)
  await record(path, 15)
  const batches = batchesOf(path, 4)
  const random = new Seeded(20_261_121)
  const all = [...batches, ...batches, ...batches]
  for (let at = all.length - 1; at > 0; at--) {
    const other = Math.floor(random.between(0, at))
    ;[all[at], all[other]] = [all[other]!, all[at]!]
  }
  for (const batch of all) await sink.put(batch)
  const there = await remote(url)
  t.strictSame(there, local(path).slice(0, there.length))
  await shipAll(shipper)
  t.strictSame(await remote(url), local(path))
  t.strictSame(forks, [])
})

t.test('an answer lost after the commit doubles nothing and is no fork', async (t) => {
  const { url, path } = await ready(t)
  await record(path, 20)
  const { proxy, url: through } = await TcpProxy.to(t, url)
  const { shipper, forks } = await ready(t, { url: through, path, rowsMax: 5 })
  let lost = 0
  for (let more = true; more;) {
    if (lost < 4) proxy.cutAnswerTo((request) => request.includes('INSERT INTO governor.entries'))
    try {
      more = await shipper.step()
    } catch {
      lost++
      if (lost % 2 === 0) shipper.forget()
    }
  }
  t.equal(lost, 4)
  t.ok(proxy.cuts >= 4, `${proxy.cuts} answers were cut`)
  t.strictSame(await remote(url), local(path))
  t.strictSame(forks, [])
})

for (const [what, slow] of Object.entries({
  'that is slow to connect to and to answer': { delayMs: 150, bytesPerTick: Infinity },
  'at the end of a slow line': { delayMs: 0, bytesPerTick: 4096 },
})) {
  t.test(`a server ${what} has every entry once`, async (t) => {
    const { url, path } = await ready(t)
    await record(path, 100)
    const { proxy, url: through } = await TcpProxy.to(t, url)
    Object.assign(proxy, slow)
    const patience = new Patience({ firstMs: 50, mostMs: 60_000 })
    const { shipper, forks } = await ready(t, { url: through, path, rowsMax: 500, patience })
    let late = 0
    for (let more = true; more;) {
      try {
        more = await shipper.step()
      } catch {
        late++
        shipper.forget()
      }
    }
    t.ok(late > 0, `${late} answers were late`)
    t.strictSame(await remote(url), local(path))
    t.strictSame(forks, [])
  })
}

t.test('a server that hangs in the middle of a batch has every entry once', async (t) => {
  const { url, path } = await ready(t)
  await record(path, 20)
  const { proxy, url: through } = await TcpProxy.to(t, url)
  const patience = new Patience({ firstMs: 500, mostMs: 60_000 })
  const { shipper, forks } = await ready(t, { url: through, path, patience })
  await until('a batch to be shipped', () => shipper.step().catch(() => false))
  proxy.silent = true
  await t.rejects(shipper.step(), /timeout/)
  t.ok(shipper.backlog().entries > 0, 'what waits is counted meanwhile')
  proxy.silent = false
  shipper.forget()
  await shipAll(shipper)
  t.strictSame(await remote(url), local(path))
  t.strictSame(forks, [])
})

t.test('a server that is killed and comes back has every entry once', async (t) => {
  const server = await startPostgres(t)
  await migrate(server.url, NOW_MS)
  const { path, shipper, forks } = await ready(t, {
    url: server.url,
    path: join(t.testdir(), 'a.db'),
  })
  await record(path, 20)
  await shipper.step()
  await server.kill()
  await t.rejects(shipper.step())
  t.ok(shipper.backlog().entries > 30, 'what waits is counted meanwhile')
  await server.start()
  shipper.forget()
  await shipAll(shipper)
  t.strictSame(await remote(server.url), local(path))
  t.strictSame(forks, [])
})

t.test('a copied volume that goes on by itself is a fork, and the rest is shipped', async (t) => {
  const { url, path, shipper } = await ready(t)
  const copy = path.replace('audit.db', 'copy.db')
  const wal = await openWal(path)
  await wal.record(decision('before'))
  const db = new Database(path)
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
  copyFileSync(path, copy)
  await wal.record(decision('after'))
  await wal.close()
  await shipAll(shipper)
  const cloned = await ready(t, { url, path: copy })
  await record(copy, 2, 'clone')
  await shipAll(cloned.shipper)
  t.match(cloned.forks, [{ file: copy, what: /^it has entry \d+ there, and ends at 2 here$/ }])
  t.equal(cloned.forks.length, 1)
  const clones = local(copy).filter(({ writer }) => !cloned.forks[0]!.chain.startsWith(writer))
  t.strictSame(await remote(url), [...local(path), ...clones].sort(inOrder))
})

t.test('a log edited and hashed again after it was shipped is a fork', async (t) => {
  const { url, path, shipper } = await ready(t)
  appendOnce(path, 'test', [{ kind: 'admin', body: '{"kind":"admin","action":"truth"}' }])
  await shipAll(shipper)
  const before = await remote(url)
  const db = new Database(path)
  const { writer_id } = db.prepare<[], { writer_id: Buffer }>('SELECT writer_id FROM chains').get()!
  const hash = chainHasher(writer_id, 1)
  db.exec(
    `UPDATE entries SET body = CAST('{"kind":"admin","action":"lies!"}' AS BLOB) WHERE seq = 2`,
  )
  let prevHash: Uint8Array = Buffer.alloc(32)
  for (const row of db.prepare('SELECT id, seq, occurred_at AS at, body FROM entries').all()) {
    const { id, seq, at, body } = row as { id: number; seq: number; at: number; body: Buffer }
    prevHash = hash({ seq, occurredAtUs: at, prevHash }, body)
    db.prepare('UPDATE entries SET hash = ? WHERE id = ?').run(prevHash, id)
  }
  db.close()
  const again = await ready(t, { url, path })
  await shipAll(again.shipper)
  t.match(again.forks, [{ what: /^its entry \d+ there is another one than here$/ }])
  t.strictSame(await remote(url), before)
})

t.test('a chain of which the database knows another beginning is a fork', async (t) => {
  const { url, path, sink, shipper, forks } = await ready(t)
  await record(path, 3)
  const [batch] = batchesOf(path, 2)
  const forged = batch!.rows.map((row) => ({ ...row, hash: Buffer.alloc(32, 7) }))
  t.strictSame(await sink.put({ ...batch!, rows: forged }), { kind: 'taken', dead: 0 })
  await shipAll(shipper)
  t.match(forks, [{ what: /another one than here/ }])
  t.equal((await remote(url)).length, 2)
  t.ok(shipper.backlog().entries >= 0)
})

t.test('entries that were there before the head are compared, not believed', async (t) => {
  const { url, path, sink, shipper, forks } = await ready(t)
  await record(path, 3)
  const [first] = batchesOf(path, 100)
  await sink.put(first!)
  await runSql(url, 'DELETE FROM governor.writers')
  await runSql(url, 'DELETE FROM governor.entries WHERE seq IN (2, 5)')
  await shipAll(shipper)
  t.strictSame(forks, [], 'the same entries are no fork')
  t.strictSame(await remote(url), local(path))
  await runSql(url, 'DELETE FROM governor.writers')
  await runSql(url, `UPDATE governor.entries SET hash = '\\x00' WHERE seq = 3`)
  const again = await ready(t, { url, path })
  await shipAll(again.shipper)
  t.match(again.forks, [{ what: /were there already, with another content/ }])
  t.strictSame(await runSql(url, 'SELECT FROM governor.writers'), [], 'the head has not moved')
  const stand = await shippedTo(path, again.sink)
  const { writer } = local(path)[0]!
  t.equal(stand(writer, 1), 0, 'nothing makes room on the word of that database')
  const restarted = await ready(t, { url, path })
  await shipAll(restarted.shipper)
  t.match(restarted.forks, [{ what: /were there already/ }], 'it is a fork after a restart too')
})

t.test('entries PostgreSQL cannot take are kept as bytes, and stop nothing', async (t) => {
  const found = await ready(t)
  const { url, path, shipper } = found
  const bodies = [
    '{"kind":"admin","nul":"a\\u0000b"}',
    '{"kind":"admin","half":"\\ud800"}',
    '{"kind":"admin","name\\udfff":1}',
    '{"kind":"admin","number":1e999999}',
    `{"kind":"admin","deep":${'['.repeat(5000)}"\\u0000"${']'.repeat(5000)}}`,
    'no JSON at all',
    '["not an object"]',
  ]
  const fine = ['{"kind":"admin","text":"\\\\u0000 \\ud83d\\ude80"}', '{"kind":"admin"}']
  const entries = [...bodies.flatMap((body) => [body, fine[1]!]), fine[0]!]
  appendOnce(
    path,
    'test',
    entries.map((body) => ({ kind: 'admin', body })),
  )
  await shipAll(shipper)
  const dead = await runSql<{ body: string; reason: string }>(
    url,
    `SELECT convert_from(body, 'UTF8') AS body, reason FROM governor.dead_letters ORDER BY seq`,
  )
  t.strictSame(
    dead.map(({ body }) => body),
    bodies,
  )
  t.strictSame(
    dead.map(({ reason }) => reason),
    [
      'its body holds NUL',
      'its body holds half a surrogate pair',
      'its body holds half a surrogate pair',
      'a number is too large',
      'its body is nested too deeply',
      'its body is not JSON in UTF-8',
      'its body is not a JSON object',
    ],
  )
  t.equal(found.dead, bodies.length)
  t.equal((await remote(url)).length + dead.length, local(path).length)
  await runSql(url, 'SELECT entry FROM governor.audit')
  const { shipper: again, forks } = await ready(t, { url, path })
  await shipAll(again)
  t.strictSame(forks, [])
})

t.test('what only the server refuses is found by halves and kept as bytes', async (t) => {
  const found = await ready(t, { rowsMax: 100 })
  const { url, path, shipper } = found
  await runSql(url, `ALTER TABLE governor.entries ADD CHECK (request_id <> 'c-7')`)
  await record(path, 20)
  await shipAll(shipper)
  const dead = await runSql(
    url,
    `SELECT convert_from(request_id, 'UTF8') AS id, reason FROM governor.dead_letters`,
  )
  t.match(dead, [
    { id: 'c-7', reason: /violates check constraint .* \(SQLSTATE 23514\)/ },
    { id: 'c-7', reason: /SQLSTATE 23514/ },
  ])
  t.equal(found.dead, 2)
  t.equal((await remote(url)).length + 2, local(path).length)
})

t.test('all epochs are shipped, and what was never acknowledged is not', async (t) => {
  const { url, path, shipper, forks } = await ready(t)
  await record(path, 3)
  const db = new Database(path)
  const chain = db
    .prepare<[], { id: number; writer_id: Buffer }>('SELECT id, writer_id FROM chains')
    .get()!
  const cut = db
    .prepare<[], { seq: number; hash: Buffer }>('SELECT seq, hash FROM entries WHERE seq = 4')
    .get()!
  db.close()
  // As a writer goes on after a failed fsync.
  const next = path.replace('.db', '.e2.db')
  const writer = new Writer({
    path: next,
    epoch: 2,
    writerId: chain.writer_id,
    role: 'run',
    version: 'test',
    busyMs: 1000,
    pageBytesMax: 0,
    recover: false,
    continues: {
      writer_id: chain.writer_id.toString('hex'),
      epoch: 1,
      seq: cut.seq,
      hash: cut.hash.toString('hex'),
    },
    openCalls: [],
  })
  writer.close()
  await shipAll(shipper)
  const acknowledged = local(path).filter(({ seq }) => seq <= cut.seq)
  t.strictSame(await remote(url), [...acknowledged, ...local(next)].sort(inOrder))
  t.strictSame(forks, [])
})

t.test(
  'a database that was never migrated, or by a newer Governor, is named as that',
  async (t) => {
    const url = await freshDatabase(t)
    const { sink } = await ready(t, { url })
    await t.rejects(sink.check(), { message: /no tables for the audit: run governor migrate/ })
    await migrate(url, NOW_MS)
    await sink.check()
    await runSql(url, 'INSERT INTO governor.schema_version (version) VALUES (9)')
    await t.rejects(sink.check(), { message: /migrated by a newer Governor \(schema 9/ })
  },
)

t.test('the rights of the shipper role are enough to ship', async (t) => {
  const server = await startPostgres(t)
  await migrate(server.url, NOW_MS)
  await runSql(server.url, 'CREATE ROLE sidecar LOGIN IN ROLE governor_shipper')
  const url = server.url.replace('postgres@', 'sidecar@')
  const found = await ready(t, { url, path: join(t.testdir(), 'audit.db') })
  await record(found.path, 5)
  appendOnce(found.path, 'test', [{ kind: 'admin', body: 'no JSON' }])
  await found.sink.check()
  await shipAll(found.shipper)
  t.equal((await remote(server.url)).length + found.dead, local(found.path).length)
  await runSql(server.url, 'DELETE FROM governor.writers')
  const again = await ready(t, { url, path: found.path })
  await shipAll(again.shipper)
  t.strictSame(again.forks, [])
})

t.test(
  'what was pruned after it was shipped is no fork, and what was not shipped stays',
  async (t) => {
    const { url, path, shipper, sink } = await ready(t)
    await record(path, 20)
    const later = NOW_MS + 10 * 365 * 86_400_000
    const prune = async () =>
      pruneLog(path, 'test', later, { shippedTo: await shippedTo(path, sink) }).entries
    t.equal(await prune(), 0)
    await shipAll(shipper)
    const before = await remote(url)
    t.ok((await prune()) > 30)
    const again = await ready(t, { url, path })
    await shipAll(again.shipper)
    t.strictSame(again.forks, [])
    const mine = new Set(before.map(({ writer }) => writer))
    t.strictSame(
      (await remote(url)).filter(({ writer }) => mine.has(writer)),
      before,
    )
  },
)

t.test(
  'a log that was pruned before is shipped with the hole it tells of, and no other',
  async (t) => {
    const { url, path, shipper, forks } = await ready(t)
    await record(path, 20)
    t.ok(pruneLog(path, 'test', NOW_MS + 10 * 365 * 86_400_000).entries > 30)
    await record(path, 3, 'later')
    await shipAll(shipper)
    t.strictSame(forks, [])
    t.strictSame(await remote(url), local(path))
    await record(path, 3, 'last')
    const db = new Database(path)
    db.exec("DELETE FROM entries WHERE request_id = 'last-1'")
    db.close()
    await shipAll(shipper)
    t.match(forks, [{ what: /^entries before \d+ are missing here$/ }])
  },
)

const BROKEN: readonly (readonly [string, string, RegExp])[] = [
  [
    'a time no calendar has',
    'UPDATE entries SET occurred_at = -9000000000000000000 WHERE chain = 1 AND seq = 3',
    /^entry 3 cannot be kept there: timestamp out of range$/,
  ],
  [
    'a hash of another length',
    "UPDATE entries SET hash = x'00' WHERE chain = 1 AND seq = 5",
    /^entry 5 cannot be kept there: .*last_hash/,
  ],
  [
    'a writer that cannot be',
    "UPDATE chains SET writer_id = x'00' WHERE id = 1",
    /^entry 1 cannot be kept there: .*writer_id/,
  ],
]

function isOther({ request_id }: Kept): boolean {
  return request_id.startsWith('other')
}

for (const [what, sql, said] of BROKEN) {
  t.test(`${what} stops its own chain and no other`, async (t) => {
    const { url, path, shipper, forks } = await ready(t)
    await record(path, 5)
    await record(path, 5, 'other')
    const db = new Database(path)
    db.exec(sql)
    db.close()
    await shipAll(shipper)
    t.match(forks, [{ what: said }])
    t.equal(forks.length, 1, 'said once')
    t.strictSame((await remote(url)).filter(isOther), local(path).filter(isOther))
  })
}

t.test('a damaged file is said, and the next epoch is shipped', async (t) => {
  const { url, path, shipper, forks } = await ready(t)
  const next = path.replace('audit.db', 'audit.e2.db')
  await record(path, 400)
  await record(path.replace('audit.db', 'other.db'), 5, 'other')
  renameSync(path.replace('audit.db', 'other.db'), next)
  const file = openSync(path, 'r+')
  const bytes = Buffer.alloc(4096, 0xa5)
  const { size } = statSync(path)
  for (let at = 8 * 4096; at < size; at += 4096) writeSync(file, bytes, 0, 4096, at)
  closeSync(file)
  await shipAll(shipper)
  t.match(forks, [{ file: path, what: /^the file is damaged: / }])
  const writers = new Set(local(next).map(({ writer }) => writer))
  t.strictSame(
    (await remote(url)).filter(({ writer }) => writers.has(writer)),
    local(next),
  )
  shipper.forget()
  await shipAll(shipper)
  t.equal(forks.length, 1, 'said once')
  t.doesNotThrow(() => shipper.backlog())
})
