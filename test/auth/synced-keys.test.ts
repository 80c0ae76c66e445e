import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import bcrypt from 'bcrypt'
import Database from 'better-sqlite3'
import { Client } from 'pg'
import t, { type Test } from 'tap'

import { migrateKeys } from '../../src/auth/key-migrate.ts'
import { KeyRing } from '../../src/auth/key-ring.ts'
import { PostgresKeyStore } from '../../src/auth/key-store-postgres.ts'
import { SqliteKeyStore } from '../../src/auth/key-store-sqlite.ts'
import { type SyncOptions, SyncedKeys } from '../../src/auth/synced-keys.ts'
import type { GovernorError } from '../../src/errors.ts'
import { createLog } from '../../src/log.ts'
import { keyRecord } from '../support/key-record.ts'
import { freshDatabase, type PostgresServer, runSql, startPostgres } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

/** Goal: a sidecar knows what PostgreSQL knows within a second, and goes on while that is away. */

const DAY_MS = 86_400_000

function optionsFor(t: Test, url: string, given: Partial<SyncOptions> = {}) {
  const lines: string[] = []
  const log = createLog('debug', { write: (line) => void lines.push(line) })
  const path = join(t.testdir(), 'copy.db')
  return { options: { url, directUrl: null, path, maxStaleMs: DAY_MS, log, ...given }, lines }
}

async function follow(t: Test, options: SyncOptions): Promise<SyncedKeys> {
  const keys = await SyncedKeys.open(options)
  t.teardown(() => keys.close())
  return keys
}

/** A database with tables for keys, and a hand that changes them. */
async function fresh(t: Test, at?: string) {
  const url = at ?? (await freshDatabase(t))
  await migrateKeys(url)
  const store = await PostgresKeyStore.open(url)
  t.teardown(() => store.close())
  return { url, store }
}

for (const direct of [false, true]) {
  t.test(`changes are seen, ${direct ? 'told' : 'asked for'}`, async (t) => {
    const { url, store } = await fresh(t)
    const before = keyRecord({ labels: { tier: 'gold' } })
    await store.create(before)
    const { options } = optionsFor(t, url, { directUrl: direct ? url : null })
    const keys = await follow(t, options)
    t.strictSame(keys.find(before.keyId), before)
    t.equal(keys.isCurrent, true)
    t.equal(keys.fault, null)
    const version = keys.version()
    const after = keyRecord()
    await store.create(after)
    await until('the new key', () => keys.find(after.keyId))
    t.not(keys.version(), version)
    await store.revoke(before.keyId, 5)
    await until('the revocation', () => keys.find(before.keyId)?.revokedAtMs === 5)
    await keys.used(new Map([[after.keyId, 9]]))
    await keys.used(new Map([[after.keyId, 7]]))
    t.equal((await store.get(after.keyId))?.lastUsedAtMs, 9)
    t.equal(statSync(options.path).mode & 0o777, 0o600)
  })
}

t.test('changes of many transactions at once are all seen', async (t) => {
  const { url, store } = await fresh(t)
  const keys = await follow(t, optionsFor(t, url).options)
  const others = await Promise.all(Array.from({ length: 4 }, () => PostgresKeyStore.open(url)))
  t.teardown(() => Promise.all(others.map((each) => each.close())))
  const records = Array.from({ length: 80 }, () => keyRecord())
  await Promise.all(records.map((record, index) => others[index % 4]!.create(record)))
  await store.add(Array.from({ length: 2500 }, () => keyRecord()))
  const last = keyRecord()
  await store.create(last)
  await until('the last', () => keys.find(last.keyId))
  t.strictSame(
    records.filter(({ keyId }) => keys.find(keyId) === null),
    [],
  )
})

t.test('keys are not deleted, not even by hand', async (t) => {
  const { url } = await fresh(t)
  await t.rejects(runSql(url, 'DELETE FROM governor_keys.keys'), /revoked, not deleted/)
  await t.rejects(runSql(url, 'TRUNCATE governor_keys.keys'), /revoked, not deleted/)
})

t.test('a change made by hand is seen as well', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const keys = await follow(t, optionsFor(t, url).options)
  await runSql(url, `UPDATE governor_keys.keys SET revoked_at_ms = 1, changed_at = 'epoch'`)
  await until('the revocation', () => keys.find(key.keyId)?.revokedAtMs === 1)
})

