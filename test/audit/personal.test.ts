import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import Database from 'better-sqlite3'
import t from 'tap'

import { erasePersonal } from '../../src/audit/erase.ts'
import { commitPersonal, subjectOf, withCommitments } from '../../src/audit/personal.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { own } from '../../src/audit/writer.ts'
import { startGovernor } from '../support/start-governor.ts'
import { openWal, refusal } from './support/log.ts'
import { openWriter } from './support/open-writer.ts'

function personal(id: string, subject: string, agent = `agent of ${id}`) {
  const entry = refusal(id)
  const values = { 'client.address': '192.0.2.7', 'user_agent.original': agent }
  const committed = commitPersonal({ subject, values })
  return { ...entry, body: withCommitments(entry.body, committed), side: committed.side }
}

async function makeLog(path: string): Promise<void> {
  const wal = await openWal(path, { signs: true })
  const entries = [personal('a', 'acme/ann'), personal('b', 'acme/bob'), personal('c', 'acme/ann')]
  await Promise.all(entries.map((entry) => wal.record(entry)))
  await wal.record(refusal('plain'))
  await wal.close()
}

function sql(path: string, text: string): void {
  const db = new Database(path)
  db.exec(text)
  db.close()
}

t.test('subjectOf() is the tenant and its user, else its key', async (t) => {
  t.equal(subjectOf({ tenant: 'acme', user: 'ann', keyId: 'k1' }), 'acme/ann')
  t.equal(subjectOf({ tenant: 'acme', user: '', keyId: 'k1' }), 'acme/k1')
  t.equal(subjectOf({ tenant: 'acme', user: '', keyId: '' }), 'acme')
})

t.test('no two callers are one subject, whatever claims they come with', async (t) => {
  const callers = [
    { tenant: 'a', user: 'b/c', keyId: 'k' },
    { tenant: 'a/b', user: 'c', keyId: 'k' },
    { tenant: 'a%2Fb', user: 'c', keyId: 'k' },
    { tenant: 't'.repeat(256), user: `spiffe://${'n'.repeat(240)}/one`, keyId: 'k' },
    { tenant: 't'.repeat(256), user: `spiffe://${'n'.repeat(240)}/two`, keyId: 'k' },
    { tenant: '/'.repeat(256), user: `${'u'.repeat(255)}1`, keyId: 'k' },
    { tenant: '/'.repeat(256), user: `${'u'.repeat(255)}2`, keyId: 'k' },
  ]
  t.equal(new Set(callers.map(subjectOf)).size, callers.length)
  t.equal(subjectOf({ tenant: 'a/b', user: 'c/d', keyId: '' }), 'a%2Fb/c/d')
})

t.test('equal values have different commitments', async (t) => {
  const same = { subject: 's', values: { v: 'same' } }
  t.not(commitPersonal(same).said, commitPersonal(same).said)
})

t.test('erasePersonal() leaves no byte of the values, and the log verifies', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  await makeLog(path)
  t.strictSame(verifyLog(path, { strict: true }).exitCode, 0)
  t.ok(readFileSync(path).includes('agent of a'))

  t.equal(erasePersonal(path, 'test', { subject: 'acme/ann' }), 2)
  const bytes = readFileSync(path)
  t.notOk(bytes.includes('agent of a'))
  t.notOk(bytes.includes('agent of c'))
  t.ok(bytes.includes('agent of b'))
  const result = verifyLog(path, { strict: true })
  t.strictSame([result.exitCode, result.problems], [0, []])

  t.equal(erasePersonal(path, 'test', { subject: 'acme/ann' }), 0, 'nothing is left')
  t.equal(erasePersonal(path, 'test', { requestId: 'b' }), 1)
  t.equal(verifyLog(path, { strict: true }).exitCode, 0)
})

