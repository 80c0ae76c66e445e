import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'

import t, { type Test } from 'tap'

import { FileKeys } from '../../src/auth/file-keys.ts'
import { keyRow } from '../../src/auth/key-file-row.ts'
import { readKeysFile } from '../../src/auth/key-file.ts'
import { FileKeyStore } from '../../src/auth/key-store-file.ts'
import type { KeyRecord } from '../../src/auth/key.ts'
import { createLog } from '../../src/log.ts'
import { runNow } from '../../src/turns.ts'
import { keyRecord } from '../support/key-record.ts'
import { until } from '../support/until.ts'

/** Goal: keys of a file are taken as soon as it changes, and never half. */

function listOf(...records: readonly KeyRecord[]): string {
  return `keys:\n${records.map((record) => `  - ${keyRow(record)}\n`).join('')}`
}

function subject(t: Test, path: string) {
  const lines: string[] = []
  const log = createLog('debug', { write: (line) => void lines.push(line) })
  const keys = FileKeys.open(path, log)
  t.teardown(() => keys.close())
  return { keys, lines }
}

const [ONE, TWO] = [keyRecord({ name: 'one', roles: ['a: b', '#'] }), keyRecord({ name: 'two' })]

t.test('a file that is renamed over, or written in place, is read again', async (t) => {
  const path = join(t.testdir({ 'keys.yaml': listOf(ONE) }), 'keys.yaml')
  const { keys } = subject(t, path)
  t.strictSame(keys.find(ONE.keyId), ONE)
  const version = keys.version()
  writeFileSync(`${path}.new`, listOf(ONE, TWO))
  renameSync(`${path}.new`, path)
  t.strictSame(await until('the second key', () => keys.find(TWO.keyId)), TWO)
  t.not(keys.version(), version)
  writeFileSync(path, listOf({ ...ONE, revokedAtMs: 5 }))
  await until('the revocation', () => keys.find(ONE.keyId)?.revokedAtMs === 5)
  t.equal(keys.find(TWO.keyId), null, 'what is taken out is gone')
})

/** A volume as Kubernetes makes it: the file is a link through `..data`, which is swapped. */
function mounted(directory: string, text: string) {
  let count = 0
  const swap = (next: string) => {
    count += 1
    mkdirSync(join(directory, `..${count}`))
    writeFileSync(join(directory, `..${count}`, 'keys.yaml'), next)
    symlinkSync(`..${count}`, join(directory, '..data_tmp'))
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
    rmSync(join(directory, `..${count - 1}`), { recursive: true, force: true })
  }
  swap(text)
  symlinkSync('..data/keys.yaml', join(directory, 'keys.yaml'))
  return { path: join(directory, 'keys.yaml'), swap }
}

t.test('a Secret that Kubernetes swaps is read again', async (t) => {
  const { path, swap } = mounted(t.testdir({}), listOf(ONE))
  const { keys } = subject(t, path)
  swap(listOf(TWO))
  await until('the second key', () => keys.find(TWO.keyId))
  t.equal(keys.find(ONE.keyId), null)
})

t.test('a Secret is not written to: the line for it is told', async (t) => {
  const { path } = mounted(t.testdir({}), listOf(ONE))
  const store = new FileKeyStore(path)
  await t.rejects(store.create(TWO), { name: 'KeyStoreReadOnlyError', rows: [keyRow(TWO)] })
  const revoked = keyRow({ ...ONE, revokedAtMs: 5 })
  await t.rejects(store.revoke(ONE.keyId, 5), { name: 'KeyStoreReadOnlyError', rows: [revoked] })
  t.equal(await store.revoke(TWO.keyId, 5), false)
  await t.rejects(store.create(ONE), { name: 'KeyExistsError' })
  t.equal(readFileSync(path, 'utf8'), listOf(ONE))
})

t.test('what cannot be read changes nothing, and is said with its place', async (t) => {
  const path = join(t.testdir({ 'keys.yaml': listOf(ONE) }), 'keys.yaml')
  const { keys, lines } = subject(t, path)
  for (const [text, said] of [
    [`keys:\n  - { key_id: x }\n`, /2:5 Expected key_id|2:5 Expected tenant/],
    ['keys: [', /1:\d+ /],
    [listOf(ONE, ONE), /3:5 There is a key .* above/],
    ['', /1:1 Expected one list/],
    ['# ours\n', /1:1 Expected one list/],
    ['other: []\n', /1:1 Expected one list/],
    [listOf(TWO).replace('"hash":"$2b', '"hash":"$1b'), /2:5 Expected hash/],
    [listOf(TWO).replace('"name"', '"nmae":"x","name"'), /2:5 Unknown key .*nmae/],
    [listOf(TWO).replace('"acme"', '"ac\\0me"'), /2:5 Expected tenant: .*none a control character/],
    [
      listOf({ ...TWO, expiresAtMs: 5 }).replace('1970-01-01T00:00:00.005Z', '2026-13-01'),
      /expires_at: a time/,
    ],
  ] as const) {
    lines.length = 0
    writeFileSync(path, text)
    const line = await until(`"${text.slice(0, 30)}" to be refused`, () =>
      lines.find((each) => each.includes('The last good keys stay')),
    )
    t.match((JSON.parse(line) as { message: string }).message, said)
    t.strictSame(keys.find(ONE.keyId), ONE)
  }
  rmSync(path)
  writeFileSync(`${path}.2`, listOf(TWO))
  t.strictSame(keys.find(ONE.keyId), ONE, 'nor does a file that is gone')
  renameSync(`${path}.2`, path)
  await until('the second key', () => keys.find(TWO.keyId))
})