t.test('a sidecar starts and goes on while the server is killed, and catches up', async (t) => {
  const server = await startPostgres(t)
  const { url, store } = await fresh(t, server.url)
  const key = keyRecord()
  await store.create(key)
  const { options, lines } = optionsFor(t, url)
  const first = await follow(t, options)
  await server.kill()
  await until('the loss to be said', () => lines.some((line) => line.includes('Cannot follow')))
  t.strictSame(first.find(key.keyId), key)
  await until('it not to be current', () => !first.isCurrent)
  await first.close()

  const again = await follow(t, options)
  t.strictSame(again.find(key.keyId), key, 'from the copy')
  t.equal(again.fault, null)
  await server.start()
  const writer = await PostgresKeyStore.open(url)
  t.teardown(() => writer.close())
  await writer.revoke(key.keyId, 5)
  await until('the revocation', () => again.find(key.keyId)?.revokedAtMs === 5)
  t.ok(lines.some((line) => line.includes('followed again')))
})

t.test('a paused server holds up nothing, and is followed again', async (t) => {
  const server: PostgresServer = await startPostgres(t)
  const { url, store } = await fresh(t, server.url)
  const key = keyRecord()
  await store.create(key)
  const { options, lines } = optionsFor(t, url)
  const keys = await follow(t, options)
  server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  await until('the loss to be said', () => lines.some((line) => line.includes('Cannot follow')))
  t.strictSame(keys.find(key.keyId), key)
  const closing = await follow(t, { ...options, path: `${options.path}2`, maxStaleMs: 1 })
  await closing.close()
  t.pass('closing waits for nobody')
  server.signal('SIGCONT')
  await store.revoke(key.keyId, 5).catch(() => store.revoke(key.keyId, 5))
  await until('the revocation', () => keys.find(key.keyId)?.revokedAtMs === 5)
})

const SLOW = { firstMs: 100, mostMs: 60_000, directRetryMs: 60_000 }

t.test('a server that is slow to connect to and to answer is followed, slowly', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const { proxy, url: through } = await TcpProxy.to(t, url)
  proxy.delayMs = 150
  const { options } = optionsFor(t, through, { times: SLOW })
  const keys = await follow(t, options)
  await until('the key', () => keys.fault === null && keys.find(key.keyId))
  await store.revoke(key.keyId, 5)
  await until('the revocation', () => keys.find(key.keyId)?.revokedAtMs === 5)
  t.equal(keys.isCurrent, true)
  // Slower than ever while it is followed.
  proxy.delayMs = 1_000
  const after = keyRecord()
  await store.create(after)
  await until('the new key', () => keys.find(after.keyId), 60_000)
  proxy.delayMs = 60_000
  await keys.close()
  t.pass('closing waits for nobody')
})

t.test('nobody is told that a key is wrong before the server was asked', async (t) => {
  const { url, store } = await fresh(t)
  const { proxy, url: through } = await TcpProxy.to(t, url)
  const { options } = optionsFor(t, through, { directUrl: through })
  const ring = new KeyRing(await follow(t, options))
  const secret = 'a'.repeat(43)
  const hash = await bcrypt.hash(secret, 4)
  const verify = async ({ keyId }: { readonly keyId: string }) =>
    Promise.resolve()
      .then(() => ring.verify(keyId, secret, 5))
      .then(
        (record) => record?.name ?? 'wrong',
        (error: GovernorError) => error.code,
      )
  await until('it to answer', async () => (await verify(keyRecord())) === 'wrong')
  proxy.silent = true
  const key = keyRecord({ hash, name: 'made meanwhile' })
  await store.create(key)
  await until('a second to be over', async () => (await verify(key)) === 'AUTH_UNAVAILABLE')
  for (let index = 0; index < 3; index++) t.equal(await verify(key), 'AUTH_UNAVAILABLE')
  proxy.silent = false
  proxy.cutAll()
  const said = new Set<string>()
  await until('the key', async () => said.add(await verify(key)).has('made meanwhile'))
  t.notOk(said.has('wrong'))
})

t.test('keys that trickle in arrive, however much longer than an answer may take', async (t) => {
  const { url, store } = await fresh(t)
  await store.add(Array.from({ length: 1100 }, () => keyRecord()))
  const last = keyRecord()
  await store.create(last)
  const { proxy, url: through } = await TcpProxy.to(t, url)
  proxy.bytesPerTick = 4096
  const keys = await follow(t, optionsFor(t, through, { times: SLOW }).options)
  await until('the last', () => keys.fault === null && keys.find(last.keyId), 60_000)
  t.equal(keys.isCurrent, true)
})

