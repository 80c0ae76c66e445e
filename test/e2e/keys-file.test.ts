import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'

import t from 'tap'

import { keyRow } from '../../src/auth/key-file-row.ts'
import { generateKey } from '../../src/auth/key.ts'
import { keyRecord } from '../support/key-record.ts'
import { configText, InProcess, ROOT } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: keys of a Secret, made by commands, hot. */

const row = () => `  - ${keyRow(keyRecord({ keyId: generateKey().keyId }))}\n`

const models = { method: 'GET', path: '/v1/models' } as const

t.test(
  'a key made in a file opens; the Secret it is carried to is taken while calls run',
  async (t) => {
    const site = new InProcess(
      t.testdir(),
      configText({ keys: '{ store: file, path: keys.yaml }' }),
    )
    const none = await site.cli('run')
    t.strictSame(
      [none.code, /there is none, make it with governor keys create/.test(none.stderr)],
      [2, true],
    )
    const made = await site.cli('keys', 'create', '--tenant=acme', '--name=ci', '--role=dev')
    t.equal(made.code, 0, made.stdout)
    const key = made.stdout.trim().split('\n').at(-1)!
    const keyId = key.split('.')[0]!
    await site.open()
    t.teardown(() => site.governor.stop(0))
    t.equal((await site.send({ key, ...models })).status, 200)
    const rotated = await site.cli('keys', 'rotate', keyId)
    const next = rotated.stdout.trim().split('\n').at(-1)!
    await until(
      'the new secret',
      async () => (await site.send({ key: next, ...models })).status === 200,
    )
    t.equal((await site.send({ key, ...models })).status, 200)
    t.equal((await site.cli('keys', 'revoke', keyId)).code, 0)
    await until('a 401', async () => (await site.send({ key, ...models })).status === 401)
    const before = await site.cli('keys', 'list')
    t.match(before.stdout, new RegExp(`^${keyId}  revoked   acme  ci  dev  last use unknown\n$`))
    await site.governor.stop(0)
    const listed = await site.cli('keys', 'list')
    t.match(listed.stdout, new RegExp(`^${keyId}  revoked   acme  ci  dev  used \\S+Z\n$`))
  },
)

t.test('where the file is mounted, commands print the line to put there', async (t) => {
  const directory = t.testdir({})
  mkdirSync(join(directory, 'secret', '..1'), { recursive: true })
  const secret = (name: string) => join(directory, 'secret', name)
  writeFileSync(secret('..1/keys.yaml'), 'keys: []\n')
  symlinkSync('..1', secret('..data'))
  symlinkSync('..data/keys.yaml', secret('keys.yaml'))
  const keys = '{ store: file, path: ../secret/keys.yaml }'
  const site = new InProcess(join(directory, 'site'), configText({ keys }))
  await site.open()
  t.teardown(() => site.governor.stop(0))
  const made = await site.cli('keys', 'create', '--tenant=acme', '--name=ci')
  t.equal(made.code, 0, made.stdout)
  const key = made.stdout.trim().split('\n').at(-1)!
  const row = made.stdout.split('\n').find((line) => line.startsWith('  - {'))!
  t.equal((await site.send({ key, ...models })).status, 401, 'not yet')
  mkdirSync(secret('..2'))
  writeFileSync(secret('..2/keys.yaml'), `keys:\n${row}\n`)
  symlinkSync('..2', secret('..data_tmp'))
  renameSync(secret('..data_tmp'), secret('..data'))
  await until('the key to open', async () => (await site.send({ key, ...models })).status === 200)
  const revoked = await site.cli('keys', 'revoke', key.split('.')[0]!)
  t.equal(revoked.code, 1)
  t.match(revoked.stdout, /"revoked_at":"[^"]+"\}\nKey \S+ opens until that line is there\.\n$/)
})

t.test('no key is lost where a new file of keys has no room', async (t) => {
  const site = new InProcess(t.testdir(), configText({ keys: '{ store: file, path: keys.yaml }' }))
  const text = `keys:\n${Array.from({ length: 15_000 }, row).join('')}`
  writeFileSync(site.keysPath, text)
  // A file ends at 2,048 blocks of 512 or 1,024 bytes: a write before that is cut short, not refused.
  const create = [join(ROOT, 'src/main.ts'), 'keys', 'create', '--config', site.file]
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', 'ulimit -f 2048; exec "$0" "$@"', execPath, ...create, '--tenant=acme', '--name=ci'],
    { encoding: 'utf8', env: { UPSTREAM_KEY: 'sk-none' } },
  )
  t.equal(status, 2, stdout + stderr)
  t.match(stdout + stderr, /EFBIG/)
  t.ok(readFileSync(site.keysPath, 'utf8') === text, 'the file is as it was')
  t.notOk(existsSync(`${site.keysPath}.new`))
})