t.test('open() names the file and what is wrong with it', async (t) => {
  const directory = t.testdir({
    'bad.yaml': `keys:\n  - { key_id: x }\n  - 7\n`,
    'bytes.yaml': Buffer.from([0xff]),
  })
  const { log } = { log: createLog('silent') }
  const open = (name: string) => () => FileKeys.open(join(directory, name), log)
  t.throws(
    open('none.yaml'),
    /none\.yaml \(auth\.keys\.path\): there is none, make it with governor/,
  )
  t.throws(open('bad.yaml'), /2:5 Expected tenant.*\n3:5 Expected a key/)
  t.throws(open('bytes.yaml'), /not UTF-8/)
})

t.test('YAML of any form is read, and what is not changed stays as it is', async (t) => {
  const path = join(t.testdir({}), 'keys.yaml')
  const text = `# ours
keys:
  # the first
  - key_id: ${ONE.keyId}
    tenant: acme
    name: 'one'   # quoted
    roles: [dev]
    labels:
      tier: gold
    hash: ${ONE.hash}
  - { key_id: ${TWO.keyId}, tenant: acme, name: two, hash: "${TWO.hash}" } # the second
# the end
`
  writeFileSync(path, text)
  const store = new FileKeyStore(path)
  const first = await store.get(ONE.keyId)
  t.match(first, { name: 'one', roles: ['dev'], labels: { tier: 'gold' }, createdAtMs: 0 })
  const three = keyRecord()
  await store.create(three)
  await store.revoke(TWO.keyId, 5)
  const revoked = keyRow({ ...TWO, createdAtMs: 0, revokedAtMs: 5 })
  t.equal(
    readFileSync(path, 'utf8'),
    text
      .replace(/\{ key_id.*\} #/, () => `${revoked} #`)
      .replace('# the end', () => `  - ${keyRow(three)}\n# the end`),
  )
  await store.revoke(ONE.keyId, 6)
  const { entries } = runNow(readKeysFile(readFileSync(path, 'utf8')))
  t.strictSame(
    entries.map(({ record }) => record.revokedAtMs),
    [6, 5, null],
  )
})

t.test('a file is made with its first key, and only its owner may read it', async (t) => {
  const directory = t.testdir({})
  const path = join(directory, 'deep', 'keys.yaml')
  const store = new FileKeyStore(path)
  t.strictSame(await store.list({ tenant: null, after: null, max: 10 }), [])
  t.notOk(existsSync(path), 'looking makes nothing')
  await store.create(ONE)
  t.equal(readFileSync(path, 'utf8'), listOf(ONE))
  t.equal(statSync(path).mode & 0o777, 0o600)
  await Promise.all(Array.from({ length: 5 }, () => new FileKeyStore(path).create(keyRecord())))
  t.equal((await store.list({ tenant: null, after: null, max: 10 })).length, 6)
  t.strictSame(readdirSync(join(directory, 'deep')), ['keys.yaml', 'keys.yaml.lock'])
})

/** Holds the lock of a file in a process of its own until it is killed. */
async function heldElsewhere(t: Test, path: string) {
  const module = new URL('../../src/auth/file-lock.ts', import.meta.url).href
  const text = `const { takeFileLock } = await import(${JSON.stringify(module)})
    await takeFileLock(${JSON.stringify(path)})
    console.log('held')
    setInterval(() => {}, 1e6)`
  const holder = spawn(execPath, ['--input-type=module', '-e', text])
  t.teardown(() => holder.kill('SIGKILL'))
  await once(holder.stdout, 'data')
  return holder
}

t.test(
  'one change at a time, by whichever process; one that is killed holds nothing',
  async (t) => {
    const path = join(t.testdir({ 'keys.yaml': listOf(ONE) }), 'keys.yaml')
    const holder = await heldElsewhere(t, path)
    // Stopped for however long, it goes on holding: whoever wrote meanwhile would be written over.
    holder.kill('SIGSTOP')
    let isDone = false
    const created = new FileKeyStore(path).create(TWO).then(() => (isDone = true))
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.equal(isDone, false)
    t.equal(readFileSync(path, 'utf8'), listOf(ONE), 'nothing is written while another one may')
    holder.kill('SIGKILL')
    await created
    t.equal(readFileSync(path, 'utf8'), listOf(ONE, TWO))
  },
)

t.test('a lock file of another kind is said, and what to do', async (t) => {
  const directory = t.testdir({ 'keys.yaml': listOf(ONE), 'keys.yaml.lock': '4194303'.repeat(200) })
  const change = new FileKeyStore(join(directory, 'keys.yaml')).create(TWO)
  await t.rejects(change, { message: /its lock \S+keys\.yaml\.lock cannot be taken: .*remove it/ })
})

t.test('about when keys were last used is kept beside the file, by all who read it', async (t) => {
  const path = join(t.testdir({ 'keys.yaml': listOf(ONE, TWO) }), 'keys.yaml')
  const store = new FileKeyStore(path)
  const used = async () => {
    const keys = await store.list({ tenant: null, after: null, max: 10 })
    return new Map(keys.map(({ name, lastUsedAtMs }) => [name, lastUsedAtMs]))
  }
  t.strictSame(
    await used(),
    new Map([
      ['one', 'unknown'],
      ['two', 'unknown'],
    ] as const),
  )
  const [one, two] = [subject(t, path).keys, subject(t, path).keys]
  one.used(new Map([[ONE.keyId, 20]]))
  two.used(new Map([[ONE.keyId, 10]]))
  const three = keyRecord({ name: 'three', createdAtMs: Date.now() + 60_000 })
  await store.create(three)
  const now = await used()
  t.equal(now.get('one'), 20)
  t.equal(now.get('two'), 'unknown', 'nobody kept it when that key was made')
  t.equal(now.get('three'), null, 'never')
  t.equal((await store.get(ONE.keyId))?.lastUsedAtMs, 20)
})
