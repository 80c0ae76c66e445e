import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { migrate } from '../../src/audit/migrate.ts'
import { decision, openWal, outcome } from '../audit/support/log.ts'
import { send } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { freshDatabase, runSql, startPostgres } from '../support/postgres.ts'
import {
  ChildGovernor,
  configText,
  InProcess,
  type Sections,
  Site,
  startChild,
} from '../support/start-governor.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until as untilWithin } from '../support/until.ts'

// Each starts servers and sidecars; on a busy machine that takes longer than 30 s together.
const CHAT = { model: 'gpt-4o', messages: [{ role: 'user', content: 'hello' }] }
const SHIP = 'path: audit.db, ship: { postgres_file: database-url }'

interface Test {
  testdir(): string
  teardown(after: () => unknown): void
}

/** With time for servers that start on a busy machine. */
function until<Value>(
  what: string,
  condition: () => Value | Promise<Value>,
): Promise<NonNullable<Value>> {
  return untilWithin(what, condition, 60_000)
}

function prepare(t: Test, url: string, sections: Sections = {}): InProcess {
  const directory = t.testdir()
  writeFileSync(join(directory, 'database-url'), url)
  return new InProcess(directory, configText({ audit: `{ ${SHIP} }`, ...sections }))
}

async function requestIds(url: string): Promise<string[]> {
  const rows = await runSql<{ request_id: string }>(
    url,
    `SELECT request_id FROM governor.entries WHERE request_id <> '' ORDER BY 1`,
  )
  return rows.map(({ request_id }) => request_id)
}

async function counted(url: string): Promise<number> {
  const [row] = await runSql<{ count: number }>(
    url,
    'SELECT count(*)::integer AS count FROM governor.entries',
  )
  return row?.count ?? 0
}

t.test('with PostgreSQL away calls pass, and it gets every entry once it is there', async (t) => {
  const server = await startPostgres(t)
  await server.stop()
  const site = prepare(t, server.url)
  const key = await site.createKey()
  const child = await startChild(t, site)
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => send(child.url, { key, body: CHAT })),
  )
  t.ok(answers.every(({ status }) => status === 200))
  const metrics = () => send(child.adminUrl, { method: 'GET', path: '/metrics' })
  await until('what waits to be counted', async () => {
    const { text } = await metrics()
    return Number(/^governor_audit_unshipped_entries (\d+)$/m.exec(text)?.[1]) >= 40
  })
  const { text } = await metrics()
  t.match(text, /^governor_audit_unshipped_age_seconds \d+\.\d+$/m)
  t.match(text, /^governor_audit_forks 0$/m)
  t.equal((await send(child.adminUrl, { method: 'GET', path: '/readyz' })).status, 200)
  t.match(child.stderr, /Entries cannot be shipped; they wait on the disk/)

  await server.start()
  const early = await site.cli('audit', 'ship')
  t.equal(early.code, 2)
  t.match(early.stderr, /no tables for the audit: run governor migrate/)
  const made = await site.cli('migrate')
  t.strictSame([made.code, made.stderr], [0, ''])
  t.match(
    made.stdout,
    /^postgres:\/\/127\.0\.0\.1:\d+\/postgres went from schema 0 to 3, 14 new monthly/,
  )

  t.equal(await child.kill('SIGTERM'), 0)
  // It may have been told to stop between two attempts, each of which waits longer.
  const rest = await site.cli('audit', 'ship')
  t.equal(rest.code, 0, rest.stdout)
  const entries = site.entries()
  t.equal(await counted(server.url), entries.length)
  t.strictSame(
    await requestIds(server.url),
    entries.flatMap(({ requestId }) => (requestId === '' ? [] : requestId)).sort(),
  )
})

t.test('SIGTERM ships everything first, and the end of the chain with it', async (t) => {
  const url = await freshDatabase(t)
  await migrate(url, Date.now())
  const site = prepare(t, url)
  const key = await site.createKey()
  const child = await startChild(t, site)
  for (let call = 0; call < 5; call++) await send(child.url, { key, body: CHAT })
  t.equal(await child.kill('SIGTERM'), 0)
  t.equal(await counted(url), site.entries().length)
  t.notMatch(child.stderr, /Not shipped/)
  const verified = await site.cli('audit', 'verify', '--url')
  t.equal(verified.code, 0, verified.stdout)
  t.match(verified.stdout, /^The audit log holds: \d+ entries, 2 chains/m)
  const asked = await site.cli('audit', 'query', '--url', url, '--tenant', 'acme', '--json')
  t.equal(asked.code, 0, asked.stdout)
  t.equal(asked.stdout.trimEnd().split('\n').length, 5)
  const here = await site.cli('audit', 'query', '--tenant', 'acme', '--json')
  t.equal(asked.stdout, here.stdout, 'the same as the log here says')
  const nobody = await site.cli('audit', 'query', '--url', '--tenant', 'nobody')
  t.strictSame([nobody.code, nobody.stdout], [0, ''])
  const closed = await runSql(
    url,
    `SELECT count(*)::integer AS count FROM governor.entries WHERE kind = 'writer.close'`,
  )
  t.strictSame(closed, [{ count: 2 }], 'of the key that was made, and of the sidecar')
})

