import t from 'tap'

import { migrate } from '../../src/audit/migrate.ts'
import { freshDatabase, runSql, startPostgres } from '../support/postgres.ts'

const NOW_MS = Date.UTC(2026, 10, 21)
const MONTHS = [
  '2026-10 2026-11 2026-12 2027-01 2027-02 2027-03 2027-04',
  '2027-05 2027-06 2027-07 2027-08 2027-09 2027-10 2027-11',
].flatMap((line) => line.split(' '))

function insert(url: string, seq: number, time: string): Promise<unknown> {
  return runSql(
    url,
    `INSERT INTO governor.entries
       (writer_id, epoch, seq, occurred_at, kind, request_id, awaits, hash, body)
     VALUES ('\\x00', 1, $1, $2, 'admin', '', false, '\\x00', '{}')`,
    [seq, time],
  )
}

function places(url: string): Promise<Record<string, unknown>[]> {
  return runSql(
    url,
    'SELECT tableoid::regclass::text AS place, seq FROM governor.entries ORDER BY 2',
  )
}

t.test('migrate() makes an empty database ready, and may be repeated', async (t) => {
  const url = await freshDatabase(t)
  t.strictSame(await migrate(url, NOW_MS), { from: 0, to: 3, partitions: MONTHS, notes: [] })
  t.strictSame(await migrate(url, NOW_MS), { from: 3, to: 3, partitions: [], notes: [] })
  const later = await migrate(url, Date.UTC(2027, 0, 1))
  t.strictSame(later.partitions, ['2027-12', '2028-01'])
})

t.test('migrate() run by eight at once makes everything once', async (t) => {
  const url = await freshDatabase(t)
  const all = await Promise.all(Array.from({ length: 8 }, () => migrate(url, NOW_MS)))
  t.equal(all.filter(({ from }) => from === 0).length, 1)
  t.equal(all.flatMap(({ partitions }) => partitions).length, MONTHS.length)
})

t.test('migrate() refuses a newer schema and changes nothing', async (t) => {
  const url = await freshDatabase(t)
  await migrate(url, NOW_MS)
  await runSql(url, 'INSERT INTO governor.schema_version (version) VALUES (7)')
  await t.rejects(migrate(url, Date.UTC(2030, 0, 1)), {
    message: /migrated by a newer Governor \(schema 7, this one knows 3\): use that version/,
  })
  const found = await runSql(url, `SELECT to_regclass('governor.entries_2030_01')::text AS name`)
  t.strictSame(found, [{ name: null }])
})

t.test('migrate() refuses a database that is not UTF-8', async (t) => {
  const url = new URL(await freshDatabase(t))
  const name = `latin_${process.pid}`
  await runSql(url.href, `CREATE DATABASE ${name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
  url.pathname = `/${name}`
  t.teardown(() => runSql(url.href.replace(name, 'postgres'), `DROP DATABASE IF EXISTS ${name}`))
  await t.rejects(migrate(url.href, NOW_MS), {
    message: /is in LATIN1: the audit needs one in UTF8/,
  })
})

t.test(
  'an entry of a month without a partition is taken, and moved when there is one',
  async (t) => {
    const url = await freshDatabase(t)
    await migrate(url, NOW_MS)
    await insert(url, 1, '2026-11-30T23:59:59.999999Z')
    await insert(url, 2, '2026-12-01T00:00:00Z')
    await insert(url, 3, '2031-05-05T05:05:05Z')
    await insert(url, 4, '1970-01-01T00:00:00Z')
    t.strictSame(await places(url), [
      { place: 'governor.entries_2026_11', seq: '1' },
      { place: 'governor.entries_2026_12', seq: '2' },
      { place: 'governor.entries_default', seq: '3' },
      { place: 'governor.entries_default', seq: '4' },
    ])
    await migrate(url, Date.UTC(2031, 3, 30))
    t.strictSame(
      (await places(url)).map(({ place }) => place),
      [
        'governor.entries_2026_11',
        'governor.entries_2026_12',
        'governor.entries_2031_05',
        'governor.entries_default',
      ],
    )
  },
)

t.test('the shipper can insert entries, and neither read, change nor delete them', async (t) => {
  const server = await startPostgres(t)
  await migrate(server.url, NOW_MS)
  await runSql(server.url, 'CREATE ROLE sidecar LOGIN IN ROLE governor_shipper')
  const url = server.url.replace('postgres@', 'sidecar@')
  await insert(url, 1, '2026-11-21T00:00:00Z')
  for (const text of [
    'UPDATE governor.entries SET body = body',
    'DELETE FROM governor.entries',
    'TRUNCATE governor.entries',
    'SELECT body FROM governor.entries',
    'DELETE FROM governor.writers',
    'UPDATE governor.entries_2026_11 SET kind = kind',
    'DROP TABLE governor.entries',
    'INSERT INTO governor.schema_version VALUES (9)',
  ]) {
    await t.rejects(runSql(url, text), { code: '42501' }, text)
  }
})

t.test('migrate() as a user who may not create roles says what is left to do', async (t) => {
  const server = await startPostgres(t)
  await runSql(server.url, 'CREATE ROLE app LOGIN')
  await runSql(server.url, 'CREATE DATABASE app OWNER app')
  const url = server.url.replace('postgres@', 'app@').replace('/postgres', '/app')
  const { to, notes } = await migrate(url, NOW_MS)
  t.equal(to, 3)
  t.match(notes, [
    /^The roles governor_shipper, governor_owner and governor_reader were not made or granted/,
  ])
  await insert(url, 1, '2026-11-21T00:00:00Z')
})
