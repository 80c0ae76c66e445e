import { join } from 'node:path'

import bcrypt from 'bcrypt'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'

import { KeyRing } from '../../src/auth/key-ring.ts'
import { SqliteKeyStore } from '../../src/auth/key-store-sqlite.ts'
import { generateKey } from '../../src/auth/key.ts'
import type { GovernorError } from '../../src/errors.ts'
import { keyRecord } from '../support/key-record.ts'

const NOW_MS = 1_700_000_000_000

/** A store on disk with one key in it, a ring that reads it, and a second hand that changes it. */
async function subject(t: Test, expiresAtMs: number | null = null) {
  const path = join(t.testdir(), 'keys.db')
  const writer = SqliteKeyStore.open(path)
  const reader = SqliteKeyStore.open(path)
  t.teardown(() => Promise.all([writer.close(), reader.close()]))
  const { keyId, secret } = generateKey()
  const hash = await bcrypt.hash(secret, 4)
  await writer.create(keyRecord({ keyId, hash, expiresAtMs }))
  const looked: string[] = []
  const ring = new KeyRing(reader, (cache, result) => looked.push(`${cache}:${result}`))
  const verify = async (id: string, given: string, nowMs: number) => ring.verify(id, given, nowMs)
  return { writer, reader, ring, verify, keyId, secret, looked, path }
}

t.test('verify() accepts the secret and asks bcrypt once only', async (t) => {
  const { verify, keyId, secret, looked } = await subject(t)
  t.equal((await verify(keyId, secret, NOW_MS))?.tenant, 'acme')
  t.equal((await verify(keyId, secret, NOW_MS))?.tenant, 'acme')
  t.strictSame(
    looked.filter((entry) => entry.startsWith('verified')),
    ['verified_secrets:miss', 'verified_secrets:hit'],
  )
})

t.test('verify() refuses a wrong secret, an unknown id and an expired key', async (t) => {
  const { verify, keyId, secret } = await subject(t, NOW_MS + 1000)
  t.equal(await verify(keyId, `${secret}x`, NOW_MS), null)
  t.equal(await verify(keyId, `${secret}x`, NOW_MS), null, 'also when it is remembered')
  t.equal(await verify(generateKey().keyId, secret, NOW_MS), null)
  t.ok(await verify(keyId, secret, NOW_MS))
  t.equal(await verify(keyId, secret, NOW_MS + 1000), null)
})

t.test('known() tells of a secret seen before, and of nothing else', async (t) => {
  const { verify, ring, writer, keyId, secret, looked } = await subject(t, NOW_MS + 1000)
  t.equal(ring.known(keyId, secret, NOW_MS), null, 'bcrypt has not seen it')
  t.ok(await verify(keyId, secret, NOW_MS))
  t.equal(await verify(keyId, `${secret}x`, NOW_MS), null)
  const before = looked.length
  t.equal(ring.known(keyId, secret, NOW_MS)?.keyId, keyId)
  t.strictSame(looked.slice(before), ['key_records:hit', 'verified_secrets:hit'])
  t.strictSame([...ring.takeUses(10)], [[keyId, NOW_MS]])
  t.equal(ring.known(keyId, `${secret}x`, NOW_MS), null, 'a wrong one')
  t.equal(ring.known(generateKey().keyId, secret, NOW_MS), null, 'another key')
  t.equal(ring.known(keyId, secret, NOW_MS + 1000), null, 'expired')
  await writer.revoke(keyId, NOW_MS)
  ring.refresh([], NOW_MS)
  t.equal(ring.known(keyId, secret, NOW_MS), null, 'revoked')
})

t.test('refresh() sees a key revoked by another process and forgets it', async (t) => {
  const { verify, ring, writer, keyId, secret } = await subject(t)
  t.ok(await verify(keyId, secret, NOW_MS))
  t.strictSame([...ring.refresh([keyId], NOW_MS)], [], 'nothing changed yet')
  t.equal(await writer.revoke(keyId, NOW_MS), true)
  t.strictSame([...ring.refresh([keyId], NOW_MS)], [[keyId, 'revoked']])
  t.equal(await verify(keyId, secret, NOW_MS), null)
  t.equal(await writer.revoke(keyId, NOW_MS), false, 'revoking twice is not an act')
})

t.test('refresh() finds a revoked key also after another change of the store', async (t) => {
  const { verify, ring, writer, keyId, secret } = await subject(t)
  t.ok(await verify(keyId, secret, NOW_MS))
  await writer.create(keyRecord())
  t.strictSame([...ring.refresh([keyId, ''], NOW_MS)], [])
  t.equal(ring.ended(keyId, NOW_MS), null)
  await writer.revoke(keyId, NOW_MS)
  t.strictSame([...ring.refresh([keyId, ''], NOW_MS)], [[keyId, 'revoked']])
  t.strictSame([...ring.refresh([keyId], NOW_MS)], [[keyId, 'revoked']], 'as often as it is asked')
  t.equal(ring.ended(keyId, NOW_MS), 'revoked')
})

