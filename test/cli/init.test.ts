import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { init } from '../../src/cli/init.ts'
import { loadConfig } from '../../src/load-config.ts'
import { fill, smallDisk } from '../support/small-disk.ts'

function run(file: string, force = false) {
  let output = ''
  const code = init({ file, force, write: (text) => (output += text) })
  return { code, output }
}

t.test('init() writes a file that loads', async (t) => {
  const file = join(t.testdir({}), 'governance.yaml')
  t.strictSame(run(file), {
    code: 0,
    output: `Wrote ${file}. Next: governor check --config ${file}, then governor run --dev --config ${file}\n`,
  })
  const loaded = loadConfig(file, { env: {}, forRun: true })
  t.strictSame(loaded.ok && loaded.snapshot.policies.length, 3)
})

t.test('init() replaces a file only when told to', async (t) => {
  const file = join(t.testdir({}), 'governance.yaml')
  writeFileSync(file, 'mine\n')
  t.strictSame(run(file), {
    code: 2,
    output: `Cannot write ${file}: it exists already; --force replaces it\n`,
  })
  t.equal(readFileSync(file, 'utf8'), 'mine\n')
  t.equal(run(file, true).code, 0)
  t.match(readFileSync(file, 'utf8'), /^# Governor/)
})

t.test('init() says why it cannot write', async (t) => {
  const file = join(t.testdir({}), 'none', 'governance.yaml')
  t.strictSame(run(file), {
    code: 2,
    output: `Cannot write ${file}: there is no such directory\n`,
  })
  t.strictSame(run('/dev/full', true), {
    code: 2,
    output: 'Cannot write /dev/full: the disk is full\n',
  })
})

t.test('init() leaves a full disk as it was, and the file that it should replace', async (t) => {
  const disk = smallDisk(t, '64k')
  if (disk === null) return t.pass('mounting a disk of 64 KiB takes rights that this user lacks')
  const mine = join(disk, 'mine.yaml')
  writeFileSync(mine, 'version: 1\n')
  fill(join(disk, 'zeros'))
  for (const [file, force] of [
    [join(disk, 'governance.yaml'), false],
    [mine, true],
  ] as const) {
    const output = `Cannot write ${file}: the disk is full\n`
    t.strictSame(run(file, force), { code: 2, output })
  }
  t.equal(readFileSync(mine, 'utf8'), 'version: 1\n')
  t.strictSame(new Set(readdirSync(disk)), new Set(['mine.yaml', 'zeros']))
})

t.test('init() --force keeps who may read the file', async (t) => {
  const file = join(t.testdir({ 'governance.yaml': 'mine' }), 'governance.yaml')
  chmodSync(file, 0o600)
  t.equal(run(file, true).code, 0)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.match(readFileSync(file, 'utf8'), /^# Governor/)
})
