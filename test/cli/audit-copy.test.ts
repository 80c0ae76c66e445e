import { randomBytes } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { EXPORT_FORMATS } from '../../src/audit/export.ts'
import { signRoot } from '../../src/audit/fleet-root.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { parseNote } from '../../src/audit/note.ts'
import { commitPersonal, withCommitments } from '../../src/audit/personal.ts'
import { openPool } from '../../src/audit/postgres.ts'
import { planPrune, removeMonths } from '../../src/audit/prune-postgres.ts'
import { retentionBody } from '../../src/audit/retention.ts'
import { Signer } from '../../src/audit/signing-key.ts'
import { verifyPostgres } from '../../src/audit/verify-postgres.ts'
import { own, Writer } from '../../src/audit/writer.ts'
import { auditExportPostgres } from '../../src/cli/audit-postgres.ts'
import { auditPrunePostgres } from '../../src/cli/audit-prune-postgres.ts'
import { auditPublish } from '../../src/cli/audit-publish.ts'
import { monotonicMs, wallMs } from '../../src/clock.ts'
import { loadConfig } from '../../src/load-config.ts'
import { openWal, refusal } from '../audit/support/log.ts'
import { emptyDatabase, record, ship, twoPods } from '../audit/support/shipped.ts'
import { governor } from '../support/cli.ts'
import { freshDatabase, runSql } from '../support/postgres.ts'
import { configText } from '../support/start-governor.ts'

// Each test runs a dozen commands in processes of their own.
/** A configuration with more about the audit. */
function configure(directory: string, audit = ''): string {
  const file = join(directory, 'governance.yaml')
  writeFileSync(file, configText({ audit: `{ path: one/audit.db${audit} }` }))
  return file
}

