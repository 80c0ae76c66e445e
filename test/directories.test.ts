import { statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { makeDirectories } from '../src/directories.ts'

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
