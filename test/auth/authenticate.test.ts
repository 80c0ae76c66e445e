import { Socket } from 'node:net'
import { join } from 'node:path'

import bcrypt from 'bcrypt'
import t, { type Test } from 'tap'

import { authenticate } from '../../src/auth/authenticate.ts'
import { KeyRing } from '../../src/auth/key-ring.ts'
import { SqliteKeyStore } from '../../src/auth/key-store-sqlite.ts'
import { generateKey } from '../../src/auth/key.ts'
import { keyRecord } from '../support/key-record.ts'

const socket = new Socket()
const POD = { tenant: 'team-a', user: 'pod', roles: ['developer'], labels: {} }

async function subject(t: Test) {
  const store = SqliteKeyStore.open(join(t.testdir(), 'keys.db'))
  t.teardown(() => store.close())
  const { keyId, secret } = generateKey()
  await store.create(keyRecord({ keyId, hash: await bcrypt.hash(secret, 4) }))
  const ring = new KeyRing(store)
  const ask = async (headers: Record<string, string>, pod: typeof POD | null) =>
    authenticate(
      { headers, ip: '10.0.0.1', socket },
      ring,
      { tokens: null, certificate: null, pod },
      1,
    )
  const call = (headers: Record<string, string>, pod: typeof POD | null = null) =>
    ask(headers, pod).then(
      ({ tenant, via }) => `${via} ${tenant}`,
      (error: { code: string; message: string }) => error.code,
    )
  return { key: `${keyId}.${secret}`, keyId, call }
}

t.test('authenticate() takes a key from each header', async (t) => {
  const { key, call } = await subject(t)
  t.equal(await call({ authorization: `Bearer ${key}` }), 'key acme')
  t.equal(await call({ authorization: `bearer ${key}` }), 'key acme')
  t.equal(await call({ 'api-key': key }), 'key acme')
  t.equal(await call({ 'x-api-key': key }), 'key acme')
  t.equal(await call({ 'x-api-key': key, authorization: `Bearer ${key}` }), 'key acme')
  t.equal(await call({ 'x-api-key': 'sk-ant-1', authorization: `Bearer ${key}` }), 'key acme')
})

t.test('authenticate() refuses degenerate credentials', async (t) => {
  const { key, keyId, call } = await subject(t)
  t.equal(await call({}), 'AUTH_KEY_MISSING')
  for (const authorization of [
    'Bearer ',
    'Bearer',
    `Bearer  ${key}`,
    `Bearer ${key},x`,
    `Bearer ${key} x`,
    `Basic ${key}`,
    key,
  ]) {
    t.equal(await call({ authorization }), 'AUTH_KEY_MISSING', authorization.slice(0, 12))
  }
  for (const bearer of [
    'undefined',
    'null',
    "x'OR'1'='1",
    '%',
    keyId,
    `${keyId}.`,
    `${keyId}.short`,
  ]) {
    t.equal(await call({ authorization: `Bearer ${bearer}` }), 'AUTH_KEY_INVALID', bearer)
  }
})

t.test('authenticate() takes a key for nothing but itself, also once it is known', async (t) => {
  const { key, keyId, call } = await subject(t)
  t.equal(await call({ authorization: `Bearer ${key}` }), 'key acme')
  const secret = key.slice(keyId.length + 1)
  const odd = [' ', '\t', '\n', '\r\n', '\0', '\u00a0', '\ufeff', '%20', '.', '=', '\\n']
  for (const end of odd) {
    for (const headers of [
      { authorization: `Bearer ${key}${end}` },
      { authorization: `Bearer ${keyId}.${end}${secret}` },
      { authorization: `Bearer ${keyId}${end}.${secret}` },
      { 'x-api-key': `${key}${end}` },
      { 'api-key': `${end}${key}` },
      { 'x-goog-api-key': `${keyId.toUpperCase()}.${secret}${end}` },
    ]) {
      t.match(await call(headers), /^AUTH_KEY_(MISSING|INVALID)$/, JSON.stringify(headers))
    }
  }
  t.equal(await call({ 'x-api-key': key }), 'key acme', 'which still opens')
})

t.test('authenticate() refuses two different Governor keys', async (t) => {
  const { key, keyId, call } = await subject(t)
  const other = `${keyId}.${'a'.repeat(43)}`
  t.equal(await call({ authorization: `Bearer ${key}`, 'x-api-key': other }), 'HEADER_INVALID')
})

t.test('authenticate() lets a pod in, but not with a wrong Governor key', async (t) => {
  const { key, keyId, call } = await subject(t)
  t.equal(await call({}, POD), 'pod team-a')
  t.equal(await call({ authorization: 'Bearer sk-anything' }, POD), 'pod team-a')
  t.equal(await call({ authorization: `Bearer ${key}` }, POD), 'key acme', 'a valid key wins')
  t.equal(await call({ authorization: `Bearer ${keyId}.wrong` }, POD), 'AUTH_KEY_INVALID')
  t.equal(await call({ 'x-api-key': `${keyId}.${'b'.repeat(40)}` }, POD), 'AUTH_KEY_INVALID')
})

t.test('authenticate() says what to do with a provider key', async (t) => {
  const store = SqliteKeyStore.open(join(t.testdir(), 'keys.db'))
  t.teardown(() => store.close())
  const headers = { authorization: 'Bearer sk-proj-abc' }
  t.throws(
    () =>
      authenticate(
        { headers, ip: '', socket },
        new KeyRing(store),
        { tokens: null, certificate: null, pod: null },
        0,
      ),
    {
      code: 'AUTH_KEY_INVALID',
      message: /This is a provider key; make a Governor key with: governor keys create$/,
    },
  )
})