t.test(
  'a fleet is exported, restored into an empty PostgreSQL and exported the same',
  async (t) => {
    const directory = t.testdir()
    const config = configure(directory)
    const [from, to] = [await emptyDatabase(t), await emptyDatabase(t)]
    const [one] = await twoPods(directory, from)
    const audit = (...words: string[]) => governor(['audit', ...words, '--config', config])
    const bundle = join(directory, 'bundle.jsonl')

    const exported = await audit('export', '--all', '--url', from)
    t.equal(exported.code, 0, exported.err)
    writeFileSync(bundle, exported.out)
    const offline = await audit('verify', '--bundle', bundle)
    t.match(offline, { code: 0, out: /The audit log holds: \d+ entries, 5 chains/ })

    const imported = await audit('import', bundle, '--url', to)
    t.equal(imported.code, 0, imported.out)
    t.match(imported.out, /^Restored \d+ entries of 5 chains in [\d.]+ s to postgres:\/\//)
    t.match(imported.out, /The audit log holds: .*\nVerified in [\d.]+ s\.\n$/)
    const again = await audit('export', '--all', '--url', to)
    t.ok(again.out === exported.out, 'byte by byte')
    const [dead] = await runSql<{ n: number }>(
      to,
      'SELECT count(*)::int AS n FROM governor.dead_letters',
    )
    t.equal(dead?.n, 1, 'what was kept as bytes is again')

    const refused = await audit('import', bundle, '--url', to)
    t.match(refused, {
      code: 2,
      err: /^Not restored: The database has entries: restore into an empty one/,
    })

    writeFileSync(bundle, exported.out.split('\n').slice(0, -20).join('\n') + '\n')
    t.match(await audit('verify', '--bundle', bundle), { code: 2, err: /it is cut short/ })
    const changed = exported.out.replace('"awaits":1', '"awaits":0')
    writeFileSync(bundle, changed)
    t.match(await audit('verify', '--bundle', bundle), { code: 1, out: /differs from its body/ })

    const log = join(directory, 'log.jsonl')
    const whole = await audit('export', '--all')
    writeFileSync(log, whole.out)
    const third = await emptyDatabase(t)
    const keys = `${one}.keys.json`
    const restored = await audit('import', log, '--url', third, '--keys', keys)
    t.match(restored, { code: 0, out: /Restored (\d+) entries of 2 chains/ }, 'the log of one pod')
    const both = await emptyDatabase(t)
    await ship(both, one)
    const [left, right] = [
      await audit('export', '--all', '--url', third),
      await audit('export', '--all', '--url', both),
    ]
    t.ok(left.out === right.out, 'as shipping it would have')
  },
)

t.test('entries of all pods are exported from PostgreSQL, the oldest first', async (t) => {
  const directory = t.testdir()
  const config = configure(directory)
  const url = await emptyDatabase(t)
  await twoPods(directory, url)
  const [all] = await runSql<{ n: number }>(
    url,
    `SELECT (SELECT count(*) FROM governor.entries)::int +
      (SELECT count(*) FROM governor.dead_letters)::int AS n`,
  )
  for (const format of EXPORT_FORMATS) {
    let out = ''
    const write = (text: string) => void (out += text)
    const asked = { format, sinceUs: 0, version: '1', write, writeError: write }
    t.equal(await auditExportPostgres(url, asked), 0)
    t.equal(out.split('\n').length - 1, (all?.n ?? 0) + (format === 'csv' ? 1 : 0), format)
    out = ''
    await auditExportPostgres(url, { ...asked, sinceUs: 2 ** 51 })
    t.equal(out.split('\n').length - 1, format === 'csv' ? 1 : 0, 'nothing is that new')
  }
  const no = await governor(['audit', 'export', '--url', `${url}x`, '--config', config])
  t.match(no, { code: 2, out: '', err: /Cannot ask postgres:/ })
})

t.test('a published root tells which writer was cut short or taken away', async (t) => {
  const directory = t.testdir()
  const config = configure(directory, ', root: { file: published/root }')
  const url = await emptyDatabase(t)
  const [one] = await twoPods(directory, url)
  const audit = (...words: string[]) => governor(['audit', ...words, '--config', config])
  const root = join(directory, 'published', 'root')

  t.match(await audit('publish', '--url', url), { code: 0, out: /entries of 5 chains to / })
  const first = readFileSync(root, 'utf8')
  t.match(
    first,
    /^governor\/fleet\n5\n.{44}\n\n— governor-audit .{92}\n\n(governor\/audit\/\S+ \d+ .{44}\n){5}$/,
  )
  const keys = `${one}.keys.json`
  t.match(await audit('verify', '--url', url, '--root', root), { code: 0 })

  await record(one, 4)
  await ship(url, one)
  t.match(await audit('publish', '--url', url), { code: 0, out: /entries of 6 chains/ })
  t.not(readFileSync(root, 'utf8'), first)
  t.match(await audit('verify', '--root', root), { code: 0 }, 'the log of one pod')

  const gone = /governor\/audit\/(\w+)\//.exec(first)?.[1] ?? ''
  for (const table of ['entries', 'dead_letters']) {
    await runSql(url, `DELETE FROM governor.${table} WHERE writer_id = '\\x${gone}'`)
  }
  await runSql(url, `DELETE FROM governor.writers WHERE writer_id = '\\x${gone}'`)
  const missing = await audit('verify', '--url', url, '--root', root)
  t.match(missing, {
    code: 1,
    out: new RegExp(
      `writer ${gone}: All its entries are missing, of which the published root covers \\d+`,
    ),
  })
  const kept = readFileSync(root, 'utf8')
  const refused = await audit('publish', '--url', url)
  t.match(refused, {
    code: 1,
    out: /^problem  governor\/audit\/\w+\/1: \d+ entries were published, and it is gone\nNothing was published/,
  })
  t.equal(readFileSync(root, 'utf8'), kept, 'the former root stays')

  const stranger = join(directory, 'two', 'audit.db.keys.json')
  const unsigned = await audit('verify', '--url', url, '--root', root, '--keys', stranger)
  t.match(
    unsigned.out,
    /It cannot be read: Cannot use the published root .*: it is signed by no known key/,
  )
  writeFileSync(root, kept.replace(/ (\d+) (\S{44})\n$/, ' 1 $2\n'))
  t.match(
    (await audit('verify', '--url', url, '--root', root, '--keys', keys)).out,
    /its writers are not those its root is over/,
  )
})

t.test('a checkpoint that is no text names its writer, and stops nothing else', async (t) => {
  const directory = t.testdir()
  const config = configure(directory, ', root: { file: root }')
  const url = await emptyDatabase(t)
  await twoPods(directory, url)
  const [head] = await runSql<{ writer: string }>(
    url,
    "SELECT encode(writer_id, 'hex') AS writer FROM governor.writers ORDER BY writer_id LIMIT 1",
  )
  const writer = head?.writer ?? ''
  const publish = () => governor(['audit', 'publish', '--url', url, '--config', config])
  const hostile = [
    "'{'",
    "'\\xff'",
    `'{"note":"\\\\u0000"}'`,
    `convert_to(repeat(' ', 100000), 'UTF8')`,
  ]
  for (const body of hostile) {
    await runSql(
      url,
      `UPDATE governor.entries SET body = ${body}::bytea
       WHERE writer_id = '\\x${writer}' AND kind = 'checkpoint'`,
    )
    const said = await publish()
    t.equal(said.code, 1, body)
    t.match(said.out, `problem  governor/audit/${writer}/1: its last checkpoint is not one of it`)
  }
})

t.test('a chain that was cut short after it was published is a problem', async (t) => {
  const directory = t.testdir()
  const config = configure(directory, ', root: { file: root }')
  const url = await emptyDatabase(t)
  const [one] = await twoPods(directory, url)
  const audit = (...words: string[]) => governor(['audit', ...words, '--config', config])
  await audit('publish', '--url', url)
  const [head] = await runSql<{ writer: string; seq: number }>(
    url,
    `SELECT encode(writer_id, 'hex') AS writer, last_seq::int AS seq FROM governor.writers
     ORDER BY last_seq DESC LIMIT 1`,
  )
  const where = `writer_id = '\\x${head?.writer}'`
  await runSql(url, `DELETE FROM governor.entries WHERE ${where} AND seq > 5`)
  await runSql(
    url,
    `UPDATE governor.writers SET last_seq = 5,
      last_hash = (SELECT hash FROM governor.entries WHERE ${where} AND seq = 5) WHERE ${where}`,
  )
  t.match(await audit('verify', '--url', url, '--root', join(directory, 'root')), {
    code: 1,
    out: /Entries are missing: a published checkpoint covers \d+/,
  })
  t.match(await audit('publish', '--url', url), { code: 1 })
  t.ok(one)
})

t.test('prune removes only what the published root covers, and nothing without one', async (t) => {
  const directory = t.testdir()
  const config = configure(directory, ', root: { file: root }')
  const url = await emptyDatabase(t)
  const [one] = await twoPods(directory, url)
  await record(one, 5)
  const audit = (...words: string[]) => governor(['audit', ...words, '--config', config])
  const prune = () => audit('prune', '--older-than', '0s')
  t.match(await prune(), {
    code: 2,
    err: /no root is published \(audit\.root\)\. Run governor audit publish/,
  })
  t.match(await audit('publish', '--url', url, '--key', join(directory, 'other.key')), { code: 0 })
  t.match(await prune(), { code: 2, err: /signed by no key of .*audit\.db\.keys\.json/ })
  t.match(await audit('publish', '--url', url), { code: 0 })
  const pruned = await prune()
  t.match(
    pruned,
    { code: 0, out: /^Removed \d+ entries of 2 chains/ },
    'not the third, which is not published',
  )
  t.match(await audit('verify', '--strict', '--root', join(directory, 'root')), { code: 0 })
  const log = join(directory, 'log.jsonl')
  writeFileSync(log, (await audit('export', '--all')).out)
  const empty = await emptyDatabase(t)
  const restored = await audit('import', log, '--url', empty, '--keys', `${one}.keys.json`)
  t.match(restored, { code: 0 }, `a pruned log is restored: ${restored.out}`)
})

t.test('a root is PUT and read back over HTTP, and a place that says no is an error', async (t) => {
  const directory = t.testdir()
  const kept = new Map<string, string>()
  let status = 201
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url ?? ''
      if (request.method === 'PUT') {
        if (status < 300) kept.set(path, Buffer.concat(chunks).toString())
        response.writeHead(status).end()
      } else if (kept.has(path)) response.end(kept.get(path))
      else response.writeHead(404).end('nothing here')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const place = `http://127.0.0.1:${(server.address() as AddressInfo).port}/roots/`
  const config = configure(directory, `, root: { url: '${place}' }`)
  const url = await emptyDatabase(t)
  const [one] = await twoPods(directory, url)
  const audit = (...words: string[]) => governor(['audit', ...words, '--config', config])
  t.match(await audit('publish', '--url', url), { code: 0 })
  t.strictSame([...kept.keys()], ['/roots/governor/fleet'])
  status = 503
  await record(one, 1)
  await ship(url, one)
  t.match(await audit('publish', '--url', url), {
    code: 2,
    err: /Cannot publish to .*: it answered 503/,
  })
  t.match(await audit('prune', '--older-than', '0s'), {
    code: 0,
    out: /^Removed \d+ entries of 2 chains/,
  })
  const whole = await audit('verify', '--url', url, '--root')
  t.match(whole, { code: 0, out: /^The audit log holds/m }, whole.err)
  const wrong = await audit('verify', '--root', '--bundle', 'x')
  t.match(wrong, { code: 2, err: /^Name the file of the root/ })
  kept.set('/roots/governor/fleet', 'not a root')
  t.match(await audit('verify', '--url', url, '--root'), {
    code: 2,
    err: /^Cannot verify: Cannot use the published root .*: it is no root of all writers/,
  })
  t.match(await audit('prune', '--older-than', '0s'), {
    code: 2,
    err: /it is no root of all writers/,
  })
})

t.test('publish says what it lacks', async (t) => {
  const directory = t.testdir()
  const config = configure(directory)
  const empty = await emptyDatabase(t)
  const audit = (...words: string[]) => governor(['audit', ...words, '--config', config])
  t.match(await audit('publish'), { code: 2, err: /There is no database to ask/ })
  t.match(await audit('publish', '--url', empty), {
    code: 2,
    err: /set audit\.root, or give --file/,
  })
  const file = join(directory, 'root')
  t.match(await audit('publish', '--url', empty, '--file', file), {
    code: 2,
    err: /no checkpoint is in PostgreSQL yet/,
  })
  const noKey = await audit('publish', '--url', empty, '--file', file, '--key', 'x.pem')
  t.match(noKey, { code: 2, err: /a file named <name>\.key/ })
  t.match(await audit('import', join(directory, 'none'), '--url', empty), {
    code: 2,
    err: /ENOENT/,
  })
  copyFileSync(config, file)
  t.match(await audit('import', file, '--url', empty), {
    code: 2,
    err: /Not restored: Cannot read the bundle/,
  })
})

t.test('erase --url says where values lie, and whether they are recorded as erased', async (t) => {
  const directory = t.testdir({ one: {} })
  const config = configure(directory)
  const path = join(directory, 'one/audit.db')
  const url = await emptyDatabase(t)
  const wal = await openWal(path, { signs: true })
  for (const user of ['ann', 'ann', 'bob', '']) {
    const id = `call-${user}-${Math.random()}`
    const who = { tenant: 'a/c', key_id: 'key1', ...(user !== '' && { user }) }
    const body = JSON.stringify({ kind: 'decision', request_id: id, decision: 'deny', ...who })
    const subject = `a%2Fc/${user === '' ? 'key1' : user}`
    const committed = commitPersonal({ subject, values: { 'client.address': '192.0.2.7' } })
    await wal.record({
      ...refusal(id),
      body: withCommitments(body, committed),
      side: committed.side,
    })
  }
  await wal.close()
  await ship(url, path)
  const erase = (...words: string[]) => governor(['audit', 'erase', ...words, '--config', config])
  const [writer] = await runSql<{ id: string }>(
    url,
    "SELECT encode(writer_id, 'hex') AS id FROM governor.writers",
  )
  const place = `writer ${writer!.id} epoch 1`
  const before = await erase('--subject', 'a%2Fc/ann', '--url', url)
  t.equal(before.code, 1, before.out)
  t.match(before.out, /^Nothing was erased: PostgreSQL holds no personal values/)
  t.ok(before.out.includes(`\n${place}: 2 entries, 0 recorded as erased\nNot all of them`))
  t.match(await erase('--subject', 'a%2Fc/ann'), { code: 0 })
  await ship(url, path)
  const after = await erase('--subject', 'a%2Fc/ann', '--url', url)
  t.equal(after.code, 0, after.out)
  t.ok(after.out.includes(`${place}: 2 entries, 2 recorded as erased\nAll of them`))
  const byKey = await erase('--subject', 'a%2Fc/key1', '--url', url)
  t.match(byKey, { code: 1, out: /: 1 entries, 0 recorded as erased/ }, 'who has no user')
  const none = await erase('--request', 'unknown', '--url', url)
  t.match(none, { code: 1, out: /^Nothing to erase: no entry in PostgreSQL commits/ })
  t.match(await erase('--url', url), { code: 2, err: /name --subject/ })
  t.match(await erase('--request', 'x', '--url'), { code: 2, err: /^There is no database/ })
})

const DAY_MS = 86_400_000

/** The middle of the month so many before this one. */
function monthsAgo(months: number): number {
  const now = new Date(wallMs())
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 15)
}

