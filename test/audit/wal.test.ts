import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { Epochs } from '../../src/audit/epochs.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { Wal } from '../../src/audit/wal.ts'
import { decision, openWal, outcome, refusal, rows, story } from './support/log.ts'

/**
 * Every promise of the log is tried on real files: what was acknowledged is there after the process
 * is gone, what was refused is not, and a disk that fails is said so and survived.
 */
const CHILD = join(import.meta.dirname, 'support/writer-child.ts')

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1000 && !condition(); turn++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** What a promise rejects with; undefined when it resolves. */
function failure(promise: Promise<void>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

// Processes are started and disks waited for; on a slow machine that takes its time.
t.test('record() is in the file when it resolves, and close() ends the chain', async (t) => {
  const path = join(t.testdir(), 'data', 'audit.db')
  const wal = await openWal(path)
  await wal.record(decision('r1'))
  t.strictSame(story(path), ['writer.open', 'decision r1'])
  wal.queue(outcome('r1'))
  await wal.record(refusal('r2'))
  await wal.close()
  t.strictSame(story(path), [
    'writer.open',
    'decision r1',
    'outcome r1',
    'decision r2',
    'writer.close',
  ])
  t.strictSame(
    rows(path).map(({ seq }) => seq),
    [1, 2, 3, 4, 5],
  )
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(statSync(join(path, '..')).mode & 0o777, 0o700)
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
  await t.rejects(wal.record(refusal('r3')), { code: 'AUDIT_UNAVAILABLE' })
})

t.test('queue() is durable without another commit to ride with', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  await wal.record(decision('r1'))
  wal.queue(outcome('r1'))
  await until(() => story(path).length === 3)
  t.strictSame(story(path), ['writer.open', 'decision r1', 'outcome r1'])
  await wal.close()
})

t.test('record() keeps order and batches under concurrency', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const batches: number[] = []
  const wal = await openWal(path, { onCommit: (_durationMs, entries) => batches.push(entries) })
  await Promise.all(Array.from({ length: 3000 }, (_, index) => wal.record(refusal(`r${index}`))))
  t.strictSame(
    story(path).slice(1),
    Array.from({ length: 3000 }, (_, index) => `decision r${index}`),
  )
  t.ok(batches.length < 100, 'a commit serves many')
  t.equal(
    batches.reduce((sum, entries) => sum + entries, 0),
    3000,
  )
  await wal.close()
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('record() keeps bodies of every size and script, and refuses one too long', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  const pads = ['', 'é€😀'.repeat(100), '\ud800', '\0', '中'.repeat(250_000)]
  await Promise.all(pads.map((pad, index) => wal.record(decision(`r${index}`, pad))))
  await t.rejects(wal.record(decision('long', 'x'.repeat(300_001))), { code: 'AUDIT_UNAVAILABLE' })
  wal.queue(decision('long', 'x'.repeat(300_001)))
  t.equal(wal.stats.lostTotal, 1)
  t.strictSame(
    rows(path)
      .slice(1)
      .map(({ body }) => body['pad']),
    pads,
  )
  await wal.close()
})

t.test('open() asks the disk for FULL and owns its checkpoints', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const { openForAppend } = await import('../../src/audit/file.ts')
  const db = openForAppend({ path, busyMs: 100, pageBytesMax: 0 })
  const pragma = (name: string) => db.pragma(name, { simple: true })
  t.strictSame(
    [pragma('journal_mode'), pragma('synchronous'), pragma('wal_autocheckpoint')],
    ['wal', 2, 0],
  )
  db.close()
})

t.test('entries move on in small steps, so that no commit waits for a long one', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  const pad = 'x'.repeat(2000)
  for (let batch = 0; batch < 100; batch++) {
    const ids = Array.from({ length: 20 }, (_, index) => `r${batch}-${index}`)
    await Promise.all(ids.map((id) => wal.record(decision(id, pad))))
  }
  const [file, log] = ['', '-wal'].map((suffix) => statSync(path + suffix).size)
  t.ok(file! > 3 * 2 ** 20, `${file} bytes are in the file already`)
  t.ok(log! < 2 ** 20, `${log} bytes is the longest the write-ahead log was`)
  await wal.close()
})

t.test('open() refuses a newer schema and a file that is no database', async (t) => {
  const dir = t.testdir({
    'text.db': 'this is not a database, it is a text of some length '.repeat(9),
  })
  const newer = new Database(join(dir, 'newer.db'))
  newer.pragma('user_version = 99')
  newer.close()
  await t.rejects(openWal(join(dir, 'newer.db')), /newer Governor \(schema 99/)
  await t.rejects(openWal(join(dir, 'text.db')), /not a database/)
})

t.test('open() refuses a second sidecar and names the first', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  await t.rejects(
    openWal(path),
    new RegExp(`in use by process ${process.pid} since 20..-..-..T.*audit\\.path`),
  )
  await wal.record(refusal('r1'))
  await wal.close()
  const again = await openWal(path)
  await again.close()
})