t.test('what could not be shipped before the end is said, and shipped by hand later', async (t) => {
  const server = await startPostgres(t)
  await migrate(server.url, Date.now())
  const site = prepare(t, server.url, { timeouts: '{ drain: 300ms }' })
  const key = await site.createKey()
  await server.stop()
  const child = await startChild(t, site)
  await send(child.url, { key, body: CHAT })
  t.equal(await child.kill('SIGTERM'), 0)
  t.match(
    child.stderr,
    /"entries":(?:\d+|null),"place":"postgres:\/\/127\.0\.0\.1:\d+\/postgres","why"/,
  )
  t.match(child.stderr, /Not shipped before the end/)
  const silent = await site.cli('audit', 'verify', '--url')
  t.equal(silent.code, 2)
  t.match(silent.stderr, /^Cannot ask postgres:\/\/127\.0\.0\.1:\d+\/postgres: /)
  const away = await site.cli('audit', 'ship')
  t.equal(away.code, 2)
  t.match(away.stderr, /^Cannot ship .*audit\.db to postgres:\/\/127/)
  await server.start()
  const shipped = await site.cli('audit', 'ship')
  t.equal(shipped.code, 0, shipped.stdout)
  t.match(shipped.stdout, /audit\.db: \d+ entries of 2 chains are at postgres:\/\//)
  t.equal(await counted(server.url), site.entries().length)
})

t.test('ack: postgres answers only once the decision is there, else 503 and no call', async (t) => {
  const server = await startPostgres(t)
  await migrate(server.url, Date.now())
  const upstream = new FakeUpstream()
  await upstream.open()
  t.teardown(() => upstream.close())
  const site = prepare(t, server.url, {
    upstream: upstream.url,
    audit: `{ ${SHIP}, ack: postgres }`,
    timeouts: '{ commit: 5s }',
  })
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  // A database that has just been made may be slow on a busy machine; a call that it made wait is refused.
  const first = await until('a call to pass', async () => {
    const answer = await site.send({ body: CHAT })
    return answer.status === 200 ? answer : null
  })
  t.ok((await requestIds(server.url)).includes(String(first.headers['x-governor-request-id'])))

  await server.stop()
  const calls = upstream.received.length
  const refused = await site.send({ body: CHAT })
  t.equal(refused.status, 503)
  t.equal(refused.headers['x-governor-code'], 'AUDIT_UNAVAILABLE')
  t.match(refused.text, /PostgreSQL/)
  t.equal(upstream.received.length, calls, 'the upstream heard nothing')
  const unready = await until('readyz to be red', async () => {
    const answer = await site.admin('/readyz')
    return answer.status === 503 ? answer : null
  })
  t.match(unready.text, /PostgreSQL does not take entries/)

  await server.start()
  await until('calls to pass again', async () => (await site.send({ body: CHAT })).status === 200)
  const decided = site.entries().filter(({ body }) => body['forward'] === true)
  const ended = site.entries().filter(({ kind }) => kind === 'outcome')
  t.equal(
    upstream.received.length,
    decided.length - ended.filter(({ body }) => body.outcome === 'not_forwarded').length,
  )
})

t.test(
  'ack: postgres and a database that is silent: 503, and an outcome not_forwarded',
  async (t) => {
    const direct = await freshDatabase(t)
    await migrate(direct, Date.now())
    const { proxy, url } = await TcpProxy.to(t, direct)
    const upstream = new FakeUpstream()
    await upstream.open()
    t.teardown(() => upstream.close())
    const site = prepare(t, url, {
      upstream: upstream.url,
      audit: `{ ${SHIP}, ack: postgres }`,
      timeouts: '{ commit: 4s }',
    })
    site.key = await site.createKey()
    await site.open()
    t.teardown(() => site.governor.stop(0))
    await until('a call to pass', async () => (await site.send({ body: CHAT })).status === 200)
    const calls = upstream.received.length
    proxy.silent = true
    const refused = await site.send({ body: CHAT })
    t.equal(refused.status, 503)
    t.match(refused.text, /PostgreSQL took longer than 4000 ms/)
    t.equal(upstream.received.length, calls)
    const requestId = String(refused.headers['x-governor-request-id'])
    const [decided, ended] = await site.entriesOf(requestId, 2)
    t.match([decided?.kind, ended?.body.outcome], ['decision', 'not_forwarded'])
  },
)

t.test('a reload ships to another database from then on, with all there is', async (t) => {
  const one = await freshDatabase(t)
  const other = await freshDatabase(t)
  await migrate(one, Date.now())
  await migrate(other, Date.now())
  const site = prepare(t, one)
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  await site.send({ body: CHAT })
  await until('the first', async () => (await counted(one)) === site.entries().length)
  const pool = ['governor_pool_connections', 'pool="postgres:audit"'] as const
  t.equal(await site.metric(...pool, 'state="open"'), 1, 'its connection is told of')
  t.equal(await site.metric(...pool, 'state="waiting"'), 0)
  writeFileSync(join(site.directory, 'database-url'), other)
  await site.governor.reload(site.load())
  await site.send({ body: CHAT })
  await until('the other', async () => (await counted(other)) === site.entries().length)
  t.pass()
})

t.test('a copied volume is an alarm in metrics and log, and calls go on', async (t) => {
  const url = await freshDatabase(t)
  await migrate(url, Date.now())
  const site = prepare(t, url)
  const key = await site.createKey()
  const child = await startChild(t, site)
  await send(child.url, { key, body: CHAT })
  const copied = join(site.directory, 'copy')
  mkdirSync(copied)
  writeFileSync(join(copied, 'database-url'), url)
  const copy = new Site(copied, configText({ audit: `{ ${SHIP} }` }))
  await until('the outcome', () => site.entries().some(({ kind }) => kind === 'outcome'))
  const db = new Database(site.auditPath, { readonly: true })
  await db.backup(copy.auditPath)
  db.close()
  await send(child.url, { key, body: CHAT })
  t.equal(await child.kill('SIGTERM'), 0)

  const copyKey = await copy.createKey()
  const clone = await startChild(t, copy)
  t.equal((await send(clone.url, { key: copyKey, body: CHAT })).status, 200)
  await until('the alarm', async () => {
    const { text } = await send(clone.adminUrl, { method: 'GET', path: '/metrics' })
    return /^governor_audit_forks 1$/m.test(text)
  })
  t.match(clone.stderr, /"what":"it has entry \d+ there, and ends at \d+ here"/)
  t.match(clone.stderr, /Fork: this chain stands elsewhere in PostgreSQL than here/)
  t.equal((await send(clone.adminUrl, { method: 'GET', path: '/readyz' })).status, 200)
  t.equal(await clone.kill('SIGTERM'), 0)
  const byHand = await copy.cli('audit', 'ship')
  t.equal(byHand.code, 1)
  t.match(byHand.stdout, /^fork {5}.*audit\.db [0-9a-f]{32}:1: it has entry/)
})

t.test('a key that is made while nothing runs is shipped with the rest', async (t) => {
  const url = await freshDatabase(t)
  await migrate(url, Date.now())
  const site = prepare(t, url)
  const child = new ChildGovernor(site.file)
  t.teardown(() => child.kill('SIGKILL'))
  await child.ready()
  await child.kill('SIGKILL')
  await site.createKey('later')
  const again = await startChild(t, site)
  await until('all of it', async () => (await counted(url)) === site.entries().length)
  t.equal(await again.kill('SIGTERM'), 0)
  t.equal(await counted(url), site.entries().length)
})

t.test('a certificate that is not there yet is said, and stops no call', async (t) => {
  const site = prepare(
    t,
    'postgres://127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem',
  )
  site.key = await site.createKey()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  t.equal((await site.send({ body: CHAT })).status, 200)
  await until('the reason', () => site.logLines.some((line) => line.includes('/nowhere/ca.pem')))
  t.equal((await site.admin('/readyz')).status, 200)
  const byHand = await site.cli('audit', 'ship')
  t.equal(byHand.code, 2)
  t.match(byHand.stdout + byHand.stderr, /ca\.pem/)
})

t.test('a sidecar at local_max heals once what it wrote has arrived', async (t) => {
  const url = await freshDatabase(t)
  const site = prepare(t, url, { audit: `{ ${SHIP}, local_max: 16MiB }` })
  site.key = await site.createKey()
  // Before its time there is no table, so nothing arrives.
  const wal = await openWal(site.auditPath, { signs: true })
  const pad = 'x'.repeat(60_000)
  const calls = Array.from({ length: 320 }, (_, index) => decision(`r${index}`, pad))
  await Promise.all(calls.map((entry) => wal.record(entry)))
  for (const { requestId } of calls) wal.queue(outcome(requestId))
  await wal.close()
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const full = await site.send({ body: CHAT })
  t.match([full.status, full.headers['x-governor-code']], [503, 'AUDIT_UNAVAILABLE'])
  t.match((await site.admin('/readyz')).json, { reasons: [/local_max/] })
  t.ok((await site.metric('governor_audit_bytes')) > 16 * 2 ** 20)
  await until('a warning', () => site.logLines.join('').includes('nears audit.local_max'))

  await migrate(url, Date.now())
  await until('a call to be answered', async () => {
    return (await site.send({ body: CHAT })).status === 200
  }).catch((error: unknown) => {
    t.comment(site.logLines.join(''))
    throw error
  })
  await until('its log line', () => site.logLines.join('').includes('Shipped entries make room'))
  t.equal((await site.admin('/readyz')).status, 200)
  await site.governor.stop(10_000)
  const rows = await runSql<{ count: number }>(
    url,
    "SELECT count(*)::integer AS count FROM governor.entries WHERE request_id LIKE 'r%'",
  )
  t.equal(rows[0]?.count, 640, 'PostgreSQL has each entry once')
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
})
