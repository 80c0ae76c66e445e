import { copyFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { pruneLog } from '../../src/audit/prune.ts'
import { retentionBody } from '../../src/audit/retention.ts'
import { Signer } from '../../src/audit/signing-key.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { own } from '../../src/audit/writer.ts'
import { monotonicMs, wallMs } from '../../src/clock.ts'
import { openWal, refusal, rows, story } from './support/log.ts'
import { openWriter } from './support/open-writer.ts'

const HOUR_MS = 3_600_000

/** A sidecar's log with a checkpoint after each of three rounds, and a command's before it. */
function makeLog(path: string, how: 'closed' | 'killed'): void {
  appendOnce(path, 'test', [{ kind: 'admin', body: '{"kind":"admin"}' }])
  const writer = openWriter(path, {
    writerId: Buffer.alloc(16, 9),
    role: 'run',
    signer: Signer.open(path, wallMs()),
  })
  for (let round = 0; round < 3; round++) {
    writer.begin()
    for (let index = 0; index < 50; index++) {
      const { kind, requestId, body } = refusal(`r${round}-${index}`)
      writer.append(own(kind, requestId, wallMs() * 1000, body))
    }
    writer.commit()
    writer.prepareCheckpoint(monotonicMs() + (round + 1) * HOUR_MS)
  }
  if (how === 'closed') writer.close()
  else writer.abandon()
}

function removed(path: string, from: string): void {
  const db = new Database(path)
  db.exec(from)
  db.close()
}

t.test('pruneLog() removes what a checkpoint covers, says so, and the log verifies', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path, 'closed')
  const before = rows(path).length
  const pruned = pruneLog(path, 'test', wallMs() + HOUR_MS)
  t.strictSame(pruned, { entries: 151, chains: 1, shrunk: true })
  const left = rows(path)
  t.equal(left.length, before - 151 + 4)
  t.strictSame(
    left.filter(({ chain }) => chain === 2).map(({ kind }) => kind),
    ['writer.open', 'checkpoint', 'checkpoint', 'checkpoint', 'checkpoint'],
  )
  const result = verifyLog(path, { strict: true })
  t.strictSame([result.exitCode, result.problems, result.notes], [0, [], []])
  t.strictSame(pruneLog(path, 'test', wallMs() + HOUR_MS).entries, 0, 'a second time')
})

t.test('a log whose pruning was stopped in the middle verifies', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path, 'closed')
  const whole = path.replace('audit.db', 'whole')
  copyFileSync(path, whole)
  pruneLog(path, 'test', wallMs() + HOUR_MS)
  const db = new Database(path)
  db.exec(`ATTACH '${whole}' AS whole;
    INSERT INTO entries SELECT * FROM whole.entries
    WHERE chain = 2 AND seq BETWEEN 30 AND 120 AND kind <> 'checkpoint'`)
  const verified = verifyLog(path, { strict: true })
  t.strictSame([verified.exitCode, verified.problems], [2, []], 'it cannot tell them from forged')
  t.match(verified.notes, [
    { what: /^\d+ entries of those up to \d+ .* are proven by nothing: who/ },
  ])
  t.equal(verifyLog(path, { strict: false }).exitCode, 0)
  const alter = db.prepare('UPDATE entries SET body = ? WHERE chain = 2 AND seq = ?')
  const body = db.prepare('SELECT body FROM entries WHERE chain = 2 AND seq = ?').pluck()
  const edited = Buffer.from('{"kind":"decision","request_id":"r0-34","decision":"allow"}')
  for (const seq of [36, 51]) {
    const former = body.get(seq)
    alter.run(edited, seq)
    t.equal(verifyLog(path, { strict: false }).exitCode, 1, `entry ${seq} was edited`)
    alter.run(former, seq)
  }
  db.exec('DELETE FROM entries WHERE chain = 2 AND seq = 103')
  db.close()
  t.equal(verifyLog(path, { strict: true }).exitCode, 1, 'what has to be there is missed')
})

t.test('an entry forged among those that were pruned is not proven, and told', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path, 'closed')
  pruneLog(path, 'test', wallMs() + HOUR_MS)
  const db = new Database(path)
  const body = Buffer.from('{"kind":"decision","request_id":"f","decision":"allow"}')
  const forge = db.prepare(`INSERT INTO entries
    (id, chain, seq, occurred_at, kind, request_id, awaits, hash, body)
    SELECT id - 1, 2, seq - 1, occurred_at, 'decision', 'f', 0, ?, ? FROM entries
    WHERE chain = 2 AND kind = 'checkpoint' ORDER BY seq LIMIT 1`)
  forge.run(Buffer.alloc(32, 7), body)
  const [wrong] = verifyLog(path, { strict: false }).problems
  t.match(wrong, {
    seq: 52,
    what: /^What was left of the entries before it is not what its checkp/,
  })
  // With the hash that the checkpoint names it stands where a true one could.
  db.exec(`UPDATE entries SET hash = (SELECT unhex(json_extract(body, '$.last')) FROM entries
    WHERE chain = 2 AND kind = 'checkpoint' ORDER BY seq LIMIT 1) WHERE request_id = 'f'`)
  db.close()
  const result = verifyLog(path, { strict: true })
  t.strictSame([result.exitCode, result.problems], [2, []])
  t.match(result.notes, [{ what: /^One entry of those up to \d+ that were pruned can be read/ }])
})