t.test('appendOnce() appends beside a running sidecar', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const admin = { kind: 'admin', body: '{"kind":"admin","action":"keys.create"}' } as const
  appendOnce(path, 'test', [admin])
  const wal = await openWal(path, { signs: true })
  await wal.record(decision('r1'))
  appendOnce(path, 'test', [admin, admin])
  await wal.record(refusal('r2'))
  wal.queue(outcome('r1'))
  await wal.close()
  const blocks = [
    ['writer.open', 'admin', 'writer.close', 'checkpoint'],
    ['writer.open', 'decision r1'],
    ['writer.open', 'admin', 'admin', 'writer.close', 'checkpoint'],
    ['decision r2', 'outcome r1', 'writer.close', 'checkpoint'],
  ]
  t.strictSame(story(path), blocks.flat())
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('close() gives calls that nobody settled an outcome', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  await wal.record(decision('r1'))
  await wal.close()
  t.strictSame(story(path), ['writer.open', 'decision r1', 'outcome r1', 'writer.close'])
  t.equal(rows(path)[2]?.body['outcome'], 'interrupted')
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('a killed writer loses nothing acknowledged and its calls are closed once', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const acknowledged: string[] = []
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [CHILD, path, `k${round}`], {
      stdio: ['ignore', 'pipe', 2],
    })
    let out = ''
    const exited = once(child, 'exit')
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (out.split('\n').length > 300 + round * 500) child.kill('SIGKILL')
    })
    await exited
    acknowledged.push(...out.split('\n').slice(1, -1))
    const live = verifyLog(path, { strict: false })
    t.equal(live.exitCode, 0, JSON.stringify(live.problems))
  }
  const wal = await openWal(path, { signs: true })
  const found = rows(path)
  const decided = found.filter(({ kind }) => kind === 'decision').map((row) => row.request_id)
  const ended = found.filter(({ kind }) => kind === 'outcome').map((row) => row.request_id)
  const kept = new Set(decided)
  t.ok(
    acknowledged.every((id) => kept.has(id)),
    'acked ⊆ recovered',
  )
  t.strictSame(ended.toSorted(), decided.toSorted(), 'one outcome each')
  t.ok(wal.stats.recovered > 0)
  await wal.close()
  const result = verifyLog(path, { strict: true })
  t.strictSame([result.exitCode, result.openCalls, result.chains], [0, 0, 6])
})

t.test('open() recovers from the last mark on, with calls open before it', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  await wal.record(decision('early'))
  for (let round = 0; round < 12; round++) {
    await Promise.all(Array.from({ length: 500 }, (_, i) => wal.record(refusal(`${round}-${i}`))))
  }
  const db = new Database(path)
  const mark = db.prepare('SELECT marked_seq > 4000, open_calls FROM chains').raw().get()
  t.strictSame(mark, [1, '["early"]'])
  // A crash, as far as the file can tell: the chain was never closed.
  await wal.close()
  db.exec('DELETE FROM entries WHERE seq > (SELECT max(seq) - 2 FROM entries)')
  db.exec("UPDATE chains SET state = 'open'")
  db.close()
  const again = await openWal(path)
  t.equal(again.stats.recovered, 1)
  await again.close()
  t.strictSame(story(path).slice(-3), ['writer.open', 'outcome early', 'writer.close'])
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('record() refuses at local_max while outcomes still fit', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { localBytesMax: 300_000 })
  let refused: unknown
  let count = 0
  for (; count < 2000 && refused === undefined; count++) {
    refused = await failure(wal.record(decision(`r${count}`, 'x'.repeat(2000))))
    // The size is measured at most each 100 ms.
    if (count % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 110))
  }
  t.match(refused, { code: 'AUDIT_UNAVAILABLE', status: 503, headers: { 'retry-after': '1' } })
  t.match((refused as Error).message, /local_max/)
  t.ok(wal.healthy)
  for (let i = 0; i < count - 1; i++) wal.queue(outcome(`r${i}`))
  await wal.flush()
  t.equal(wal.stats.lostTotal, 0)
  await wal.close()
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('a decision whose call went on without it is told of when it lands late', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { commitMs: 400 })
  const blocker = new Database(path)
  blocker.exec('BEGIN IMMEDIATE')
  let landed = 0
  await t.rejects(wal.record({ ...decision('late'), onLate: () => landed++ }))
  t.equal(landed, 0)
  blocker.exec('COMMIT')
  blocker.close()
  await until(() => landed === 1)
  wal.queue(outcome('late'))
  await wal.close()
  t.strictSame(story(path), ['writer.open', 'decision late', 'outcome late', 'writer.close'])
})