function monthName(ms: number): string {
  return new Date(ms).toISOString().slice(0, 7)
}

/** A sidecar's log of three months, with a checkpoint after each, and a few entries behind the last. */
function logOfMonths(path: string): void {
  const writer = new Writer({
    path,
    epoch: 1,
    writerId: randomBytes(16),
    role: 'run',
    version: 'test',
    busyMs: 1000,
    pageBytesMax: 0,
    recover: false,
    continues: null,
    openCalls: [],
    signer: Signer.open(path, wallMs()),
  })
  const append = (entries: number, atMs: number) => {
    writer.begin()
    for (let entry = 0; entry < entries; entry++) {
      const { kind, requestId, body } = refusal(`${path}-${atMs}-${entry}`.slice(-100))
      writer.append(own(kind, requestId, atMs * 1000, body))
    }
    writer.commit()
  }
  append(30, monthsAgo(3))
  writer.prepareCheckpoint(monotonicMs() + DAY_MS)
  append(20, monthsAgo(3))
  append(40, monthsAgo(2))
  writer.prepareCheckpoint(monotonicMs() + 2 * DAY_MS)
  append(5, monthsAgo(2))
  append(5, wallMs())
  writer.prepareCheckpoint(monotonicMs() + 3 * DAY_MS)
  append(1, wallMs())
  writer.abandon()
}

