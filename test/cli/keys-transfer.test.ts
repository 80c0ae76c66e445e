import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { configText, Site } from '../support/start-governor.ts'

/** Goal: keys move between stores with their hashes, and nothing is overwritten. */

t.test('keys go from one store to another, as often as one likes', async (t) => {
  const folder = t.testdir({})
  const one = new Site(join(folder, 'one'), configText())
  const [key, other] = [await one.createKey('first'), await one.createKey('second')]
  await one.cli('keys', 'create', '--tenant=other', '--name=theirs')
  const exported = await one.cli('keys', 'export', '--tenant=acme')
  t.equal(exported.code, 0)
  t.match(exported.stdout, /^keys:\n( {2}- \{"key_id":.*\}\n){2}$/)
  t.notMatch(exported.stdout, key.split('.')[1]!)
  const file = join(folder, 'exported.yaml')
  writeFileSync(file, exported.stdout)

  const two = new Site(join(folder, 'two'), configText())
  const three = new Site(
    join(folder, 'three'),
    configText({ keys: '{ store: file, path: k.yaml }' }),
  )
  for (const site of [two, three]) {
    const first = await site.cli('keys', 'import', file)
    t.strictSame(
      [first.code, first.stdout],
      [0, `2 added, 0 there already, 0 in conflict: ${site.keysPath}\n`],
    )
    const again = await site.cli('keys', 'import', file)
    t.match(again.stdout, /^0 added, 2 there already, 0 in conflict/)
    t.equal((await site.cli('keys', 'export')).stdout, exported.stdout)
  }
  const revokedId = other.split('.')[0]!
  await two.cli('keys', 'revoke', revokedId)
  const conflict = await two.cli('keys', 'import', file)
  t.equal(conflict.code, 1)
  t.match(
    conflict.stdout,
    `conflict ${revokedId}: it is there with another content, which stays\n0 added, 1 there already, 1 in conflict`,
  )
  t.match((await two.cli('keys', 'list')).stdout, `${revokedId}  revoked`)
  t.strictSame(
    two
      .entries()
      .filter(({ kind }) => kind === 'admin')
      .map(({ body }) => body['action']),
    ['keys.import', 'keys.import', 'keys.export', 'keys.revoke', 'keys.import'],
  )
})

t.test('keys import says what it cannot take, and takes none of it', async (t) => {
  const site = new Site(t.testdir(), configText())
  const none = await site.cli('keys', 'import', '/nowhere.yaml')
  t.equal(none.code, 2)
  t.match(none.stderr, 'Cannot read /nowhere.yaml: ENOENT')
  const file = join(site.directory, 'bad.yaml')
  writeFileSync(file, `keys:\n  - { key_id: x, tenant: a, name: b, hash: plain }\n`)
  const bad = await site.cli('keys', 'import', file)
  t.strictSame(
    [bad.code, bad.stdout, bad.stderr],
    [2, '', 'Nothing was changed: 2:5 Expected key_id: what stands before the dot in a key\n'],
  )
  t.match((await site.cli('keys', 'list')).stdout, /^No keys yet/)
})
