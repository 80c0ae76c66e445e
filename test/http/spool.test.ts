import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { GovernorError } from '../../src/errors.ts'
import { Spool } from '../../src/http/spool.ts'
import { fill, setWritable, smallDisk } from '../support/small-disk.ts'

async function codeOf(task: Promise<unknown>): Promise<string> {
  const error = await task.catch((thrown: unknown) => thrown)
  return error instanceof GovernorError ? error.code : String(error)
}

t.test('a file of a Spool has no name, and what a crash left is removed', async (t) => {
  const folder = t.testdir({ 'audit.db': '', 'audit.db.spool-1-1': 'left', 'other.spool-1-1': '' })
  const spool = new Spool(join(folder, 'audit.db'))
  t.strictSame(readdirSync(folder).sort(), ['audit.db', 'other.spool-1-1'])
  const file = await spool.create('key', 1000)
  await file.append([Buffer.from('hello '), Buffer.from('there')])
  t.strictSame(readdirSync(folder).sort(), ['audit.db', 'other.spool-1-1'])
  t.equal((await file.read(6, 11)).toString(), 'there')
  t.strictSame([file.bytes, spool.bytes], [11, 11])
  t.equal(await codeOf(file.read(6, 12)), 'SPOOL_UNAVAILABLE', 'more than there is')
  file.close()
  file.close()
  t.equal(spool.bytes, 0)
})

t.test('one caller has half of a Spool, all together the whole', async (t) => {
  const spool = new Spool(join(t.testdir({}), 'audit.db'))
  const [one, two, three] = await Promise.all(['a', 'b', 'c'].map((key) => spool.create(key, 100)))
  await one!.append([Buffer.alloc(50)])
  t.equal(await codeOf(one!.append([Buffer.alloc(1)])), 'OVERLOADED')
  await two!.append([Buffer.alloc(40)])
  t.equal(await codeOf(three!.append([Buffer.alloc(11)])), 'OVERLOADED')
  await three!.append([Buffer.alloc(10)])
  t.equal(spool.bytes, 100)
  one!.close()
  await three!.append([Buffer.alloc(40)])
  for (const file of [two, three]) file!.close()
  t.equal(spool.bytes, 0)
})

t.test('a Spool whose place is gone, or whose file was given back, says so', async (t) => {
  const folder = t.testdir({ file: '' })
  t.equal(
    await codeOf(new Spool(join(folder, 'none/audit.db')).create('a', 9)),
    'SPOOL_UNAVAILABLE',
  )
  t.equal(
    await codeOf(new Spool(join(folder, 'file/audit.db')).create('a', 9)),
    'SPOOL_UNAVAILABLE',
  )
  const spool = new Spool(join(folder, 'audit.db'))
  const file = await spool.create('a', 100)
  // A name that is taken, by whomever, is not written over.
  writeFileSync(join(folder, `audit.db.spool-${process.pid}-2`), 'theirs')
  t.equal(await codeOf(spool.create('a', 100)), 'SPOOL_UNAVAILABLE')
  file.close()
  t.equal(await codeOf(file.append([Buffer.alloc(5)])), 'SPOOL_UNAVAILABLE')
  t.equal(spool.bytes, 0, 'nothing stays counted')
})

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

t.test('a disk that is full in the middle of a form gets back what was written', async (t) => {
  const disk = smallDisk(t, '1m')
  if (disk === null) return t.comment('Nobody here may mount a small disk')
  // Never asks how much is left, as if others were faster.
  const spool = new Spool(join(disk, 'audit.db'), Number.NEGATIVE_INFINITY)
  const freeBefore = freeBytes(disk)
  const file = await spool.create('a', 1e9)
  await file.append([Buffer.alloc(300_000, 1)])
  const full = await file.append([Buffer.alloc(900_000)]).catch((thrown: unknown) => thrown)
  t.match(full, { code: 'SPOOL_UNAVAILABLE', cause: { code: 'ENOSPC' } })
  t.equal(freeBytes(disk), freeBefore, 'at once')
  t.equal(spool.bytes, 0)
  file.close()
  t.equal(spool.bytes, 0)
  t.strictSame(readdirSync(disk), [])
})

t.test('what is left to others on a disk is left to them also while a form arrives', async (t) => {
  const disk = smallDisk(t, '2m')
  if (disk === null) return t.comment('Nobody here may mount a small disk')
  const spool = new Spool(join(disk, 'audit.db'), 1_000_000)
  const file = await spool.create('a', 1e9)
  await file.append([Buffer.alloc(300_000)])
  fill(join(disk, 'theirs'), 700_000)
  t.equal(await codeOf(file.append([Buffer.alloc(200_000)])), 'SPOOL_UNAVAILABLE')
  t.equal(spool.bytes, 0)
  t.equal(await codeOf(file.append([Buffer.alloc(1)])), 'SPOOL_UNAVAILABLE', 'it is given back')
  t.equal(spool.bytes, 0)
  await (await spool.create('a', 1e9)).append([Buffer.alloc(200_000)])
})

t.test('a directory that is read-only holds no form, and stops nothing else', async (t) => {
  const disk = smallDisk(t, '1m')
  if (disk === null) return t.comment('Nobody here may mount a small disk')
  writeFileSync(join(disk, 'audit.db.spool-1-1'), 'left')
  setWritable(disk, false)
  const spool = new Spool(join(disk, 'audit.db'), 0)
  t.equal(await codeOf(spool.create('a', 1e9)), 'SPOOL_UNAVAILABLE')
  t.strictSame(readdirSync(disk), ['audit.db.spool-1-1'], 'it is no longer written to')
  setWritable(disk, true)
  const file = await spool.create('a', 1e9)
  await file.append([Buffer.from('hello')])
  t.equal(spool.bytes, 5)
  file.close()
  rmSync(join(disk, 'audit.db.spool-1-1'))
  t.strictSame(readdirSync(disk), [])
})