interface Outputs {
  readonly write: (text: string) => void
  readonly writeError: (text: string) => void
}

/** What a command in this process did. */
async function said(act: (outputs: Outputs) => Promise<number>) {
  const texts = { out: '', err: '' }
  const code = await act({
    write: (text) => (texts.out += text),
    writeError: (text) => (texts.err += text),
  })
  return { code, ...texts }
}

/** A root that covers every entry. */
const everything = () => Number.MAX_SAFE_INTEGER - 1

t.test('prune --url drops the months that the root covers, and verify explains it', async (t) => {
  const directory = t.testdir({ one: {}, two: {}, ops: {} })
  const url = await freshDatabase(t)
  await migrate(url, monthsAgo(2))
  const root = join(directory, 'root')
  const config = join(directory, 'governance.yaml')
  const audit = `{ path: ops/audit.db, retention: 40d, root: { file: root } }`
  writeFileSync(config, configText({ audit }))
  const paths = ['one', 'two'].map((name) => join(directory, name, 'audit.db'))
  for (const path of paths) {
    logOfMonths(path)
    await ship(url, path)
  }
  const loaded = loadConfig(config, { forRun: false })
  if (!loaded.ok) throw new Error('Expected a good configuration')
  const { snapshot } = loaded
  const keyFile = join(directory, 'ops/audit.db.key')
  const prune = () =>
    said((outputs) =>
      auditPrunePostgres({ snapshot, version: 'test', olderThanMs: null, url, ...outputs }),
    )
  const publish = () =>
    said((outputs) => auditPublish({ url, place: snapshot.audit.root, keyFile, ...outputs }))
  const count = async () => {
    const sql = 'SELECT count(*)::int AS n FROM governor.entries'
    return (await runSql<{ n: number }>(url, sql))[0]!.n
  }
  const before = await count()
  t.match(await prune(), {
    code: 2,
    err: /no root is published \(audit\.root\)/,
  })
  const signer = Signer.open(join(directory, 'ops/audit.db'), wallMs())
  const [early] = await runSql<{ body: Buffer }>(
    url,
    "SELECT body FROM governor.entries WHERE kind = 'checkpoint' ORDER BY writer_id, seq LIMIT 1",
  )
  const { note } = JSON.parse(early!.body.toString()) as { note: string }
  writeFileSync(root, signRoot([parseNote(note)!], signer))
  const outdated = await prune()
  const [oldest, next] = [monthsAgo(3), monthsAgo(2)].map(monthName)
  t.equal(outdated.code, 0, outdated.out)
  t.ok(outdated.out.startsWith(`${oldest} stays, and what came after it: the published root does`))
  t.match(
    outdated.out,
    /\nNothing to remove: no month that the published root covers is old enough\n/,
  )

  t.match(await publish(), { code: 0 })
  // What lies at a URL is evidence as what lies in a file is: here of a writer that was taken away.
  const gone = { origin: `governor/audit/${'f'.repeat(32)}/1`, size: 5, root: Buffer.alloc(32) }
  const server = createServer((_request, response) => {
    response.end(signRoot([parseNote(note)!, gone], signer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const place = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const remote = { ...snapshot.audit.root, file: null, url: place }
  const elsewhere = { ...snapshot, audit: { ...snapshot.audit, root: remote } }
  const options = { snapshot: elsewhere, version: 'test', olderThanMs: null, url }
  t.match(await said((outputs) => auditPrunePostgres({ ...options, ...outputs })), {
    code: 1,
    out: '',
    err: /^Nothing was removed: it does not verify/,
  })
  // The oldest has no partition any more: what is left of it lies in that of all other times.
  await runSql(
    url,
    `ALTER TABLE governor.entries DETACH PARTITION governor.entries_${oldest!.replace('-', '_')};
     INSERT INTO governor.entries SELECT * FROM governor.entries_${oldest!.replace('-', '_')};
     DROP TABLE governor.entries_${oldest!.replace('-', '_')}`,
  )
  const pruned = await governor(['audit', 'prune', '--url', url, '--config', config])
  // 30 + 20 + 40 of each; the five behind the second month's checkpoint stay.
  t.strictSame(pruned, {
    code: 0,
    out: `Removed 180 entries of 2 chains: ${oldest}, ${next}.\n`,
    err: '',
  })
  // What recorded it: writer.open, retention, writer.close, checkpoint.
  t.equal(await count(), before - 180 + 4)
  const [left] = await runSql(
    url,
    `SELECT to_regclass('governor.entries_${oldest!.replace('-', '_')}')::text AS oldest,
       (SELECT count(*)::int FROM governor.entries_default WHERE kind = 'decision') AS tails`,
  )
  t.strictSame(left, { oldest: null, tails: 10 })
  const keys = join(directory, 'keys.json')
  const lists = [...paths, join(directory, 'ops/audit.db')].map(
    (path) => JSON.parse(readFileSync(`${path}.keys.json`, 'utf8')) as { keys: unknown[] },
  )
  writeFileSync(keys, JSON.stringify({ ...lists[0], keys: lists.flatMap((list) => list.keys) }))
  const verified = await verifyPostgres(url, { strict: true, root, keys })
  t.strictSame([verified.exitCode, verified.problems], [0, []])
  t.match(await publish(), { code: 0 }, 'what was published still stands')
  t.match(await prune(), { code: 0, out: /^Nothing to remove/ })
  for (const path of paths) await ship(url, path)

  await runSql(url, "DELETE FROM governor.entries WHERE kind = 'retention'")
  const { exitCode, problems } = await verifyPostgres(url, { strict: false })
  t.equal(exitCode, 1)
  // Writers are named at random, and the problems are in the order of their names.
  t.ok(problems.some(({ what }) => what.startsWith('Missing before it: entries 2 to')))
})

t.test('a prune --url that was stopped in the middle verifies, and goes on', async (t) => {
  const directory = t.testdir({ one: {} })
  const url = await freshDatabase(t)
  await migrate(url, monthsAgo(2))
  const path = join(directory, 'one/audit.db')
  logOfMonths(path)
  await ship(url, path)
  const pool = openPool(url)
  t.teardown(() => pool.end())
  const plan = await planPrune(pool, wallMs() - 40 * DAY_MS, everything)
  t.equal(plan.months.length, 2)
  appendOnce(path, 'test', [{ kind: 'retention', body: retentionBody(plan.pruned, 0, wallMs()) }])
  await ship(url, path)
  const holds = async () => (await verifyPostgres(url, { strict: false })).problems
  t.strictSame(await holds(), [], 'before anything went')
  const first = await removeMonths(pool, { ...plan, months: plan.months.slice(0, 1) })
  t.strictSame(first, { entries: 50, months: [monthName(monthsAgo(3))] })
  t.strictSame(await holds(), [], 'after one of two months')
  const rest = await planPrune(pool, wallMs() - 40 * DAY_MS, everything)
  t.strictSame(rest.pruned, plan.pruned)
  const second = { entries: 40, months: [monthName(monthsAgo(2))] }
  t.strictSame(await removeMonths(pool, rest), second)
  t.strictSame(await holds(), [])
})
