import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { headOf } from '../../src/audit/recover.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { Writer } from '../../src/audit/writer.ts'
import { decision, openWal, outcome, refusal } from './support/log.ts'

/**
 * A small log with two writers is altered in every way a row can be: bytes of each body
 * and hash, each column, each row removed, doubled and swapped. None may pass.
 */
async function makeLog(dir: string): Promise<string> {
  const path = join(dir, 'audit.db')
  const wal = await openWal(path, { signs: true })
  await wal.record(decision('r1'))
  appendOnce(path, 'test', [{ kind: 'admin', body: '{"kind":"admin","action":"keys.create"}' }])
  wal.queue(outcome('r1'))
  await wal.record(refusal('r2'))
  await wal.close()
  return path
}

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

type Rows = { id: number; kind: string; hash: Buffer; body: Buffer }[]

t.test('verifyLog() finds every alteration of a small log', async (t) => {
  const dir = t.testdir()
  const path = await makeLog(dir)
  const holds = verifyLog(path, { strict: true })
  t.strictSame([holds.exitCode, holds.entries, holds.chains, holds.notes], [0, 10, 2, []])
  const db = new Database(path)
  const all = db.prepare('SELECT id, kind, hash, body FROM entries ORDER BY id').all() as Rows
  const missed: string[] = []
  let tried = 0
  const attempt = (name: string, alter: () => void) => {
    tried++
    db.exec('SAVEPOINT alteration')
    alter()
    db.exec('RELEASE alteration')
    if (verifyLog(path, { strict: false }).exitCode !== 1) missed.push(name)
  }
  const restore = db.transaction((undo: () => void) => undo())
  for (const { id, kind, hash, body } of all) {
    // Each trial checks two signatures, and those of checkpoints are long.
    const step = kind === 'checkpoint' ? 13 : 3
    for (const [column, bytes] of [
      ['hash', hash],
      ['body', body],
    ] as const) {
      const set = db.prepare(`UPDATE entries SET ${column} = ? WHERE id = ?`)
      for (let at = 0; at < bytes.length; at += step) {
        attempt(`${column} ${id} byte ${at}`, () => set.run(flip(bytes, at), id))
        restore(() => set.run(bytes, id))
      }
    }
  }
  t.ok(tried > 400)
  t.strictSame(missed, [])
  db.close()
})

const ALTERATIONS: readonly { name: string; sql: string }[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((id) => ({
    name: `entry ${id} deleted`,
    sql: `DELETE FROM entries WHERE id = ${id}`,
  })),
  { name: 'a time', sql: 'UPDATE entries SET occurred_at = occurred_at + 1 WHERE id = 4' },
  { name: 'a role', sql: "UPDATE chains SET role = 'command' WHERE role = 'run'" },
  { name: 'a kind', sql: "UPDATE entries SET kind = 'admin' WHERE kind = 'outcome'" },
  { name: 'a request id', sql: "UPDATE entries SET request_id = 'r9' WHERE id = 2" },
  { name: 'that it awaits', sql: "UPDATE entries SET awaits = 0 WHERE request_id = 'r1'" },
  { name: 'a seq', sql: 'UPDATE entries SET seq = 99 WHERE id = 7' },
  {
    name: 'two bodies swapped',
    sql: `UPDATE entries SET body = (SELECT body FROM entries other WHERE other.id = 15 - entries.id)
          WHERE id IN (7, 8)`,
  },
  {
    name: 'two places swapped',
    sql: `UPDATE entries SET id = -7 WHERE id = 7; UPDATE entries SET id = 7 WHERE id = 8;
          UPDATE entries SET id = 8 WHERE id = -7`,
  },
  {
    name: 'an entry doubled',
    sql: `INSERT INTO entries SELECT 50, chain, 50, occurred_at, kind, request_id, awaits, hash, body
          FROM entries WHERE id = 7`,
  },
  { name: 'a whole writer deleted', sql: 'DELETE FROM entries WHERE chain = 2' },
  {
    name: 'a writer and its row deleted, with entries before it',
    sql: 'DELETE FROM entries WHERE chain = 1; DELETE FROM chains WHERE id = 1',
  },
  { name: 'a writer row deleted', sql: 'DELETE FROM chains WHERE id = 2' },
  { name: 'a writer id', sql: 'UPDATE chains SET writer_id = zeroblob(16) WHERE id = 2' },
  { name: 'a short writer id', sql: "UPDATE chains SET writer_id = x'00' WHERE id = 2" },
  { name: 'an epoch', sql: 'UPDATE chains SET epoch = 7 WHERE id = 2' },
  {
    name: 'an entry in front of the first place',
    sql: `INSERT INTO entries SELECT -9223372036854775808, chain, 99, occurred_at, kind, 'r1', awaits,
          hash, body FROM entries WHERE id = 2`,
  },
  {
    name: 'a personal value that its entry does not commit to',
    sql: "INSERT INTO personal VALUES (1, 2, 'client.address', 'acme/bob', x'00', '10.6.6.6')",
  },
  {
    name: 'a personal value of no entry',
    sql: "INSERT INTO personal VALUES (1, 99, 'client.address', 'acme/bob', x'00', '10.6.6.6')",
  },
  {
    name: 'a byte moved from the end of a hash to the beginning of its body',
    sql: `UPDATE entries SET hash = substr(hash, 1, 31), body = CAST(substr(hash, 32) || body AS BLOB)
          WHERE id = 7`,
  },
  {
    name: 'a byte moved from the beginning of a body to the end of its hash',
    sql: `UPDATE entries SET hash = CAST(hash || substr(body, 1, 1) AS BLOB), body = substr(body, 2)
          WHERE id = 7`,
  },
  {
    name: 'an outcome that awaits another',
    sql: 'UPDATE entries SET awaits = 1000001 WHERE id = 3',
  },
  { name: 'a body that is no object', sql: "UPDATE entries SET body = x'5b5d' WHERE id = 7" },
]