for (const [name, text] of [
  ['deleted', "DELETE FROM personal WHERE subject = 'acme/bob'"],
  ['changed', "UPDATE personal SET value = 'x' WHERE name = 'client.address'"],
  ['renamed', "UPDATE personal SET name = 'x' WHERE name = 'client.address'"],
  ['given to somebody else', "UPDATE personal SET subject = 'x' WHERE subject = 'acme/bob'"],
  ['salted anew', 'UPDATE personal SET salt = zeroblob(32)'],
  ['half deleted', "DELETE FROM personal WHERE name = 'client.address'"],
  [
    'added to',
    `INSERT INTO personal SELECT chain, seq, 'y', subject, salt, value FROM personal
     WHERE name = 'client.address'`,
  ],
  ['dropped with their table', 'DROP TABLE personal'],
] as const) {
  t.test(`verifyLog() finds that personal values were ${name}`, async (t) => {
    const path = join(t.testdir(), 'audit.db')
    await makeLog(path)
    sql(path, text)
    const { exitCode, problems } = verifyLog(path, { strict: false })
    t.equal(exitCode, 1)
    t.match(problems[0], { what: /[Pp]ersonal value/ })
  })
}

t.test('verifyLog() takes no word for an erasure from somebody without the key', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  await makeLog(path)
  const db = new Database(path)
  const writer = db.prepare('SELECT hex(writer_id) FROM chains').pluck().get() as string
  db.close()
  const forger = openWriter(path, { writerId: Buffer.alloc(16, 6), role: 'command' })
  const erased = [{ writer_id: writer.toLowerCase(), epoch: 1, seq: 2 }]
  const body = JSON.stringify({ kind: 'redaction', erased })
  forger.begin()
  forger.append(own('redaction', '', Date.parse('2026-11-21') * 1000, body))
  forger.commit()
  forger.abandon()
  sql(path, 'DELETE FROM personal WHERE seq = 2')
  t.match(verifyLog(path, { strict: false }), {
    exitCode: 1,
    problems: [{ seq: 2, what: /no signed entry says that they were erased/ }],
  })
})

t.test('a person is erased through the command line while the sidecar runs', async (t) => {
  const site = await startGovernor(t, { audit: '{ path: audit.db, content: commitment }' })
  const call = () =>
    site.send({
      path: '/v1/chat/completions',
      headers: { 'user-agent': 'agent/1 (of ann)' },
      body: { model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }] },
    })
  t.equal((await call()).status, 200)
  t.equal((await call()).status, 200)
  const decision = site.entries().find(({ kind }) => kind === 'decision')
  const said = decision?.body['personal'] as Record<string, string>
  t.strictSame(Object.keys(said), ['client.address', 'user_agent.original'])
  t.notMatch(JSON.stringify(site.entries()), /127\.0\.0\.1|agent\/1/)
  t.equal((await site.cli('audit', 'verify')).code, 0)

  const wrong = await site.cli('audit', 'erase')
  t.equal(wrong.code, 2)
  t.equal((await site.cli('audit', 'erase', '--subject', 'acme/nobody')).code, 1)
  const one = await site.cli('audit', 'erase', '--request', decision!.requestId)
  t.match(one, { code: 0, stdout: /Erased the personal values of 1 entries/ })
  const subject = `acme/${site.key.split('.')[0]}`
  t.match(await site.cli('audit', 'erase', '--subject', subject), { code: 0 })
  t.equal((await call()).status, 200)
  await site.governor.stop(0)
  const verified = await site.cli('audit', 'verify', '--strict')
  t.equal(verified.code, 0, verified.stdout)
  t.match(
    site.entries().filter(({ kind }) => kind === 'redaction'),
    [{ body: { erased: [{ epoch: 1 }] } }, { body: { subject, erased: [{ epoch: 1 }] } }],
  )
})

t.test('content: none commits to nothing and stores nothing', async (t) => {
  const site = await startGovernor(t)
  await site.send({
    path: '/v1/chat/completions',
    body: { model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }] },
  })
  t.notMatch(JSON.stringify(site.entries()), /"personal"/)
  const db = new Database(site.auditPath, { readonly: true })
  t.equal(db.prepare('SELECT count(*) FROM personal').pluck().get(), 0)
  db.close()
})