t.test('refresh() names keys that expired while their calls run', async (t) => {
  const { verify, ring, keyId, secret } = await subject(t, NOW_MS + 1000)
  t.ok(await verify(keyId, secret, NOW_MS))
  t.strictSame([...ring.refresh([keyId], NOW_MS + 999)], [])
  t.strictSame([...ring.refresh([keyId], NOW_MS + 1000)], [[keyId, 'expired']])
})

t.test('verify() compares a burst of one secret once', async (t) => {
  const { verify, keyId, secret } = await subject(t)
  const burst = Array.from({ length: 200 }, () => verify(keyId, secret, NOW_MS))
  t.equal((await Promise.all(burst)).filter((record) => record?.tenant === 'acme').length, 200)
})

t.test('verify() answers AUTH_BUSY beyond eight unverified secrets of one key', async (t) => {
  const { verify, keyId, secret } = await subject(t)
  const tries = Array.from({ length: 20 }, (_, index) =>
    verify(keyId, `${secret.slice(0, -2)}${String(index).padStart(2, '0')}`, NOW_MS).then(
      () => 'answered',
      (error: GovernorError) => error.code,
    ),
  )
  const ends = await Promise.all(tries)
  t.equal(ends.filter((end) => end === 'answered').length, 8)
  t.equal(ends.filter((end) => end === 'AUTH_BUSY').length, 12)
  t.ok(await verify(keyId, secret, NOW_MS), 'and the right one is let in afterwards')
})

t.test('verify() is AUTH_UNAVAILABLE, never a refusal, when the store fails', async (t) => {
  const { verify, reader, keyId, secret } = await subject(t)
  await reader.close()
  await t.rejects(verify(keyId, secret, NOW_MS), { code: 'AUTH_UNAVAILABLE', status: 503 })
})

/** Puts another secret in the place of the first, which opens until `untilMs`. */
async function rotated(writer: SqliteKeyStore, keyId: string, untilMs: number): Promise<string> {
  const { secret } = generateKey()
  const { hash: old } = writer.find(keyId)!
  const hash = await bcrypt.hash(secret, 4)
  const former = untilMs > NOW_MS ? { hash: old, untilMs } : null
  t.equal(await writer.rotate(keyId, old, { hash, former, expiresAtMs: null }), true)
  return secret
}

t.test('verify() takes both secrets of a rotated key, until the overlap ends', async (t) => {
  const { verify, ring, writer, keyId, secret } = await subject(t)
  t.ok(await verify(keyId, secret, NOW_MS))
  const next = await rotated(writer, keyId, NOW_MS + 1000)
  ring.refresh([], NOW_MS)
  for (const nowMs of [NOW_MS, NOW_MS + 999]) {
    t.ok(await verify(keyId, secret, nowMs), 'the former')
    t.ok(await verify(keyId, next, nowMs), 'the new one')
    t.equal(await verify(keyId, `${next}x`, nowMs), null)
  }
  t.equal(await verify(keyId, secret, NOW_MS + 1000), null)
  t.equal(await verify(keyId, secret, NOW_MS + 1000), null, 'also when it is remembered')
  t.ok(await verify(keyId, next, NOW_MS + 1000))
})

t.test('verify() refuses a former secret at once where there is no overlap', async (t) => {
  const { verify, ring, writer, keyId, secret } = await subject(t)
  t.ok(await verify(keyId, secret, NOW_MS))
  const next = await rotated(writer, keyId, NOW_MS)
  ring.refresh([], NOW_MS)
  t.equal(await verify(keyId, secret, NOW_MS), null)
  t.ok(await verify(keyId, next, NOW_MS))
})

t.test('a wrong secret that a rotation makes right is right', async (t) => {
  const { verify, ring, writer, keyId } = await subject(t)
  const { secret } = generateKey()
  t.equal(await verify(keyId, secret, NOW_MS), null)
  const { hash: old } = writer.find(keyId)!
  const hash = await bcrypt.hash(secret, 4)
  await writer.rotate(keyId, old, { hash, former: null, expiresAtMs: null })
  ring.refresh([], NOW_MS)
  t.ok(await verify(keyId, secret, NOW_MS))
})

t.test('a hash opens under each name of its version, brought from elsewhere', async (t) => {
  const { ring, writer, secret } = await subject(t)
  for (const version of ['2a', '2b', '2y']) {
    const hash = (await bcrypt.hash(secret, 4)).replace('2b', version)
    const record = keyRecord({ hash })
    await writer.create(record)
    ring.refresh([], NOW_MS)
    const verify = async (given: string) => ring.verify(record.keyId, given, NOW_MS, version)
    t.equal(await verify(`${secret}x`), null, version)
    t.strictSame(await verify(secret), record, version)
  }
})

t.test('takeUses() tells of each use once, and of none that was refused', async (t) => {
  const { verify, ring, keyId, secret } = await subject(t)
  await verify(keyId, `${secret}x`, NOW_MS)
  t.equal(ring.takeUses(10).size, 0)
  await verify(keyId, secret, NOW_MS + 1)
  await verify(keyId, secret, NOW_MS + 2)
  t.strictSame([...ring.takeUses(10)], [[keyId, NOW_MS + 2]])
  t.equal(ring.takeUses(10).size, 0)
})