const base = await makeLog(t.testdir())

for (const { name, sql } of ALTERATIONS) {
  t.test(`verifyLog() finds ${name}`, async (t) => {
    const path = join(t.testdir(), 'audit.db')
    copyFileSync(base, path)
    copyFileSync(`${base}.keys.json`, `${path}.keys.json`)
    const db = new Database(path)
    db.exec(sql)
    db.close()
    const result = verifyLog(path, { strict: false })
    t.equal(result.exitCode, 1)
    t.ok(result.problems.every(({ file, what }) => file === path && what !== ''))
  })
}

t.test(
  'a file with a trigger, or a view for a table, does not hold, and nobody appends',
  async (t) => {
    for (const strange of [
      "CREATE TRIGGER quiet BEFORE INSERT ON entries WHEN NEW.kind = 'decision' BEGIN SELECT RAISE(IGNORE); END",
      'ALTER TABLE entries RENAME TO e; CREATE VIEW entries AS SELECT * FROM e',
    ]) {
      const path = await makeLog(join(t.testdir(), strange.slice(7, 12)))
      const db = new Database(path)
      db.exec(strange)
      db.close()
      const { exitCode, problems } = verifyLog(path, { strict: false })
      t.match(
        { exitCode, problems },
        { exitCode: 1, problems: [{ what: /which Governor never mak/ }] },
      )
      await t.rejects(
        openWal(path),
        /it has a (trigger "quiet"|view "entries"), which Governor never/,
      )
    }
  },
)

t.test('a view of a stranger beside the tables harms nothing', async (t) => {
  const path = await makeLog(t.testdir())
  const db = new Database(path)
  db.exec('CREATE VIEW denials AS SELECT * FROM entries')
  db.close()
  await (await openWal(path, { signs: true })).close()
  t.equal(verifyLog(path, { strict: false }).exitCode, 0)
})

t.test('verifyLog() names file, writer and entry', async (t) => {
  const path = await makeLog(t.testdir())
  const db = new Database(path)
  db.exec(
    "UPDATE entries SET body = CAST(replace(body, 'deny', 'xxxx') AS BLOB) WHERE request_id = 'r2'",
  )
  const writer = db.prepare('SELECT hex(writer_id) FROM chains WHERE id = 1').pluck().get()
  db.close()
  t.strictSame(verifyLog(path, { strict: false }).problems, [
    {
      file: path,
      writer: String(writer).toLowerCase(),
      seq: 4,
      what: 'Its hash does not match: it, its time or the entry before it was altered',
    },
  ])
})

t.test('verifyLog() says that an end cut off is not attested', async (t) => {
  const path = await makeLog(t.testdir())
  const db = new Database(path)
  db.exec("DELETE FROM entries WHERE kind IN ('writer.close', 'checkpoint')")
  db.close()
  const result = verifyLog(path, { strict: false })
  t.strictSame([result.exitCode, result.notes.length], [0, 2])
  t.equal(verifyLog(path, { strict: true }).exitCode, 2)
})