t.test('a direct URL that leads nowhere holds up nothing, and is used once it does', async (t) => {
  const { url, store } = await fresh(t)
  const { proxy, url: directUrl } = await TcpProxy.to(t, url)
  proxy.silent = true
  const given = { directUrl, times: { ...SLOW, directRetryMs: 300 } }
  const { options, lines } = optionsFor(t, url, given)
  const keys = await follow(t, options)
  const tries = () => lines.filter((line) => line.includes('direct_url')).length
  let wasCurrent = true
  await until('it to be tried again', () => {
    wasCurrent &&= keys.isCurrent
    return tries() > 2
  })
  t.equal(wasCurrent, true, 'meanwhile the other URL is asked')
  proxy.silent = false
  const open = `SELECT 1 FROM pg_stat_activity
    WHERE application_name = 'governor keys' AND datname = current_database()`
  // Its own, and the one of `store`.
  await until('nothing else to be open', async () => {
    return proxy.isOpen && (await runSql(url, open)).length === 2
  })
  const key = keyRecord()
  await store.create(key)
  await until('the key', () => keys.find(key.keyId))
  t.equal(keys.isCurrent, true)
})

t.test('keys are followed while others hold what last uses are written to', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const keys = await follow(t, optionsFor(t, url).options)
  await keys.used(new Map([[key.keyId, 1]]))
  const other = new Client({ connectionString: url })
  await other.connect()
  t.teardown(() => other.end())
  await other.query('BEGIN')
  await other.query('UPDATE governor_keys.uses SET last_used_at_ms = 2')
  await t.rejects(keys.used(new Map([[key.keyId, 3]])), /lock timeout/)
  t.equal(keys.isCurrent, true)
  await store.revoke(key.keyId, 5)
  await until('the revocation', () => keys.find(key.keyId)?.revokedAtMs === 5)
  await other.query('ROLLBACK')
  await keys.used(new Map([[key.keyId, 3]]))
  t.equal((await store.get(key.keyId))?.lastUsedAtMs, 3)
})

t.test('a change that the disk did not take is asked for again', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const { options, lines } = optionsFor(t, url)
  const keys = await follow(t, options)
  const other = new Database(options.path)
  t.teardown(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  await store.revoke(key.keyId, 5)
  await until('that to be said', () => lines.some((line) => line.includes('database is locked')))
  t.equal(keys.find(key.keyId)?.revokedAtMs, null)
  other.exec('ROLLBACK')
  await until('the revocation', () => keys.find(key.keyId)?.revokedAtMs === 5)
})

t.test('a copy that was not compared for too long opens nothing, but refuses nobody', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const { proxy, url: through } = await TcpProxy.to(t, url)
  const keys = await follow(t, optionsFor(t, through, { maxStaleMs: 3_000 }).options)
  await until('the key', () => keys.find(key.keyId))
  proxy.silent = true
  proxy.cutAll()
  await until('the copy to be too old', () => keys.fault)
  t.throws(() => keys.find(key.keyId), /too old/)
  t.throws(() => keys.find(keyRecord().keyId), /too old/)
  t.equal(keys.version(), 'stale')
  proxy.silent = false
  proxy.cutAll()
  await until('it to be followed again', () => keys.fault === null)
  t.strictSame(keys.find(key.keyId), key)
})

t.test('a server that comes back empty takes no key away', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const { options, lines } = optionsFor(t, url)
  const keys = await follow(t, options)
  await runSql(url, 'DROP SCHEMA governor_keys CASCADE')
  await until('that to be said', () => lines.some((line) => line.includes('does not exist')))
  t.strictSame(keys.find(key.keyId), key)
  await migrateKeys(url)
  await until('that to be said', () => lines.some((line) => line.includes('another store')))
  t.strictSame(keys.find(key.keyId), key)
  await keys.close()
  const again = await follow(t, options)
  t.strictSame(again.find(key.keyId), key, 'and none at the next start')
})

t.test('a server restored from a backup is read whole again', async (t) => {
  const { url, store } = await fresh(t)
  const [one, two] = [keyRecord(), keyRecord()]
  await store.create(one)
  const { options, lines } = optionsFor(t, url)
  const keys = await follow(t, options)
  await store.create(two)
  await until('the second key', () => keys.find(two.keyId))
  await keys.close()
  await runSql(
    url,
    `ALTER TABLE governor_keys.keys DISABLE TRIGGER ALL;
     DELETE FROM governor_keys.keys WHERE key_id = '${two.keyId}';
     ALTER TABLE governor_keys.keys ENABLE TRIGGER ALL`,
  )
  const again = await follow(t, options)
  t.strictSame([again.find(one.keyId)?.keyId, again.find(two.keyId)], [one.keyId, null])
  t.ok(lines.some((line) => line.includes('older than its copy')))
})

