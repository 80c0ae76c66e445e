import { existsSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { configText, Site } from '../support/start-governor.ts'

/** Goal: commands name the file and the key they fail on, and looking changes nothing. */

t.test('keys list and keys revoke make no store', async (t) => {
  const site = new Site(t.testdir(), configText())
  const listed = await site.cli('keys', 'list')
  t.strictSame([listed.code, listed.stdout.startsWith('No keys yet.')], [0, true])
  t.strictSame(await site.cli('keys', 'list', '--json'), { code: 0, stdout: '', stderr: '' })
  const revoked = await site.cli('keys', 'revoke', 'nobody')
  t.equal(revoked.code, 1)
  t.equal(
    revoked.stdout,
    `No key nobody: there is no key store ${site.keysPath} (auth.keys.path)\n`,
  )
  t.notOk(existsSync(site.keysPath))
  t.notOk(existsSync(site.auditPath))
})

t.test('a place that cannot be looked at is not taken for an empty one', async (t) => {
  const folder = t.testdir({ data: t.fixture('symlink', 'data') })
  const keys = '{ store: sqlite, path: data/keys.db }'
  const site = new Site(folder, configText({ keys, audit: '{ path: data/audit.db }' }))
  const listed = await site.cli('keys', 'list')
  t.strictSame([listed.code, listed.stdout], [2, ''])
  t.match(listed.stderr, /^Cannot use the key store .*\/data\/keys\.db \(auth\.keys\.path\): /)
  const tailed = await site.cli('audit', 'tail')
  t.strictSame([tailed.code, tailed.stdout], [2, ''])
  t.equal(tailed.stderr, `Cannot look for the audit log in ${join(folder, 'data')}: ELOOP\n`)
})

t.test('keys revoke prints its argument escaped, and never a secret', async (t) => {
  const site = new Site(t.testdir(), configText())
  const key = await site.createKey()
  const hostile = await site.cli('keys', 'revoke', 'x\u001b[2J\nevil')
  t.strictSame([hostile.code, hostile.stdout], [1, 'No key x\\u001b[2J\\u000aevil\n'])
  const pasted = await site.cli('keys', 'revoke', key)
  t.strictSame([pasted.code, pasted.stdout], [1, `No key ${key.split('.')[0]}\n`])
})

t.test('keys create refuses a key that would never live', async (t) => {
  const site = new Site(t.testdir(), configText())
  for (const expires of ['0d', '0ms', '36526d', '-1d', '9999999999d']) {
    const made = await site.cli('keys', 'create', '--tenant=a', '--name=b', `--expires=${expires}`)
    t.strictSame([made.code, made.stdout], [2, ''], expires)
    t.match(made.stderr, '--expires')
  }
  t.notOk(existsSync(site.keysPath))
})

const GARBAGE = 'garbage, and enough of it that it is not taken for an empty file'

t.test('commands name the file that is no database, and its key', async (t) => {
  const folder = t.testdir({
    'broken.db': GARBAGE,
    'folder.db': {},
    proper: {},
  })
  for (const [path, why] of [
    ['../broken.db', 'file is not a database'],
    ['../folder.db', 'EISDIR'],
    ['/proc/x/audit.db', 'ENOENT'],
  ] as const) {
    const audit = `{ path: '${path}' }`
    const site = new Site(join(folder, 'proper'), configText({ audit }))
    for (const command of [['run'], ['keys', 'create', '--tenant=a', '--name=b']]) {
      const ran = await site.cli(...command)
      t.equal(ran.code, 2, `${command.join(' ')} with ${path}`)
      const said = ran.stderr
      t.equal(ran.stdout, '')
      t.ok(said.includes(`${site.auditPath} (audit.path)`), said)
      t.match(said, why)
    }
  }
})

t.test('commands name the key store that is no database', async (t) => {
  const folder = t.testdir({ 'keys.db': GARBAGE })
  const site = new Site(folder, configText())
  for (const command of [['run'], ['keys', 'list'], ['keys', 'revoke', 'x']]) {
    const ran = await site.cli(...command)
    t.equal(ran.code, 2, command.join(' '))
    t.match(
      ran.stderr,
      `Cannot use the key store ${site.keysPath} (auth.keys.path): file is not a database\n`,
    )
  }
})

t.test('a key store of a newer version is left alone, and the way out said', async (t) => {
  const site = new Site(t.testdir(), configText())
  await site.createKey()
  const db = new Database(site.keysPath)
  db.pragma('user_version = 9')
  db.close()
  for (const command of [['run'], ['keys', 'list'], ['keys', 'revoke', 'x']]) {
    const ran = await site.cli(...command)
    t.equal(ran.code, 2, command.join(' '))
    t.match(
      ran.stdout + ran.stderr,
      `Cannot open ${site.keysPath}: it was written by a newer Governor (schema 9, this one knows 2). Use that version, or another auth.keys.path\n`,
    )
  }
})

t.test(
  'keys rotate gives a key another secret, and the former one opens for a while',
  async (t) => {
    const site = new Site(t.testdir(), configText())
    const key = await site.createKey()
    const [keyId = ''] = key.split('.')
    const rotated = await site.cli('keys', 'rotate', keyId, '--overlap=1h')
    t.equal(rotated.code, 0, rotated.stdout)
    const next = rotated.stdout.trim().split('\n').at(-1)!
    t.match(next, new RegExp(`^${keyId}\\.[A-Za-z0-9_-]{43}$`))
    t.not(next, key)
    t.match(rotated.stdout, /The former secret opens until \d{4}-/)
    const listed = await site.cli('keys', 'list')
    t.match(listed.stdout, new RegExp(`^${keyId}  rotating  acme  test  -  never used\n$`))
    const json = await site.cli('keys', 'list', '--json')
    t.notMatch(json.stdout, /hash|\$2b/, 'no hash is shown')
    t.strictSame(await site.cli('keys', 'list', '--tenant=other', '--json'), {
      code: 0,
      stdout: '',
      stderr: '',
    })
    const at = await site.cli('keys', 'rotate', keyId, '--overlap=0s')
    t.match(at.stdout, 'The former secret opens nothing any more')
    t.equal((await site.cli('keys', 'revoke', keyId)).code, 0)
    const late = await site.cli('keys', 'rotate', keyId)
    t.strictSame(
      [late.code, late.stdout],
      [1, `Key ${keyId} was revoked: make another with governor keys create\n`],
    )
    t.strictSame(
      site
        .entries()
        .filter(({ kind }) => kind === 'admin')
        .map(({ body }) => body['action']),
      ['keys.create', 'keys.rotate', 'keys.rotate', 'keys.revoke'],
    )
    const wrong = await site.cli('keys', 'rotate', keyId, '--overlap=31d')
    t.strictSame([wrong.code, wrong.stdout], [2, ''])
    t.match(wrong.stderr, 'Expected 0s to 30d')
  },
)

t.test('keys create refuses an upstream that there is not', async (t) => {
  const site = new Site(t.testdir(), configText())
  const made = await site.cli('keys', 'create', '--tenant=a', '--name=b', '--upstream=down')
  t.strictSame(
    [made.code, made.stdout, made.stderr],
    [2, '', 'Cannot take --upstream "down": the configuration has up\n'],
  )
})