t.test('wrong secrets slow down their address, and not the owner of the key', async (t) => {
  const { ring, keyId, secret } = await subject(t)
  const ask = async (given: string, source: string) =>
    Promise.resolve(ring.verify(keyId, given, NOW_MS, source)).then(
      (record) => (record === null ? 'refused' : 'open'),
      (error: GovernorError) => error.code,
    )
  t.equal(await ask(secret, 'owner'), 'open')
  const ends: string[] = []
  for (let index = 0; index < 40; index++) ends.push(await ask(`${secret}${index}`, 'thief'))
  t.equal(
    ends.slice(0, 10).every((end) => end === 'refused'),
    true,
  )
  t.ok(ends.includes('AUTH_SLOWED'), 'after ten')
  t.equal(await ask(`${secret}0`, 'thief'), 'refused', 'what is known to be wrong says so')
  t.equal(await ask(secret, 'thief'), 'open', 'a secret that was right before goes on')
  t.equal(await ask(`${secret}new`, 'owner'), 'refused', 'another address is not slowed')
})

t.test('a flood of wrong secrets for a key leaves its owner a turn', async (t) => {
  const { ring, keyId, secret } = await subject(t)
  const flood = Array.from({ length: 200 }, async (_, index) =>
    Promise.resolve(ring.verify(keyId, `${secret}${index}`, NOW_MS, `thief ${index % 20}`)).catch(
      (error: GovernorError) => error.code,
    ),
  )
  t.ok(await ring.verify(keyId, secret, NOW_MS, 'owner'))
  const ends = await Promise.all(flood)
  t.ok(ends.every((end) => end === null || end === 'AUTH_BUSY'))
})

t.test('a flood for one key from a hundred addresses leaves another its first use', async (t) => {
  const { ring, writer, keyId, secret } = await subject(t)
  const other = generateKey()
  const hash = await bcrypt.hash(other.secret, 4)
  await writer.create(keyRecord({ keyId: other.keyId, hash, tenant: 'other' }))
  ring.refresh([], NOW_MS)
  const ends: unknown[] = []
  const flood = Array.from({ length: 100 }, async (_, index) =>
    Promise.resolve(ring.verify(keyId, `${secret}${index}`, NOW_MS, `thief ${index}`)).then(
      () => ends.push('refused'),
      (error: GovernorError) => ends.push(error.code),
    ),
  )
  const found = await ring.verify(other.keyId, other.secret, NOW_MS, 'owner')
  t.equal(found?.tenant, 'other')
  t.ok(ends.filter((end) => end === 'refused').length < 10, 'before nearly all of them')
  await Promise.all(flood)
  // Each of them has been wrong by now: who comes for the first time comes first.
  const again = Array.from({ length: 100 }, async (_, index) =>
    Promise.resolve(ring.verify(keyId, `${secret}-${index}`, NOW_MS, `thief ${index}`)).catch(
      (error: GovernorError) => error.code,
    ),
  )
  t.ok(await ring.verify(keyId, secret, NOW_MS, 'owner'), 'also of the key they guess at')
  await Promise.all(again)
})

t.test('a row that was altered by hand opens nothing, and hides no other', async (t) => {
  const { ring, verify, writer, keyId, secret, path } = await subject(t)
  const other = keyRecord()
  await writer.create(other)
  const db = new Database(path)
  t.teardown(() => db.close())
  const alter = (set: string) => {
    db.prepare(`UPDATE keys SET ${set} WHERE key_id = ?`).run(keyId)
    return ring.refresh([], NOW_MS)
  }
  t.ok(await verify(keyId, secret, NOW_MS))
  for (const set of [
    `roles = '[1]'`,
    `roles = '["dev", null]'`,
    `roles = '[]', labels = '{"a":{}}'`,
    `labels = 'null'`,
    `labels = '{}', upstreams = '{"a":1}'`,
    `upstreams = 'not JSON'`,
  ]) {
    alter(set)
    await t.rejects(verify(keyId, secret, NOW_MS), { code: 'AUTH_UNAVAILABLE' }, set)
    t.equal(ring.known(keyId, secret, NOW_MS), null)
  }
  t.throws(() => ring.refresh([keyId], NOW_MS), { code: 'AUTH_UNAVAILABLE' })
  await writer.revoke(other.keyId, NOW_MS)
  t.strictSame(ring.refresh([keyId, other.keyId], NOW_MS), new Map([[other.keyId, 'revoked']]))
  alter(`upstreams = '[]', expires_at_ms = 9223372036854775807, created_at_ms = -9e18`)
  t.ok(await verify(keyId, secret, NOW_MS), 'a row made whole again')
  const { createdAtMs, expiresAtMs } = (await writer.get(keyId))!
  t.strictSame([createdAtMs, expiresAtMs], [-8.64e15, 8.64e15], 'the ends of time')
})
