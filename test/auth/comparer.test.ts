import { readdirSync, readFileSync } from 'node:fs'
import process from 'node:process'

import bcrypt from 'bcrypt'
import t from 'tap'

import { Comparer } from '../../src/auth/comparer.ts'

/** The niceness of every thread of this process (proc(5), field 19 of stat). */
function niceness(): number[] {
  return readdirSync('/proc/self/task').map((thread) => {
    const [, rest = ''] = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').split(') ')
    return Number(rest.split(' ')[16])
  })
}

t.test('guessed secrets are compared aside, right and wrong ones as before', async (t) => {
  const hash = await bcrypt.hash('right', 4)
  const comparer = new Comparer()
  t.equal(await comparer.compare('right', hash, 0), true)
  for (let count = 0; count < 3; count++) comparer.noteWrong(0)
  t.equal(comparer.isGuessed(0), false, 'three people may mistype')
  t.equal(await comparer.compare('wrong', hash, 0), false)
  t.equal(comparer.hasThread, false)
  comparer.noteWrong(0)
  t.equal(comparer.isGuessed(0), true)
  const secrets = ['right', 'wrong', '', 'right\0', 'r'.repeat(100), 'right']
  const answers = await Promise.all(secrets.map((secret) => comparer.compare(secret, hash, 0)))
  t.strictSame(answers, [true, false, false, false, false, true])
  t.equal(await comparer.compare('right', 'no hash at all', 0), false)
  t.equal(await comparer.compare('right', hash.replace('2b', '2y'), 0), true)
  t.equal(comparer.hasThread, true)
  if (process.platform === 'linux') {
    const [own] = niceness()
    const others = niceness().filter((each) => each !== own)
    t.equal(others.length, 1, 'one thread gives way to all others')
    t.ok(others[0]! > own!)
  }
  t.equal(comparer.isGuessed(10_000), false, 'it is forgotten')
})