t.test('a decision the disk took too long for is refused and gets not_forwarded', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { commitMs: 400 })
  // Another writer holds the file for longer than the decision may take.
  const blocker = new Database(path)
  blocker.exec('BEGIN IMMEDIATE')
  await t.rejects(wal.record(decision('late')), {
    code: 'AUDIT_UNAVAILABLE',
    message: /longer than 400/,
  })
  t.notOk(wal.healthy)
  await t.rejects(wal.record(decision('r2')), { code: 'AUDIT_UNAVAILABLE' })
  blocker.exec('COMMIT')
  blocker.close()
  await until(() => story(path).includes('outcome late'))
  await wal.record(refusal('after'))
  await wal.close()
  t.strictSame(story(path), [
    'writer.open',
    'decision late',
    'outcome late',
    'decision after',
    'writer.close',
  ])
  t.equal(rows(path)[2]?.body['outcome'], 'not_forwarded')
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test(
  'a process that stood still blames no disk for it: what landed is acknowledged',
  async (t) => {
    const path = join(t.testdir(), 'audit.db')
    const wal = await openWal(path, { commitMs: 1_000 })
    const first = wal.record(decision('r1'))
    const next = wal.record(decision('r2'))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
    t.strictSame(await Promise.all([failure(first), failure(next)]), [undefined, undefined])
    t.ok(wal.healthy)
    await wal.close()
    t.match(story(path).slice(1, 3), ['decision r1', 'decision r2'])
    t.notOk(rows(path).some(({ body }) => body['outcome'] === 'not_forwarded'))
  },
)

t.test('a busy file fails the batch, keeps the outcomes and heals', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { commitMs: 200 })
  await wal.record(decision('r1'))
  const blocker = new Database(path)
  blocker.exec('BEGIN IMMEDIATE')
  wal.queue(outcome('r1'))
  await t.rejects(wal.record(decision('r2')), { code: 'AUDIT_UNAVAILABLE' })
  await until(() => !wal.healthy)
  await t.rejects(wal.record(decision('r3')), { code: 'AUDIT_UNAVAILABLE' })
  blocker.exec('COMMIT')
  blocker.close()
  await until(() => wal.healthy)
  await wal.record(refusal('r4'))
  await wal.flush()
  await wal.close()
  const told = story(path).filter((line) => line !== 'heartbeat')
  t.ok(told.includes('outcome r1'))
  t.ok(told.includes('decision r4'))
  t.notOk(told.includes('decision r3'))
  t.equal(told.includes('decision r2'), told.includes('outcome r2'))
  t.strictSame(wal.stats.lostTotal, 0)
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('a trigger that drops decisions under a running sidecar loses none', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path)
  await wal.record(refusal('r1'))
  const stranger = new Database(path)
  stranger.exec(`CREATE TRIGGER quiet BEFORE INSERT ON entries WHEN NEW.kind = 'decision'
    BEGIN SELECT RAISE(IGNORE); END`)
  stranger.close()
  t.match(await failure(wal.record(refusal('r2'))), { code: 'AUDIT_UNAVAILABLE' })
  await until(() => wal.healthy)
  await wal.record(refusal('r3'))
  await wal.close()
  t.strictSame(story(path), ['writer.open', 'decision r1'])
  const next = story(path.replace('.db', '.e2.db'))
  t.ok(next.includes('decision r3'), 'in a file without a trigger')
  t.match(verifyLog(path, { strict: false }), {
    exitCode: 1,
    problems: [{ what: /trigger "quiet"/ }],
  })
})

t.test('a file that stays locked is ended, and the next epoch goes on', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const writerId = Buffer.alloc(16, 1)
  const sizes = { busyMs: 20, busyEndsMs: 100, localBytesMax: 2 ** 30 }
  const log = new Epochs({ path, writerId, role: 'run', version: 'test', recover: true, ...sizes })
  const rival = new Database(path)
  rival.exec('BEGIN IMMEDIATE')
  t.throws(() => log.heartbeat(), { code: 'SQLITE_BUSY' })
  t.equal(log.epoch, 1, 'it may be a command that is not ready yet')
  await until(() => {
    try {
      log.heartbeat()
      return true
    } catch {
      return false
    }
  })
  t.equal(log.epoch, 2)
  rival.exec('ROLLBACK')
  rival.close()
  log.close()
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('after a batch that failed, each commit acknowledges its own entries only', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const commits: number[] = []
  const onCommit = (_ms: number, entries: number) => commits.push(entries)
  const wal = await openWal(path, { onCommit })
  const blocker = new Database(path)
  blocker.exec('BEGIN IMMEDIATE')
  await t.rejects(wal.record(refusal('r1')), { code: 'AUDIT_UNAVAILABLE' })
  blocker.exec('ROLLBACK')
  await until(() => wal.healthy)
  for (const id of ['r2', 'r3', 'r4']) {
    await wal.record(refusal(id))
    const kept = blocker.prepare('SELECT count(*) FROM entries WHERE request_id = ?').pluck()
    t.equal(kept.get(id), 1, `${id} is in the file`)
  }
  blocker.close()
  await wal.close()
  t.strictSame(commits, [1, 1, 1])
})

