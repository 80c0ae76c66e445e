import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { writeBundle } from '../../src/audit/bundle.ts'
import { erasePersonal } from '../../src/audit/erase.ts'
import { Kept, KEPT_BYTES_MAX } from '../../src/audit/kept.ts'
import { commitPersonal, withCommitments } from '../../src/audit/personal.ts'
import { pruneLog } from '../../src/audit/prune.ts'
import { textsOfCall } from '../../src/audit/read-content.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { decision, openWal, outcome } from './support/log.ts'

function kept(prompt: string | Buffer, answer = ''): Kept {
  const made = new Kept(Buffer.from(prompt as string))
  made.take(Buffer.from(answer))
  return made
}

function withText(id: string, subject: string, words: string) {
  const call = kept(`prompt ${words}`, `answer ${words}`)
  const asked = commitPersonal({ subject, values: { v: 'x' }, texts: [call.prompt!] })
  const answered = commitPersonal({ subject, values: {}, texts: [call.answer!] })
  const [first, last] = [decision(id), outcome(id)]
  return [
    { ...first, body: withCommitments(first.body, asked), side: asked.side },
    { ...last, body: withCommitments(last.body, answered), side: answered.side },
  ] as const
}

async function makeLog(path: string): Promise<void> {
  const wal = await openWal(path, { signs: true })
  for (const [id, subject] of [
    ['a', 'acme/ann'],
    ['b', 'acme/bob'],
    ['c', 'acme/ann'],
  ] as const) {
    const [asked, answered] = withText(id, subject, `of ${id}`)
    await wal.record(asked)
    wal.queue(answered)
  }
  await wal.close()
}

function sql(path: string, text: string): void {
  const db = new Database(path)
  db.exec(text)
  db.close()
}

function shown(path: string, requestId: string): (string | null)[] {
  return textsOfCall(path, requestId).map(({ text }) => text)
}

t.test('Kept copies the beginning of both, and says how long they were', async (t) => {
  const call = new Kept(Buffer.from('asked'))
  t.equal(call.answer, null, 'nothing was answered')
  const chunk = Buffer.from('one ')
  call.take(chunk)
  chunk.fill('x')
  call.take(Buffer.from('two'))
  t.strictSame(call.prompt, { name: 'prompt', bytes: 5, keptBytes: 5, value: 'asked' })
  t.strictSame(call.answer, { name: 'answer', bytes: 7, keptBytes: 7, value: 'one two' })

  const long = kept('é'.repeat(KEPT_BYTES_MAX), 'a' + '€'.repeat(KEPT_BYTES_MAX))
  t.match(long.prompt, { bytes: 2 * KEPT_BYTES_MAX, keptBytes: KEPT_BYTES_MAX })
  const { bytes, keptBytes, value } = long.answer!
  t.equal(bytes, 1 + 3 * KEPT_BYTES_MAX)
  t.equal(keptBytes, KEPT_BYTES_MAX - 1, 'cut between characters')
  t.ok(value.endsWith('€'))
  const sound = kept(Buffer.from([0xff, 0xfe, 0x00]))
  t.strictSame(sound.prompt, { name: 'prompt', bytes: 3, keptBytes: 0, value: '' })
  t.equal(kept('').prompt, null, 'a call without a body')
})

t.test('chunks in any sizes are kept alike', async (t) => {
  const whole = Buffer.from('0123456789'.repeat(KEPT_BYTES_MAX / 8))
  for (const size of [1000, 4096, 65_536, whole.length]) {
    const call = new Kept(Buffer.alloc(0))
    for (let at = 0; at < whole.length; at += size) call.take(whole.subarray(at, at + size))
    const want = { bytes: whole.length, value: whole.toString('utf8', 0, KEPT_BYTES_MAX) }
    t.match(call.answer, want, `${size}`)
  }
})

t.test('texts lie encrypted beside the entries, which commit to them', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  await makeLog(path)
  t.notMatch(readFileSync(path, 'latin1'), /(prompt|answer) of/)
  t.strictSame(shown(path, 'a'), ['prompt of a', 'answer of a'])
  t.strictSame(shown(path, 'nobody'), [])
  const { exitCode, problems } = verifyLog(path, { strict: true })
  t.strictSame([exitCode, problems], [0, []])
  let bundle = ''
  writeBundle(path, (text) => (bundle += text))
  const db = new Database(path, { readonly: true })
  const keys = db.prepare('SELECT subject, hex(secret) AS secret FROM content_keys').all() as {
    subject: string
    secret: string
  }[]
  db.close()
  t.strictSame(
    keys.map(({ subject }) => subject),
    ['acme/ann', 'acme/bob'],
  )
  for (const { secret } of keys) t.notOk(bundle.toUpperCase().includes(secret), 'no key leaves')
})

