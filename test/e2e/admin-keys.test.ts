import { mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { chat, send } from '../support/client.ts'
import { configText, InProcess, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: what the admin API says of a key is what holds for its calls. */

function post(site: InProcess, path: string, body?: object) {
  const own = body === undefined ? {} : { body }
  return send(site.adminUrl, { key: site.key, method: 'POST', path: `/admin/v1${path}`, ...own })
}

const idOf = (key: string) => key.split('.')[0]!

t.test('admin API: nothing is said to be done to keys that cannot be written', async (t) => {
  const keys = '{ store: file, path: mounted/keys.yaml }'
  const site = new InProcess(t.testdir(), configText({ keys }))
  site.key = await site.createKey('root', ['admin'])
  const victim = await site.createKey('victim')
  // As Kubernetes mounts a Secret.
  const folder = join(site.directory, 'mounted')
  mkdirSync(join(folder, '..first'))
  renameSync(site.keysPath, join(folder, '..first/keys.yaml'))
  symlinkSync('..first', join(folder, '..data'))
  symlinkSync('..data/keys.yaml', site.keysPath)
  await site.open()
  t.teardown(() => site.governor.stop(0))
  for (const [path, body] of [
    [`/keys/${idOf(victim)}/revoke`, undefined],
    [`/keys/${idOf(victim)}/rotate`, {}],
    ['/keys', { name: 'another' }],
  ] as const) {
    const refused = await post(site, path, body)
    t.strictSame([refused.status, refused.json.error?.code], [409, 'ADMIN_CONFLICT'], path)
    t.match(refused.text, /cannot be written to from here/)
  }
  t.equal((await site.send({ key: victim, body: chat('hi') })).status, 200)
})

t.test('admin API: a revocation is of the file of keys that is there now', async (t) => {
  const site = await startGovernor(t)
  site.key = await site.createKey('root', ['admin'])
  const victim = await site.createKey('victim')
  t.equal((await post(site, '/keys', { name: 'before' })).status, 201)
  const restored = join(site.directory, 'restored.db')
  const db = new Database(site.keysPath)
  await db.backup(restored)
  db.close()
  for (const suffix of ['-wal', '-shm']) {
    renameSync(site.keysPath + suffix, `${restored}.old${suffix}`)
  }
  renameSync(restored, site.keysPath)
  const revoked = await post(site, `/keys/${idOf(victim)}/revoke`)
  t.equal(revoked.status, 200, revoked.text)
  await until(
    'the key to end',
    async () => (await site.send({ key: victim, body: chat('hi') })).status === 401,
  )
})

t.test('a secret that had expired stays shut when its key gets another', async (t) => {
  const site = await startGovernor(t)
  site.key = await site.createKey('root', ['admin'])
  const made = await post(site, '/keys', { name: 'old', expires_in: '1ms' })
  const { key } = made.json as unknown as { key: string }
  const call = { body: chat('hi') }
  t.equal((await site.send({ key, ...call })).status, 401)
  const rotated = await post(site, `/keys/${idOf(key)}/rotate`, { expires_in: '90d' })
  t.match(rotated.json, { record: { state: 'active', former_until: null } })
  const { key: next } = rotated.json as unknown as { key: string }
  t.equal((await site.send({ key: next, ...call })).status, 200)
  t.equal((await site.send({ key, ...call })).status, 401)
})