t.test('a replica that takes over has the last word, whatever it lacks', async (t) => {
  const server = await startPostgres(t)
  const { url, store } = await fresh(t, server.url)
  const [kept, lost, later] = [keyRecord(), keyRecord(), keyRecord()]
  await store.create(kept)
  await store.close()
  await server.stop()
  server.copyToReplica()
  await server.start()
  const { proxy, url: through } = await TcpProxy.to(t, url)
  const { options, lines } = optionsFor(t, through)
  const keys = await follow(t, options)
  const former = await PostgresKeyStore.open(url)
  await former.create(lost)
  await until('the key', () => keys.find(lost.keyId))
  proxy.closed = true
  proxy.cutAll()
  await former.close()
  await server.kill()
  await server.failOver()
  const promoted = await PostgresKeyStore.open(url)
  t.teardown(() => promoted.close())
  // So that it is not behind: what it lacks would go unnoticed.
  await promoted.create(later)
  t.strictSame(keys.find(lost.keyId), lost, 'until then')
  proxy.closed = false
  await until(
    'the key that nobody could revoke to be gone',
    () => keys.find(lost.keyId) === null,
    20_000,
  )
  t.strictSame([keys.find(kept.keyId), keys.find(later.keyId)], [kept, later])
  t.ok(lines.some((line) => line.includes('on another server')))
})

t.test('open() says what to do where there is nothing to go on with', async (t) => {
  const empty = await freshDatabase(t)
  const { options } = optionsFor(t, empty)
  await t.rejects(SyncedKeys.open(options), /no tables for keys: run governor migrate/)
  await t.rejects(PostgresKeyStore.open(empty), /no tables for keys: run governor migrate/)
  await migrateKeys(empty)
  await runSql(empty, 'INSERT INTO governor_keys.schema_version (version) VALUES (99)')
  await t.rejects(SyncedKeys.open(options), /newer Governor \(schema 99/)
  await t.rejects(migrateKeys(empty), /newer Governor \(schema 99/)
})

t.test('open() leaves a store of keys, and any other file, as it is', async (t) => {
  const { url } = await fresh(t)
  const { options } = optionsFor(t, url)
  await SqliteKeyStore.open(options.path).close()
  await t.rejects(SyncedKeys.open(options), /it is no copy, but something else/)
  writeFileSync(`${options.path}3`, 'garbage, and enough of it that it is not taken for nothing')
  await t.rejects(
    SyncedKeys.open({ ...options, path: `${options.path}3` }),
    /file is not a database/,
  )
})

t.test('the roles may do what they are for, and no more', async (t) => {
  const { url, store } = await fresh(t)
  const key = keyRecord()
  await store.create(key)
  const names = ['sidecar', 'key_admin'].map((role) => `test_${role}_${process.pid}`)
  await runSql(
    url,
    `CREATE ROLE ${names[0]} LOGIN IN ROLE governor_sidecar; CREATE ROLE ${names[1]} LOGIN IN ROLE governor_key_admin`,
  )
  t.teardown(() => runSql(url, names.map((name) => `DROP ROLE ${name}`).join(';')))
  const as = (name: string) => {
    const changed = new URL(url)
    changed.username = name
    return changed.href
  }
  const sidecar = await follow(
    t,
    optionsFor(t, as(names[0]!), { directUrl: as(names[0]!) }).options,
  )
  t.ok(sidecar.find(key.keyId))
  await sidecar.used(new Map([[key.keyId, 4]]))
  const reader = await PostgresKeyStore.open(as(names[0]!))
  t.teardown(() => reader.close())
  await t.rejects(reader.revoke(key.keyId, 5), /permission denied/)
  const admin = await PostgresKeyStore.open(as(names[1]!))
  t.teardown(() => admin.close())
  await admin.create(keyRecord())
  t.equal((await admin.get(key.keyId))?.lastUsedAtMs, 4)
  t.equal(await admin.revoke(key.keyId, 5), true)
  await t.rejects(
    runSql(as(names[1]!), `UPDATE governor_keys.keys SET tenant = 'x'`),
    /permission denied/,
  )
})

t.test('migrateKeys() may be run by many at once, and again', async (t) => {
  const url = await freshDatabase(t)
  const all = await Promise.all(Array.from({ length: 4 }, () => migrateKeys(url)))
  t.equal(all.filter(({ from }) => from === 0).length, 1)
  t.strictSame(await migrateKeys(url), { from: 1, to: 1, notes: [] })
})