t.test('verifyLog() reports open calls and an end nobody attests', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  await wal.record(decision('r1'))
  await wal.record(refusal('r2'))
  const live = verifyLog(path, { strict: false })
  t.strictSame([live.exitCode, live.openCalls], [0, 1])
  t.match(live.notes, [{ seq: 3, what: 'end not attested' }])
  t.equal(verifyLog(path, { strict: true }).exitCode, 2)
  await wal.close()
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('verifyLog() finds what was cut off a chain that a later sidecar recovered', async (t) => {
  const dir = t.testdir()
  const path = join(dir, 'audit.db')
  const wal = await openWal(path)
  await wal.record(decision('r1'))
  await wal.record(refusal('r2'))
  // The files of a sidecar that stopped here, as a crash would leave them.
  const copy = join(dir, 'copy.db')
  copyFileSync(path, copy)
  copyFileSync(`${path}-wal`, `${copy}-wal`)
  await wal.close()
  const next = await openWal(copy)
  t.equal(next.stats.recovered, 1)
  await next.close()
  t.equal(verifyLog(copy, { strict: true }).exitCode, 0)
  const db = new Database(copy)
  db.exec("DELETE FROM entries WHERE request_id = 'r2'")
  db.close()
  t.equal(verifyLog(copy, { strict: false }).exitCode, 1)
})

/**
 * A log of one writer with `count` entries after entry 2, and a forged later file of the same writer
 * that claims to go on after entry 2, with its hashes right.
 */
async function forgeLaterFile(dir: string, count: number): Promise<string> {
  const path = join(dir, 'audit.db')
  const wal = await openWal(path)
  await Promise.all(Array.from({ length: count }, (_, i) => wal.record(refusal(`r${i}`))))
  await wal.close()
  const db = new Database(path)
  const writerId = db.prepare<[], Buffer>('SELECT writer_id FROM chains').pluck().get()!
  const hashOf = db.prepare<[], Buffer>('SELECT hash FROM entries WHERE seq = 2').pluck()
  db.exec("DELETE FROM entries WHERE kind = 'writer.close'; UPDATE chains SET state = 'open'")
  const continues = headOf(writerId, 1, { seq: 2, hash: hashOf.get()! })
  db.close()
  new Writer({
    path: join(dir, 'audit.e2.db'),
    epoch: 2,
    writerId,
    role: 'run',
    version: 'test',
    busyMs: 100,
    pageBytesMax: 0,
    recover: false,
    continues,
    openCalls: [],
  }).close()
  return path
}

t.test(
  'verifyLog() tells how many entries a later file says were never acknowledged',
  async (t) => {
    const path = await forgeLaterFile(t.testdir(), 40)
    const result = verifyLog(path, { strict: true })
    t.strictSame([result.exitCode, result.unacknowledged], [0, 39])
    t.match(result.notes, [{ file: path, seq: 2, what: /^39 entries follow entry 2, where/ }])

    const db = new Database(path)
    db.exec("UPDATE entries SET body = CAST(replace(body, '403', '200') AS BLOB) WHERE seq = 20")
    db.close()
    t.match(verifyLog(path, { strict: false }), {
      exitCode: 1,
      problems: [{ file: path, seq: 20, what: /^Its hash does not match/ }],
    })
  },
)

t.test('verifyLog() finds a later file that hides more than one commit', async (t) => {
  const path = await forgeLaterFile(t.testdir(), 1030)
  t.match(verifyLog(path, { strict: false }), {
    exitCode: 1,
    unacknowledged: 1029,
    problems: [
      { file: path, seq: 2, what: /1029 entries follow .* more than the 1024 of one commit$/ },
    ],
  })
})

t.test('verifyLog() cannot tell without a file, entries or an audit log', async (t) => {
  const dir = t.testdir({ 'text.db': 'no database at all, but long enough to be read as one.' })
  new Database(join(dir, 'other.db')).exec('CREATE TABLE t (x)').close()
  for (const name of ['absent.db', 'text.db', 'other.db']) {
    const result = verifyLog(join(dir, name), { strict: false })
    t.strictSame([result.exitCode, result.problems], [2, []], name)
    t.equal(result.notes.length > 0, true)
  }
  const path = await makeLog(dir)
  const db = new Database(path)
  db.exec('DELETE FROM entries; DELETE FROM chains')
  db.close()
  t.equal(verifyLog(path, { strict: false }).exitCode, 2)
  rmSync(path)
  t.equal(verifyLog(path, { strict: false }).exitCode, 2)
})
