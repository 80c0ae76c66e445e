import { once } from 'node:events'
import { mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
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

t.test('a key for some upstreams makes, renews and ends none for others', async (t) => {
  const site = await startGovernor(t)
  site.key = await site.createKey('root', ['admin'])
  const spec = { name: 'narrow', roles: ['operator'], upstreams: ['up'] }
  const { key } = (await post(site, '/keys', spec)).json as unknown as { key: string }
  const wide = await site.createKey('wide')
  site.key = key
  for (const [path, body] of [
    ['/keys', { name: 'all' }],
    ['/keys', { name: 'more', upstreams: ['up', 'other'] }],
    [`/keys/${idOf(wide)}/rotate`, {}],
    [`/keys/${idOf(wide)}/revoke`, undefined],
  ] as const) {
    const refused = await post(site, path, body)
    t.strictSame(
      [refused.status, refused.json.error?.['code'], refused.json.error?.['param']],
      [403, 'ADMIN_FORBIDDEN', '/upstreams'],
      path,
    )
  }
  t.equal((await post(site, '/keys', { name: 'same', upstreams: ['up'] })).status, 201)
})

t.test('admin API: a tenant that sends slowly keeps nobody else waiting', async (t) => {
  const site = await startGovernor(t)
  const admin = await site.createKey('root', ['admin', 'fleet'])
  const slow = await site.createKey('slow', ['operator'], 'globex')
  const sockets = Array.from({ length: 16 }, () => {
    const socket = connect(Number(new URL(site.adminUrl).port), '127.0.0.1')
    t.teardown(() => socket.destroy())
    return socket
  })
  const { host } = new URL(site.adminUrl)
  const head = [
    'POST /admin/v1/keys HTTP/1.1',
    `host: ${host}`,
    `authorization: Bearer ${slow}`,
    'content-type: application/json',
    'content-length: 10',
  ]
  const refused = sockets.map(async (socket) => {
    socket.write(`${head.join('\r\n')}\r\n\r\n{`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    return answer.toString().split('\r\n')[0]
  })
  // Eight are read until they are too late; the rest is refused at once.
  const seen: unknown[] = []
  for (const each of refused)
    void each.then(
      (line) => seen.push(line),
      () => {},
    )
  await until('those beyond eight to be refused', () => seen.length >= 8)
  t.strictSame(new Set(seen.slice(0, 8)), new Set(['HTTP/1.1 429 Too Many Requests']))
  site.key = admin
  t.equal((await post(site, `/keys/${idOf(slow)}/revoke`)).status, 200)
})