for (const how of ['unlinked', 'replaced', 'without its write-ahead log'] as const) {
  t.test(`a file that is ${how} is noticed and the next epoch begins`, async (t) => {
    const path = join(t.testdir(), 'audit.db')
    const wal = await openWal(path)
    await wal.record(decision('r1'))
    if (how === 'unlinked') unlinkSync(path)
    else if (how === 'replaced') {
      renameSync(path, `${path}.old`)
      writeFileSync(path, '')
    } else unlinkSync(`${path}-wal`)
    await new Promise((resolve) => setTimeout(resolve, 120))
    await wal.record(decision('r2'))
    wal.queue(outcome('r1'))
    wal.queue(outcome('r2'))
    await wal.close()
    t.strictSame(story(path.replace('.db', '.e2.db')), [
      'writer.open',
      'decision r2',
      'outcome r1',
      'outcome r2',
      'writer.close',
    ])
    t.match(rows(path.replace('.db', '.e2.db'))[0]?.body, {
      epoch: 2,
      continues: { epoch: 1, seq: 2 },
    })
    if (how !== 'without its write-ahead log') {
      t.equal(verifyLog(path, { strict: false }).exitCode, 1, 'the loss is found')
    }
    const again = await openWal(path)
    await again.close()
    t.equal(story(path.replace('.db', '.e2.db')).length, 7, 'the newest file goes on')
  })
}

t.test('an I/O error ends the file and the next epoch continues it', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  // A limit on the size of files makes writes fail with EFBIG, which SQLite knows as I/O error.
  const command = `ulimit -f 2048; exec "${process.execPath}" "${CHILD}" "${path}" io`
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 2] })
  let out = ''
  const exited = once(child, 'exit')
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk.toString()
    if (out.split('\n').length > 3000) child.kill('SIGKILL')
  })
  await exited
  const acknowledged = out.split('\n').slice(1, -1)
  const wal = await openWal(path, { signs: true })
  await wal.close()
  const result = verifyLog(path, { strict: true })
  t.strictSame([result.exitCode, result.problems], [0, []])
  t.ok(result.files.length > 1, `${result.files.length} files`)
  const found = result.files.flatMap((file) => story(file))
  const missing = acknowledged.filter((id) => !found.includes(`decision ${id}`))
  t.strictSame(missing, [])
})

t.test('a full disk refuses, keeps the file, and heals when there is room', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'governor-full-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', dir]).status === 0
  t.teardown(() => {
    if (mounted) spawnSync('umount', ['-l', dir])
    rmSync(dir, { recursive: true, force: true })
  })
  const path = join(dir, 'audit.db')
  // Without the right to mount, SQLite's own page limit says the same: SQLITE_FULL.
  const wal = await openWal(path, mounted ? {} : { localBytesMax: 2 ** 21 })
  const db = new Database(path)
  writeFileSync(join(dir, 'ballast'), Buffer.alloc(mounted ? 500_000 : 0))
  let recorded = 0
  let refused: unknown
  for (; refused === undefined && recorded < 4000; recorded++) {
    refused = await failure(wal.record(refusal(`r${recorded}`)))
  }
  t.match(refused, { code: 'AUDIT_UNAVAILABLE' })
  t.notOk(verifyLog(path, { strict: false }).problemsTotal)
  if (mounted) {
    await until(() => !wal.healthy)
    wal.queue(outcome('kept'))
    unlinkSync(join(dir, 'ballast'))
    await until(() => wal.healthy)
    await wal.record(refusal('after'))
  }
  db.close()
  await wal.close()
  t.equal(wal.stats.lostTotal, 0)
  const found = verifyLog(path, { strict: false }).files.flatMap((file) => story(file))
  for (let i = 0; i < recorded - 1; i++) {
    if (!found.includes(`decision r${i}`)) t.fail(`r${i} was acknowledged and is missing`)
  }
  t.notOk(found.includes(`decision r${recorded - 1}`))
  if (mounted) t.strictSame(found.filter((line) => /after|kept/.test(line)).length, 2)
})

t.test('close() ends a process that has nothing else to do', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await Wal.open({
    path,
    localBytesMax: 1e9,
    commitMs: 1000,
    version: 'test',
    exclusive: false,
  })
  await Promise.all([wal.close(), wal.close()])
  t.strictSame(story(path), ['writer.open', 'writer.close'])
  t.notOk(wal.healthy)
})
