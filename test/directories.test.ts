import { statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { makeDirectories, openWithin } from '../src/directories.ts'

t.test('makeDirectories() makes what is missing, for its owner alone', async (t) => {
  const dir = t.testdir()
  makeDirectories(join(dir, 'a/b/c'))
  makeDirectories(join(dir, 'a/b/c'))
  for (const path of ['a', 'a/b', 'a/b/c']) {
    t.equal(statSync(join(dir, path)).mode & 0o777, 0o700, path)
  }
})

t.test('makeDirectories() throws where none can be made, and ends', async (t) => {
  const dir = t.testdir({ file: '' })
  symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling'))
  t.throws(() => makeDirectories('/proc/x'), { code: 'ENOENT' })
  t.throws(() => makeDirectories('/proc/x/y/z'), { code: 'ENOENT' })
  t.throws(() => makeDirectories(join(dir, 'file/a')), { code: 'ENOTDIR' })
  t.throws(() => makeDirectories(join(dir, 'dangling')), { code: 'EEXIST' })
  t.throws(() => makeDirectories(join(dir, 'a/'.repeat(40))), /more than 32 directories/)
})

function open(path: string): Database.Database {
  return openWithin(path, () => new Database(path))
}

t.test('openWithin() says why a directory cannot be looked at', async (t) => {
  const dir = t.testdir({ file: '' })
  t.throws(() => open(join(dir, 'missing/x.db')), { code: 'ENOENT', message: /missing/ })
  t.throws(() => open(join(dir, 'file/sub/x.db')), { code: 'ENOTDIR', message: /file/ })
  t.throws(() => open(join(dir, 'x'.repeat(300), 'x.db')), { code: 'ENAMETOOLONG' })
  open(join(dir, 'x.db')).close()
})

t.test(
  'openWithin() takes a fault that is over for none, and other errors for theirs',
  async (t) => {
    const path = join(t.testdir(), 'x.db')
    let tries = 0
    const opened = openWithin(path, () => {
      if (++tries > 1) return 'opened'
      throw new TypeError('Cannot open database because the directory does not exist')
    })
    t.strictSame([opened, tries], ['opened', 2])
    t.throws(() => openWithin(path, () => new Database('')['nothing' as 'exec']('')), TypeError)
  },
)

t.test('openWithin() says why a file cannot be opened, where SQLite does not', async (t) => {
  const path = join(t.testdir(), 'a.db')
  symlinkSync(path, path)
  t.throws(() => openWithin(path, () => new Database(path)), { code: 'ELOOP', message: path })
})