t.test('pruneLog() keeps what is newer, and what no checkpoint covers', async (t) => {
  const dir = t.testdir()
  const path = join(dir, 'audit.db')
  makeLog(path, 'closed')
  t.strictSame(pruneLog(path, 'test', wallMs() - HOUR_MS).entries, 0)
  const live = join(dir, 'live', 'audit.db')
  makeLog(live, 'killed')
  // Recovery of what was killed would begin at the start of the chain: all of it is needed.
  t.strictSame(pruneLog(live, 'test', wallMs() + HOUR_MS).entries, 0)
  await (await openWal(live, { signs: true })).close()
  t.equal(pruneLog(live, 'test', wallMs() + HOUR_MS).entries > 100, true)
  t.ok(story(live).includes('decision r2-49'), 'after the last checkpoint')
  const result = verifyLog(live, { strict: true })
  t.strictSame([result.exitCode, result.problems], [0, []])
})

t.test('a log pruned while its sidecar writes goes on and verifies', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { signs: true })
  for (let round = 0; round < 60; round++) {
    await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        wal.record({ ...refusal(`r${round}-${index}`), occurredAtUs: wallMs() * 1000 }),
      ),
    )
  }
  const { entries, shrunk } = pruneLog(path, 'test', wallMs() + HOUR_MS)
  t.ok(entries > 1000)
  t.equal(shrunk, false)
  await wal.record(refusal('later'))
  t.strictSame(verifyLog(path, { strict: false }).problems, [])
  await wal.close()
  t.strictSame(verifyLog(path, { strict: true }).exitCode, 0)
})

for (const [name, sql] of [
  ['the entry that allowed it', "DELETE FROM entries WHERE kind = 'retention'"],
  ['a checkpoint', "DELETE FROM entries WHERE kind = 'checkpoint' AND chain = 2 AND seq < 100"],
  ['more than was allowed', 'DELETE FROM entries WHERE chain = 2 AND seq = 1'],
] as const) {
  t.test(`verifyLog() finds that ${name} was removed from a pruned log`, async (t) => {
    const dir = t.testdir()
    const base = join(dir, 'audit.db')
    makeLog(base, 'closed')
    pruneLog(base, 'test', wallMs() + HOUR_MS)
    const path = join(dir, 'copy.db')
    copyFileSync(base, path)
    copyFileSync(`${base}.keys.json`, `${path}.keys.json`)
    t.equal(verifyLog(path, { strict: true }).exitCode, 0)
    removed(path, sql)
    t.equal(verifyLog(path, { strict: false }).exitCode, 1)
  })
}

t.test('verifyLog() takes no word for a removal from somebody without the key', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path, 'closed')
  const forger = openWriter(path, { writerId: Buffer.alloc(16, 6), role: 'command' })
  const pruned = [{ writer_id: Buffer.alloc(16, 9).toString('hex'), epoch: 1, to: 51 }]
  forger.begin()
  forger.append(own('retention', '', wallMs() * 1000, retentionBody(pruned, 0, 0)))
  forger.commit()
  forger.abandon()
  t.equal(verifyLog(path, { strict: false }).exitCode, 0, 'while nothing is missing')
  removed(path, 'DELETE FROM entries WHERE chain = 2 AND seq BETWEEN 2 AND 51')
  t.match(verifyLog(path, { strict: false }), {
    exitCode: 1,
    problems: [{ what: /^Entries up to here are missing, and no signed entry says/ }],
  })
})

t.test('pruneLog() removes a few at a time where it is told to', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path, 'closed')
  const steps: number[] = []
  for (let removed = -1; removed !== 0 && steps.length < 10; steps.push(removed)) {
    removed = pruneLog(path, 'test', wallMs() + HOUR_MS, { entriesMax: 60 }).entries
    t.ok(removed <= 60, `${removed}`)
    t.equal(verifyLog(path, { strict: true }).exitCode, 0)
  }
  t.ok(steps.length > 2, `${steps.length} steps`)
  const whole = join(t.testdir(), 'whole.db')
  makeLog(whole, 'closed')
  const once = pruneLog(whole, 'test', wallMs() + HOUR_MS).entries
  t.equal(
    steps.reduce((sum, removed) => sum + removed, 0),
    once,
  )
})
