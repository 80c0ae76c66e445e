import { writeFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t, { type Test } from 'tap'

import { migrateKeys } from '../../src/auth/key-migrate.ts'
import { FileKeyStore } from '../../src/auth/key-store-file.ts'
import { PostgresKeyStore } from '../../src/auth/key-store-postgres.ts'
import { SqliteKeyStore } from '../../src/auth/key-store-sqlite.ts'
import { allKeys, type KeyStore } from '../../src/auth/key-store.ts'
import { keyRecord } from '../support/key-record.ts'
import { freshDatabase, runSql } from '../support/postgres.ts'
import { until } from '../support/until.ts'

/** Goal: every store keeps keys alike. */

/** Opens the same store once more with each call. */
type Opener = () => Promise<KeyStore>

const STORES: Readonly<Record<string, (t: Test) => Promise<Opener>>> = {
  sqlite: async (t) => {
    const path = join(t.testdir(), 'keys.db')
    return async () => SqliteKeyStore.open(path)
  },
  file: async (t) => {
    const path = join(t.testdir(), 'keys.yaml')
    return async () => new FileKeyStore(path)
  },
  postgres: async (t) => {
    const url = await freshDatabase(t)
    await migrateKeys(url)
    return () => PostgresKeyStore.open(url)
  },
}

const FULL = keyRecord({
  user: 'it"s <\u00e9>',
  roles: ['dev', 'ops'],
  labels: { tier: 'gold' },
  upstreams: ['azure'],
  former: { hash: `$2b$10$${'b'.repeat(53)}`, untilMs: 1_800_000_000_001 },
  createdAtMs: 1_700_000_000_123,
  expiresAtMs: 1_900_000_000_000,
})

async function namesOf(store: KeyStore, tenant: string): Promise<string[]> {
  const names = []
  for await (const { name } of allKeys(store, tenant)) names.push(name)
  return names
}

for (const [kind, make] of Object.entries(STORES)) {
  const subject = async (t: Test) => {
    const open = await make(t)
    const another = async () => {
      const store = await open()
      t.teardown(() => store.close())
      return store
    }
    return { store: await another(), another }
  }

  t.test(`${kind}: keeps what was given, and another process sees it`, async (t) => {
    const { store, another } = await subject(t)
    await store.create(FULL)
    const other = await another()
    const lastUsedAtMs = kind === 'file' ? 'unknown' : null
    t.strictSame(await other.get(FULL.keyId), { ...FULL, lastUsedAtMs })
    t.equal(await other.get("x' OR '1'='1"), null)
    t.equal(await other.get(''), null)
  })

  t.test(`${kind}: a key that is there is not made again`, async (t) => {
    const { store } = await subject(t)
    await store.create(FULL)
    await t.rejects(store.create({ ...FULL, name: 'other' }), { name: 'KeyExistsError' })
    t.equal((await store.get(FULL.keyId))?.name, FULL.name)
  })

  t.test(`${kind}: lists oldest first, by tenant, page by page`, async (t) => {
    const { store } = await subject(t)
    const keys = Array.from({ length: 7 }, (_, index) =>
      keyRecord({
        name: `k${index}`,
        tenant: index % 2 === 0 ? 'even' : 'odd',
        createdAtMs: 1000 + Math.floor(index / 3),
      }),
    )
    for (const key of keys.toReversed()) await store.create(key)
    const byAge = (a: (typeof keys)[number], b: (typeof keys)[number]) =>
      a.createdAtMs - b.createdAtMs || (a.keyId < b.keyId ? -1 : 1)
    const ids = keys.toSorted(byAge).map(({ keyId }) => keyId)
    const listed: string[] = []
    let after = null
    for (;;) {
      const page = await store.list({ tenant: null, after, max: 2 })
      listed.push(...page.map(({ keyId }) => keyId))
      after = page.at(-1) ?? null
      if (page.length < 2) break
    }
    t.strictSame(listed, ids)
    t.strictSame((await namesOf(store, 'odd')).toSorted(), ['k1', 'k3', 'k5'])
    t.strictSame(await namesOf(store, 'nobody'), [])
  })

  t.test(`${kind}: revokes once, and for ever`, async (t) => {
    const { store, another } = await subject(t)
    const key = keyRecord()
    await store.create(key)
    t.equal(await store.revoke(key.keyId, 5), true)
    t.equal(await store.revoke(key.keyId, 6), false)
    t.equal(await store.revoke(FULL.keyId, 6), false)
    t.equal((await (await another()).get(key.keyId))?.revokedAtMs, 5)
    const rotation = { hash: FULL.hash, former: null, expiresAtMs: null }
    t.equal(
      await store.rotate(key.keyId, key.hash, rotation),
      false,
      'a revoked key has no more secrets',
    )
  })

  t.test(`${kind}: of two rotations at once one wins`, async (t) => {
    const { store, another } = await subject(t)
    const key = keyRecord({ expiresAtMs: 10 })
    await store.create(key)
    const other = await another()
    const rotate = (with_: KeyStore, letter: string) =>
      with_.rotate(key.keyId, key.hash, {
        hash: `$2b$10$${letter.repeat(53)}`,
        former: { hash: key.hash, untilMs: 7 },
        expiresAtMs: 20,
      })
    const done = await Promise.all([rotate(store, 'x'), rotate(other, 'y')])
    t.equal(done.filter(Boolean).length, 1)
    const now = await store.get(key.keyId)
    t.equal(now?.hash, `$2b$10$${(done[0] ? 'x' : 'y').repeat(53)}`)
    t.strictSame(now?.former, { hash: key.hash, untilMs: 7 })
    t.equal(now?.expiresAtMs, 20)
  })

  t.test(`${kind}: adds what is not there, leaves what is, and says which`, async (t) => {
    const { store } = await subject(t)
    const [one, two] = [keyRecord(), keyRecord()]
    t.strictSame(await store.add([one, FULL]), ['added', 'added'])
    t.strictSame(await store.add([one, { ...FULL, tenant: 'evil' }, two]), [
      'same',
      'conflict',
      'added',
    ])
    t.equal((await store.get(FULL.keyId))?.tenant, FULL.tenant)
    t.strictSame(await store.add([]), [])
    const three = keyRecord()
    t.strictSame(await store.add([three, { ...three, user: 'x' }, three]), [
      'added',
      'conflict',
      'same',
    ])
  })
}

t.test('sqlite: keeps about when keys were last used, the latest of all processes', async (t) => {
  const path = join(t.testdir(), 'keys.db')
  const [one, two] = [SqliteKeyStore.open(path), SqliteKeyStore.open(path)]
  t.teardown(() => Promise.all([one.close(), two.close()]))
  await one.create(FULL)
  one.used(new Map([[FULL.keyId, 20]]))
  two.used(new Map([[FULL.keyId, 10]]))
  t.equal((await one.get(FULL.keyId))?.lastUsedAtMs, 20)
  const [listed] = await two.list({ tenant: null, after: null, max: 10 })
  t.equal(listed?.lastUsedAtMs, 20)
})

t.test('sqlite: a file of the first version is brought to this one', async (t) => {
  const path = join(t.testdir(), 'keys.db')
  const db = new Database(path)
  db.exec(`
    CREATE TABLE keys (key_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL,
      user TEXT NOT NULL, roles TEXT NOT NULL, labels TEXT NOT NULL, hash TEXT NOT NULL,
      created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER, revoked_at_ms INTEGER) WITHOUT ROWID;
    INSERT INTO keys VALUES ('${FULL.keyId}', 'acme', 'old', 'u', '["dev"]', '{}', 'h', 7, NULL, NULL);
    PRAGMA user_version = 1;
  `)
  db.close()
  const store = SqliteKeyStore.open(path)
  t.teardown(() => store.close())
  t.strictSame(await store.get(FULL.keyId), {
    ...keyRecord({ keyId: FULL.keyId, name: 'old', user: 'u', roles: ['dev'], hash: 'h' }),
    createdAtMs: 7,
    lastUsedAtMs: null,
  })
})

t.test('a database that refused to be connected to is asked again', async (t) => {
  const url = await freshDatabase(t)
  await migrateKeys(url)
  const store = await PostgresKeyStore.open(url)
  t.teardown(() => store.close())
  await store.create(FULL)
  const server = new URL(url)
  const name = server.pathname.slice(1)
  server.pathname = '/postgres'
  const allow = (isOpen: boolean) => {
    return runSql(server.href, `ALTER DATABASE ${name} ALLOW_CONNECTIONS ${isOpen}`)
  }
  await allow(false)
  await runSql(
    server.href,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`,
  )
  await until('the server to refuse', async () => {
    const why = await store.get(FULL.keyId).catch((error: unknown) => String(error))
    return typeof why === 'string' && why.includes('not currently accepting connections')
  })
  await t.rejects(store.get(FULL.keyId), /not currently accepting connections/)
  await allow(true)
  t.match(await store.get(FULL.keyId), { keyId: FULL.keyId })
  t.equal(await store.revoke(FULL.keyId, 5), true)
})

t.test('a file of keys is read once for as long as it stays as it is', async (t) => {
  const path = join(t.testdir(), 'keys.yaml')
  const store = new FileKeyStore(path)
  const all = { tenant: null, after: null, max: 10 }
  t.strictSame(await store.list(all), [])
  await store.create(FULL)
  const [first] = await store.list(all)
  t.equal((await store.list(all))[0]?.roles, first?.roles, 'not parsed again')
  await new FileKeyStore(path).revoke(FULL.keyId, 1_700_000_000_500)
  t.match(await store.get(FULL.keyId), { revokedAtMs: 1_700_000_000_500 })
  writeFileSync(path, 'keys: nonsense\n')
  await t.rejects(store.get(FULL.keyId), /Expected one list/)
  writeFileSync(path, 'keys:\n')
  t.equal(await store.get(FULL.keyId), null)
})

t.test('what SQLite writes beside a new store is for its owner alone, too', async (t) => {
  const path = join(t.testdir(), 'keys.db')
  const store = SqliteKeyStore.open(path)
  t.teardown(() => store.close())
  const modes = ['', '-wal', '-shm'].map((suffix) => statSync(`${path}${suffix}`).mode & 0o777)
  t.strictSame(modes, [0o600, 0o600, 0o600])
})