t.test('the longest texts of all fit into one entry', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { signs: true })
  const texts = ['\u0001"\\'.repeat(KEPT_BYTES_MAX), '€'.repeat(KEPT_BYTES_MAX)]
  for (const [index, words] of texts.entries()) {
    const [asked, answered] = withText(`r${index}`, 's', words)
    await wal.record(asked)
    wal.queue(answered)
  }
  await wal.close()
  t.equal(wal.stats.lostTotal, 0)
  t.equal(shown(path, 'r1').length, 2)
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

t.test('erasing a subject shreds its key, and the log verifies', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  await makeLog(path)
  const before = new Database(path, { readonly: true })
  const secret = before
    .prepare("SELECT secret FROM content_keys WHERE subject = 'acme/ann'")
    .pluck()
    .get() as Buffer
  before.close()
  t.ok(readFileSync(path).includes(secret))
  t.equal(erasePersonal(path, 'test', { subject: 'acme/ann' }), 4)
  t.notOk(readFileSync(path).includes(secret), 'no byte of the key is left')
  t.strictSame([shown(path, 'a'), shown(path, 'c')], [[], []])
  t.strictSame(shown(path, 'b'), ['prompt of b', 'answer of b'])
  const { exitCode, problems } = verifyLog(path, { strict: true })
  t.strictSame([exitCode, problems], [0, []])

  t.equal(erasePersonal(path, 'test', { requestId: 'b' }), 2)
  t.strictSame(shown(path, 'b'), [])
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
  t.equal(erasePersonal(path, 'test', { subject: 'acme/bob' }), 0)
})

t.test('who calls while being erased gets a new key', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const wal = await openWal(path, { signs: true })
  const [first] = withText('first', 's', 'one')
  await wal.record(first)
  t.equal(erasePersonal(path, 'test', { subject: 's' }), 1)
  const [second] = withText('second', 's', 'two')
  await wal.record(second)
  await wal.close()
  t.strictSame([shown(path, 'first'), shown(path, 'second')], [[], ['prompt two']])
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

for (const [name, text, what] of [
  ['deleted', "DELETE FROM content WHERE subject = 'acme/bob'", /missing|differs/],
  ['altered', 'UPDATE content SET data = zeroblob(80) WHERE rowid = 1', /cannot be decrypted/],
  ['given to somebody else', "UPDATE content SET subject = 'x'", /cannot be decrypted/],
  ['given to another call', "UPDATE content SET request_id = 'x'", /as this call/],
  ['kept from being shredded', "UPDATE content_keys SET subject = 'x'", /cannot be decrypted/],
  ['renamed', "UPDATE content SET name = 'other' WHERE name = 'prompt'", /cannot be decrypted/],
  ['shredded without a word', 'DELETE FROM content_keys', /cannot be decrypted/],
  ['dropped with their table', 'DROP TABLE content', /missing|differs/],
  [
    'given to no entry',
    "INSERT INTO content SELECT chain, 999, name, '', subject, key, nonce, data FROM content LIMIT 1",
    /belong to no entry/,
  ],
] as const) {
  t.test(`verifyLog() finds that texts were ${name}`, async (t) => {
    const path = join(t.testdir(), 'audit.db')
    await makeLog(path)
    const { entries } = verifyLog(path, { strict: false })
    sql(path, text)
    const { exitCode, problems, ...found } = verifyLog(path, { strict: false })
    t.strictSame([exitCode, found.entries], [1, entries], 'and the entries are walked all the same')
    t.match(problems[0], { what })
  })
}

t.test('pruning takes texts with their entries, and keys that nothing needs', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  await makeLog(path)
  const younger = await openWal(path, { signs: true })
  const [asked] = withText('younger', 'acme/bob', 'of now')
  await younger.record({ ...asked, occurredAtUs: Date.UTC(2036, 0, 1) * 1000 })
  await younger.close()
  t.ok(pruneLog(path, 'test', Date.UTC(2030, 0, 1)).entries > 0)
  t.strictSame([shown(path, 'a'), shown(path, 'younger')], [[], ['prompt of now']])
  const db = new Database(path, { readonly: true })
  const subjects = db.prepare('SELECT subject FROM content_keys').pluck().all()
  db.close()
  t.strictSame(subjects, ['acme/bob'])
  const { exitCode, problems } = verifyLog(path, { strict: true })
  t.strictSame([exitCode, problems], [0, []])
})

t.test('a start after a crash closes calls whose texts are there', async (t) => {
  const path = join(t.testdir({ copy: {} }), 'audit.db')
  const wal = await openWal(path, { signs: true })
  const [asked] = withText('open', 's', 'asked')
  await wal.record(asked)
  const copy = join(path, '../copy/audit.db')
  for (const suffix of ['', '-wal', '.key', '.keys.json']) {
    writeFileSync(copy + suffix, readFileSync(path + suffix), { mode: 0o600 })
  }
  await wal.close()
  const again = await openWal(copy, { signs: true })
  t.equal(again.stats.recovered, 1)
  await again.close()
  t.strictSame(shown(copy, 'open'), ['prompt asked'])
  t.equal(verifyLog(copy, { strict: true }).exitCode, 0)
})
