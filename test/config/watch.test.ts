// Goal: every way a configuration file changes is told once. Method: real files; waiting is by
// condition with a generous end, never for a fixed time, except where nothing should happen.
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t, { type Test } from 'tap'

import { watchConfig, type WatchOptions } from '../../src/config/watch.ts'

const QUICK = { settleMs: 20, pollIntervalMs: 50 }

function start(t: Test, file: string, options: WatchOptions = QUICK) {
  let count = 0
  const watcher = watchConfig(file, () => count++, options)
  t.teardown(() => watcher.close())
  return {
    watcher,
    count: () => count,
    async reaches(wanted: number) {
      const until = AbortSignal.timeout(10_000)
      for (;;) {
        if (count >= wanted || until.aborted) return count
        await sleep(20)
      }
    },
  }
}

t.test('watchConfig() tells of a rewrite and of a rename over the file', async (t) => {
  const folder = t.testdir({ 'governance.yaml': 'one' })
  const file = join(folder, 'governance.yaml')
  const seen = start(t, file)
  writeFileSync(file, 'two')
  t.equal(await seen.reaches(1), 1)
  writeFileSync(join(folder, 'new'), 'three')
  renameSync(join(folder, 'new'), file)
  t.equal(await seen.reaches(2), 2)
  writeFileSync(file, 'four')
  t.equal(await seen.reaches(3), 3, 'also after the inode changed')
})

t.test('watchConfig() tells of a ConfigMap swapping ..data', async (t) => {
  const folder = t.testdir({
    '..v1': { 'governance.yaml': 'one' },
    '..v2': { 'governance.yaml': 'two' },
    '..data': t.fixture('symlink', '..v1'),
    'governance.yaml': t.fixture('symlink', '..data/governance.yaml'),
  })
  const seen = start(t, join(folder, 'governance.yaml'))
  symlinkSync('..v2', join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
  t.equal(await seen.reaches(1), 1)
  rmSync(join(folder, '..v1'), { recursive: true })
  await sleep(200)
  t.equal(seen.count(), 1)
})

t.test(
  'watchConfig() says nothing of a file that is gone, and tells when it is back',
  async (t) => {
    const folder = t.testdir({ 'governance.yaml': 'one' })
    const file = join(folder, 'governance.yaml')
    const seen = start(t, file)
    unlinkSync(file)
    await sleep(200)
    t.equal(seen.count(), 0)
    writeFileSync(file, 'one')
    await sleep(200)
    t.equal(seen.count(), 0, 'the same content is no change')
    writeFileSync(file, 'two')
    t.equal(await seen.reaches(1), 1)
  },
)

t.test('watchConfig() survives the directory being removed and made again', async (t) => {
  const folder = t.testdir({ conf: { 'governance.yaml': 'one' } })
  const file = join(folder, 'conf', 'governance.yaml')
  const seen = start(t, file)
  rmSync(join(folder, 'conf'), { recursive: true })
  await sleep(200)
  mkdirSync(join(folder, 'conf'))
  writeFileSync(file, 'two')
  t.equal(await seen.reaches(1), 1)
})

t.test('watchConfig() tells once of a file written in pieces', async (t) => {
  const folder = t.testdir({ 'governance.yaml': 'one' })
  const file = join(folder, 'governance.yaml')
  const seen = start(t, file, { settleMs: 400, pollIntervalMs: 60_000 })
  for (const part of ['', 'version', 'version: 1', 'version: 1\nup']) {
    writeFileSync(file, part)
    await sleep(30)
  }
  t.equal(await seen.reaches(1), 1)
  await sleep(900)
  t.equal(seen.count(), 1)
})

t.test('watchConfig() tells of a change between loading and watching', async (t) => {
  const folder = t.testdir({ 'governance.yaml': 'two' })
  const loaded = createHash('sha256').update('one').digest('hex')
  const seen = start(t, join(folder, 'governance.yaml'), { ...QUICK, digest: loaded })
  t.equal(await seen.reaches(1), 1)
})

/** Inodes that the kernel tells this process about (proc(5), fdinfo of inotify). */
function watchedInodes(): number[] {
  const folder = '/proc/self/fdinfo'
  const told = readdirSync(folder).map((fd) => {
    try {
      return readFileSync(join(folder, fd), 'utf8')
    } catch {
      return '' // The one that listed the folder is gone.
    }
  })
  const found = told.join('\n').matchAll(/^inotify wd:\w+ ino:([0-9a-f]+)/gm)
  return [...found].map(([, inode]) => Number.parseInt(inode!, 16))
}

t.test(
  'watchConfig() is not woken by what else is written in the directory',
  { skip: process.platform !== 'linux' && 'only Linux tells what is watched' },
  async (t) => {
    const folder = t.testdir({ 'governance.yaml': 'one' })
    const file = join(folder, 'governance.yaml')
    const seen = start(t, file)
    const watched = watchedInodes()
    t.ok(watched.includes(statSync(file).ino), 'the file is watched')
    t.notOk(watched.includes(statSync(folder).ino), 'an audit log beside it is not')
    writeFileSync(join(folder, 'new'), 'two')
    renameSync(join(folder, 'new'), file)
    t.equal(await seen.reaches(1), 1)
    t.ok(watchedInodes().includes(statSync(file).ino), 'nor is one that took its place lost')
  },
)

t.test('close() ends it', async (t) => {
  const folder = t.testdir({ 'governance.yaml': 'one' })
  const file = join(folder, 'governance.yaml')
  const seen = start(t, file)
  seen.watcher.close()
  writeFileSync(file, 'two')
  await sleep(200)
  t.equal(seen.count(), 0)
})

t.test('watchConfig() tells of a secret file that changed, once', async (t) => {
  const folder = t.testdir({ 'governance.yaml': 'one', secrets: { a: 'old', b: 'old' } })
  const [file, a, b] = ['governance.yaml', 'secrets/a', 'secrets/b'].map((name) =>
    join(folder, name),
  )
  const told: string[] = []
  const watcher = watchConfig(file!, (what) => told.push(what), { ...QUICK, secretFiles: [a!] })
  t.teardown(() => watcher.close())
  const reaches = async (count: number) => {
    const until = AbortSignal.timeout(10_000)
    while (told.length < count && !until.aborted) await sleep(20)
    return [...told]
  }
  writeFileSync(b!, 'not followed yet')
  writeFileSync(a!, 'new')
  t.strictSame(await reaches(1), ['secret'])
  unlinkSync(a!)
  await sleep(150)
  t.strictSame(told, ['secret'], 'a file that is gone is not a change')
  watcher.follow([a!, b!])
  writeFileSync(b!, 'newer')
  t.strictSame(await reaches(2), ['secret', 'secret'])
  writeFileSync(file!, 'two')
  t.strictSame(await reaches(3), ['secret', 'secret', 'file'])
  await sleep(150)
  t.equal(told.length, 3)
})
