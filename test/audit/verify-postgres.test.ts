import { copyFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { findCalls, pageOfCalls } from '../../src/audit/postgres-calls.ts'
import { callQuestion } from '../../src/audit/postgres-rows.ts'
import { PostgresTail } from '../../src/audit/postgres-tail.ts'
import { openPool } from '../../src/audit/postgres.ts'
import { Shipper } from '../../src/audit/shipper.ts'
import { PostgresSink } from '../../src/audit/sink-postgres.ts'
import { verifyPostgres } from '../../src/audit/verify-postgres.ts'
import { freshDatabase, runSql } from '../support/postgres.ts'
import { decision, openWal, outcome } from './support/log.ts'

const NOW_MS = Date.UTC(2026, 10, 21)
const PLAIN = { strict: false }

interface Test {
  testdir(): string
  teardown(after: () => unknown): unknown
}

async function ship(url: string, path: string): Promise<void> {
  const sink = new PostgresSink(url)
  const shipper = new Shipper({
    path,
    sink,
    onFork: () => {},
    onDead: () => {},
    onHead: () => {},
  })
  while (await shipper.step());
  shipper.close()
  await sink.close()
}

async function record(path: string, calls: number, signs = true): Promise<void> {
  const wal = await openWal(path, { signs })
  for (let call = 0; call < calls; call++) {
    const id = `${path}-${call}`.slice(-100)
    await wal.record(decision(id))
    wal.queue(outcome(id))
  }
  await wal.close()
}

/** A database with two pods' logs in it, one of them with entries that are kept as bytes. */
async function shipped(t: Test): Promise<string> {
  const url = await freshDatabase(t)
  await migrate(url, NOW_MS)
  const directory = t.testdir()
  for (const name of ['one.db', 'two.db']) {
    const path = join(directory, name)
    await record(path, 8)
    const body = JSON.stringify({ kind: 'admin', request_id: '', note: 'a\0b' })
    if (name === 'two.db') appendOnce(path, 'test', [{ kind: 'admin', body }])
    await record(path, 3)
    await ship(url, path)
  }
  return url
}

t.test('verifyPostgres() accepts what was shipped, and is not sure without keys', async (t) => {
  const url = await shipped(t)
  const result = await verifyPostgres(url, PLAIN)
  t.strictSame(result.problems, [])
  t.equal(result.exitCode, 0)
  t.equal(result.chains, 5)
  t.equal(result.openCalls, 0)
  const [row] = await runSql(
    url,
    `SELECT (SELECT count(*) FROM governor.entries) + (SELECT count(*) FROM governor.dead_letters)
       AS count`,
  )
  t.equal(result.entries, Number(row!['count']))
  t.match(result.notes, [{ what: /^Signatures of \d chains were not checked: give --keys$/ }])
  t.equal((await verifyPostgres(url, { strict: true })).exitCode, 2)
})

t.test('verifyPostgres() finds whatever is altered, with where', async (t) => {
  const url = await shipped(t)
  const changes: readonly (readonly [string, string, RegExp])[] = [
    [
      'a byte of a body',
      `UPDATE governor.entries SET body = set_byte(body, 20, get_byte(body, 20) # 1) WHERE seq = 4`,
      /Its hash does not match/,
    ],
    [
      'a time',
      `UPDATE governor.entries SET occurred_at = occurred_at + '1 microsecond' WHERE seq = 4`,
      /hash/,
    ],
    [
      'a time that never was',
      `UPDATE governor.entries SET occurred_at = 'infinity' WHERE seq = 4;
       UPDATE governor.dead_letters SET occurred_at = '-infinity'`,
      /hash/,
    ],
    ['an entry', 'DELETE FROM governor.entries WHERE seq = 5', /Missing before it: entry 5/],
    [
      'an end',
      `DELETE FROM governor.entries WHERE kind IN ('writer.close', 'checkpoint')`,
      /ends here|Missing/,
    ],
    [
      'a whole chain',
      'DELETE FROM governor.entries WHERE (writer_id, epoch) IN (SELECT writer_id, epoch FROM governor.writers LIMIT 1)',
      /All \d+ entries of this writer are missing/,
    ],
    ['a head', 'DELETE FROM governor.writers', /Nothing says where its end is/],
    [
      'a head that is older',
      'UPDATE governor.writers SET last_seq = last_seq - 1',
      /It ends here, and entry \d+ was shipped last/,
    ],
    ['a dead letter', 'DELETE FROM governor.dead_letters', /Missing before it/],
    [
      'a column',
      `UPDATE governor.entries SET kind = 'outcome' WHERE kind = 'decision'`,
      /Its kind differs from its body/,
    ],
    [
      'a request id',
      `UPDATE governor.entries SET request_id = 'x' WHERE kind = 'outcome'`,
      /Its request id differs/,
    ],
    [
      'a column that questions are asked by',
      `UPDATE governor.entries SET tenant = 'other' WHERE seq = 4`,
      /Its tenant differs from its body/,
    ],
    [
      'an entry of no writer',
      `INSERT INTO governor.entries SELECT ''::bytea, -1, seq, occurred_at, kind, request_id, awaits, hash, body FROM governor.entries WHERE seq = 3 LIMIT 1`,
      /A writer id or an epoch was altered/,
    ],
    [
      'an epoch',
      'UPDATE governor.entries SET epoch = -1 WHERE seq = 3',
      /A writer id or an epoch was altered/,
    ],
    [
      'a doubled entry',
      `INSERT INTO governor.entries SELECT writer_id, epoch, seq, occurred_at + '1 second', kind, request_id, awaits, hash, body FROM governor.entries WHERE seq = 3`,
      /repeated or misplaced/,
    ],
  ]
  for (const [what, sql, found] of changes) {
    const copy = new URL(url)
    copy.pathname = `${copy.pathname}_copy`
    const admin = new URL(url)
    admin.pathname = '/postgres'
    const names = [copy, new URL(url)].map(({ pathname }) => pathname.slice(1))
    await runSql(admin.href, `CREATE DATABASE ${names[0]} TEMPLATE ${names[1]}`)
    await runSql(copy.href, sql)
    const { exitCode, problems } = await verifyPostgres(copy.href, PLAIN)
    t.equal(exitCode, 1, what)
    t.ok(
      problems.some((problem) => found.test(problem.what)),
      `${what}: ${problems[0]?.what}`,
    )
    await runSql(admin.href, `DROP DATABASE ${names[0]} WITH (FORCE)`)
  }
})

t.test('verifyPostgres() finds a copied volume of which both went on', async (t) => {
  const url = await freshDatabase(t)
  await migrate(url, NOW_MS)
  const directory = t.testdir()
  const path = join(directory, 'audit.db')
  const wal = await openWal(path)
  t.teardown(() => wal.close())
  await wal.record(decision('before'))
  const db = new Database(path)
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
  const copy = join(directory, 'copy.db')
  copyFileSync(path, copy)
  // Shipped before the other one went on: then the copy is no fork to shipping.
  await ship(url, path)
  await record(copy, 2)
  await ship(url, copy)
  t.strictSame((await verifyPostgres(url, PLAIN)).problems, [])
  await wal.record(decision('after'))
  await wal.close()
  await ship(url, path)
  const { exitCode, problems } = await verifyPostgres(url, PLAIN)
  t.equal(exitCode, 1)
  t.ok(problems.some(({ what }) => /goes on after entry 2, where another writer/.test(what)))
})

t.test('verifyPostgres() of a database without entries is not enough evidence', async (t) => {
  const url = await freshDatabase(t)
  await t.rejects(verifyPostgres(url, PLAIN), { message: /run governor migrate/ })
  await migrate(url, NOW_MS)
  t.equal((await verifyPostgres(url, PLAIN)).exitCode, 2)
})

const ANY = {
  tenant: null,
  key: null,
  model: null,
  decision: null,
  policy: null,
  sinceUs: 0,
  limit: 1000,
}

interface Step {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly Plans?: readonly Step[]
}

function stepsOf(step: Step): Step[] {
  return [step, ...(step.Plans ?? []).flatMap(stepsOf)]
}

/** The most rows that any step of a plan touched, those it threw away included. */
function touched(step: Step): number {
  const rows = stepsOf(step).map(
    (each) => (each['Actual Rows'] + (each['Rows Removed by Filter'] ?? 0)) * each['Actual Loops'],
  )
  return Math.max(...rows)
}

t.test('a thousand calls among many are an index scan, whatever is asked for', async (t) => {
  const url = await freshDatabase(t)
  await migrate(url, NOW_MS)
  await runSql(
    url,
    `INSERT INTO governor.entries (writer_id, epoch, seq, occurred_at, kind, request_id, awaits,
       hash, body, tenant, key_id, key_name, model, decision, policy)
     SELECT '\\x00', 1, n, timestamptz '2026-11-01' + n * interval '20 seconds', 'decision', n, true,
       '\\x00', '{}', 'tenant-' || n % 40, 'key-' || n % 36, CASE WHEN n % 36 = 7 THEN 'ci' END,
       'model-' || n % 35, CASE WHEN n % 37 = 0 THEN 'deny' ELSE 'allow' END,
       CASE WHEN n % 37 = 0 THEN 'no-frontier' END
     FROM generate_series(1, 40000) AS n`,
  )
  await runSql(url, 'ANALYZE governor.entries')
  const pool = openPool(url)
  t.teardown(() => pool.end())
  const filter = { ...ANY, tenant: 'tenant-7' }
  const found = await findCalls(pool, filter)
  t.equal(found.length, 1000)
  t.equal(found.at(-1)?.seq, 39_967)
  const sinceUs = Date.UTC(2026, 10, 3) * 1000
  const asked = [
    filter,
    { ...ANY, key: 'key-7' },
    { ...ANY, key: 'ci' },
    { ...ANY, model: 'model-7' },
    { ...ANY, decision: 'deny' },
    { ...ANY, decision: 'allow' },
    { ...ANY, policy: 'no-frontier' },
    ANY,
  ].flatMap((each) => [each, { ...each, sinceUs }])
  for (const each of asked) {
    const { sql, values } = callQuestion(each)
    const { rows } = await pool.query<Record<string, [{ Plan: Step }]>>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`,
      values,
    )
    const plan = rows[0]!['QUERY PLAN']![0].Plan
    const scans = stepsOf(plan)
      .filter((step) => step['Relation Name'] === 'entries_2026_11')
      .map((step) => step['Node Type'])
    const what = JSON.stringify(each)
    t.ok(scans.length > 0 && scans.every((scan) => /^(Index|Bitmap Heap) Scan$/.test(scan)), what)
    t.ok(touched(plan) <= 1200, `${what} touched ${touched(plan)} rows`)
  }
  t.equal((await findCalls(pool, { ...ANY, key: 'key-8', tenant: 'tenant-8', limit: 5 })).length, 5)
  const byName = await findCalls(pool, { ...ANY, key: 'ci', limit: 3 })
  const byId = await findCalls(pool, { ...ANY, key: 'key-7', limit: 3 })
  t.strictSame(byName, byId, 'by its name as by its id')
  t.strictSame(await findCalls(pool, { ...ANY, decision: 'none' }), [])
  const lateUs = (Date.UTC(2026, 10, 1) + 39_900 * 20_000) * 1000
  t.equal((await findCalls(pool, { ...filter, sinceUs: lateUs })).length, 2)
  await t.test('and calls that PostgreSQL keeps as bytes only are among them', async (t) => {
    // Of the same moments as others, all of one moment, and one that is no call.
    await runSql(
      url,
      `INSERT INTO governor.dead_letters (writer_id, epoch, seq, occurred_at, kind, request_id,
         awaits, hash, body, reason)
       SELECT '\\x01', 1, n, timestamptz '2026-11-01' + n / 3 * 3 * interval '20 seconds',
         convert_to(CASE WHEN n % 7 = 0 THEN 'outcome' ELSE 'decision' END, 'UTF8'), '\\x00', false,
         '\\x00', convert_to('{"tenant":"tenant-' || n % 3 || '","key_name":"ci","gen_ai.request.model":"\\u0000"}', 'UTF8'),
         'its body holds NUL'
       FROM generate_series(39401, 40001) AS n`,
    )
    const mixed = { ...ANY, tenant: 'tenant-1', limit: 7 }
    const all = await findCalls(pool, { ...mixed, limit: 100_000 })
    const dead = all.filter(({ writer }) => writer === '01')
    t.strictSame([dead.length, all.length], [171, 1171])
    const paged = []
    let before: Awaited<ReturnType<typeof pageOfCalls>>['next'] = null
    do {
      const page = await pageOfCalls(pool, { ...mixed, limit: 50, before })
      paged.unshift(...page.entries)
      before = page.next
    } while (before !== null)
    t.strictSame(paged, all)
    const [first] = await findCalls(pool, { ...ANY, key: 'ci', model: '\0', limit: 1 })
    t.match(first, { writer: '01', seq: 40_001, kind: 'decision' })
    const last = await new PostgresTail(pool).last(3)
    t.strictSame(
      last.map(({ writer, seq }) => `${writer} ${seq}`),
      ['01 40000', '01 40001', '00 40000'],
    )
  })
  await t.test('and a row that somebody gave no time to ends no question', async (t) => {
    const pages = { ...ANY, tenant: 'tenant-7', limit: 50 }
    const before = await findCalls(pool, pages)
    await runSql(
      url,
      `UPDATE governor.entries SET occurred_at = 'infinity' WHERE seq = 7;
       UPDATE governor.entries SET occurred_at = '-infinity' WHERE seq = 8;
       INSERT INTO governor.writers VALUES ('\\x00112233445566778899aabbccddeeff', 1, 1,
         decode(repeat('00', 32), 'hex'), 'infinity')`,
    )
    t.strictSame(await findCalls(pool, pages), before)
    const last = await new PostgresTail(pool).last(1)
    t.strictSame(
      last.map(({ seq }) => seq),
      [7],
      'where it is seen',
    )
  })
})
