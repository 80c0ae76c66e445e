import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { epochFiles, openForAppend } from '../../src/audit/file.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { PowerDisk } from '../campaign/power-disk.ts'
import type { DiskEvent } from '../campaign/power-trace.ts'
import { powerCampaign } from '../campaign/power.ts'
import { Seeded } from '../support/seeded.ts'
import { cannotTrace } from '../support/strace.ts'
import { decision, openWal, story } from './support/log.ts'

/** The short form of `npm run campaign power`. */

const skip = cannotTrace()

t.test('after a power loss at any point nothing acknowledged is missing', { skip }, async (t) => {
  const report = await powerCampaign({
    directory: t.testdir(),
    times: 120,
    seed: 4,
    pointsEach: 40,
  })
  t.strictSame(report.problems, [])
  t.equal(report.points, 120)
  t.ok(report.acknowledged > 500, `${report.acknowledged} entries were looked for`)
  t.comment(report)
})

t.test('and a disk that lies about fsync would be noticed', { skip }, async (t) => {
  const options = { directory: t.testdir(), times: 16, seed: 5, recordsEach: 8 }
  const report = await powerCampaign({ ...options, isLying: true })
  t.match(report.problems.join('\n'), /acknowledged entries are lost/)
})

t.test('a rebuilt disk has what was synced, and of the rest what is asked for', (t) => {
  const root = t.testdir()
  const disk = new PowerDisk('/r')
  const file = '/r/file'
  const random = new Seeded(1)
  const found = (loss: Parameters<PowerDisk['rebuild']>[1], name = 'file') => {
    disk.rebuild(root, loss, random)
    try {
      return readFileSync(join(root, name), 'latin1')
    } catch {
      return null
    }
  }
  const write = (offset: number, text: string) =>
    disk.take({ kind: 'write', path: file, offset, data: Buffer.from(text) })
  const sync = (path: string, well = true) => {
    disk.take({ kind: 'sync begins', path, pid: '1' })
    disk.take({ kind: 'sync ends', path, pid: '1', well })
  }
  disk.take({ kind: 'create', path: file, truncates: false })
  write(0, 'one')
  sync(file)
  t.equal(found('nothing kept'), null, 'a name that was not synced')
  t.equal(found('everything kept'), 'one')
  sync('/r')
  write(0, 'two')
  t.equal(found('nothing kept'), 'one')
  t.equal(found('everything kept'), 'two')

  sync(file, false)
  write(3, '!')
  sync(file)
  t.equal(found('nothing kept'), 'one!', 'what a failed fsync should have written is never sure')
  t.equal(found('everything kept'), 'two!')
  write(0, 'new')
  sync(file)
  t.equal(found('everything kept'), 'new!', 'until it was written again')

  disk.take({ kind: 'truncate', path: file, size: 1 })
  t.equal(found('nothing kept'), 'new!')
  t.equal(found('everything kept'), 'n')
  disk.take({ kind: 'rename', from: file, to: '/r/other' })
  t.equal(found('nothing kept'), 'new!')
  t.equal(found('everything kept'), null)
  t.equal(found('everything kept', 'other'), 'n')

  const late: DiskEvent = { kind: 'sync begins', path: '/r/other', pid: '1' }
  disk.take(late)
  disk.take({ kind: 'write', path: '/r/other', offset: 0, data: Buffer.from('later') })
  disk.take({ ...late, kind: 'sync ends', well: true })
  sync('/r')
  t.equal(found('nothing kept', 'other'), 'n', 'a write during an fsync is not covered by it')
  t.end()
})

for (const [what, makeEmpty] of [
  ['of no bytes', (path: string) => writeFileSync(path, '')],
  ['with tables only', (path: string) => makeTables(path)],
] as const) {
  t.test(`a next file ${what} does not hide the calls of the former`, async (t) => {
    const directory = t.testdir({ copy: {} })
    const path = join(directory, 'audit.db')
    const begun = await openWal(path, { signs: true })
    await begun.record(decision('r1'))
    // As a crash leaves it: the file of a writer that went on would be ended.
    const copy = join(directory, 'copy/audit.db')
    for (const suffix of ['', '-wal', '.key', '.keys.json']) {
      writeFileSync(copy + suffix, readFileSync(path + suffix), { mode: 0o600 })
    }
    await begun.close()
    makeEmpty(copy.replace('.db', '.e2.db'))
    appendOnce(copy, 'test', [{ kind: 'admin', body: '{"kind":"admin","action":"keys.create"}' }])
    await (await openWal(copy, { signs: true })).close()
    t.strictSame(
      epochFiles(copy).map(({ epoch }) => epoch),
      [1],
    )
    t.match(story(copy), ['writer.open', 'decision r1', 'writer.open', 'admin'])
    t.ok(story(copy).includes('outcome r1'))
    const { exitCode, problems } = verifyLog(copy, { strict: true })
    t.strictSame([exitCode, problems], [0, []])
  })
}

function makeTables(path: string): void {
  openForAppend({ path, busyMs: 1000, pageBytesMax: 0 }).close()
  const db = new Database(path)
  db.pragma('journal_mode = DELETE')
  db.close()
}
