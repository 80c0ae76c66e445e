import { once } from 'node:events'
import { copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { type CallFilter, CallIndex } from '../../src/audit/call-index.ts'
import { takeTurn } from '../../src/audit/index-turn.ts'
import { auditExport } from '../../src/cli/audit-export.ts'
import { auditQuery } from '../../src/cli/audit-query.ts'
import { auditVerifyBundle } from '../../src/cli/audit.ts'
import { startGovernor } from '../support/start-governor.ts'

const ANY: CallFilter = {
  tenant: null,
  key: null,
  model: null,
  decision: null,
  policy: null,
  sinceUs: 0,
  limit: 1000,
}

function call(id: string, more: object): { kind: 'decision'; body: string } {
  const body = { kind: 'decision', request_id: id, decision: 'allow', ...more }
  return { kind: 'decision', body: JSON.stringify(body) }
}

const HOSTILE = '=HYPERLINK("http://evil","x")'

function makeLog(path: string): void {
  appendOnce(path, 'test', [
    call('a', { tenant: 'acme', key_id: 'k1', key_name: 'one', 'gen_ai.request.model': 'gpt-4o' }),
    call('b', { tenant: 'other', key_id: 'k2', key_name: 'two', decision: 'deny', policy: 'p1' }),
    call('c', { tenant: 'acme', key_id: 'k3', key_name: 'k1', 'gen_ai.request.model': HOSTILE }),
  ])
}

function query(path: string, filter: Partial<CallFilter>): string[] {
  let out = ''
  const write = (text: string) => (out += text)
  t.equal(auditQuery({ path, filter: { ...ANY, ...filter }, json: true, write }), 0)
  const lines = out.split('\n').filter((line) => line !== '')
  return lines.map((line) => {
    const { entry } = JSON.parse(line) as { entry: { request_id: string } }
    return entry.request_id
  })
}

function isEntry(line: string): boolean {
  return line.includes('"seq"')
}

t.test('auditQuery() finds calls by every field, the newest so many, oldest first', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  t.strictSame(query(path, {}), ['a', 'b', 'c'])
  t.strictSame(query(path, { tenant: 'acme' }), ['a', 'c'])
  t.strictSame(query(path, { key: 'k1' }), ['a', 'c'], 'by id or name')
  t.strictSame(query(path, { model: 'gpt-4o', tenant: 'acme' }), ['a'])
  t.strictSame(query(path, { decision: 'deny' }), ['b'])
  t.strictSame(query(path, { policy: 'p1', key: 'two' }), ['b'])
  t.strictSame(query(path, { limit: 2 }), ['b', 'c'])
  t.strictSame(query(path, { sinceUs: 2 ** 52 }), [])
  appendOnce(path, 'test', [call('d', { tenant: 'acme' })])
  t.strictSame(query(path, { tenant: 'acme' }), ['a', 'c', 'd'], 'what came since')
  t.equal(statSync(`${path}.index`).mode & 0o777, 0o600)
})

t.test('CallIndex uses an index for every field, and sorts nothing', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  const index = CallIndex.open(path)
  for (const name of ['tenant', 'model', 'decision', 'policy'] as const) {
    const plan = index.plan({ ...ANY, [name]: 'x' })
    t.match(plan.join('\n'), new RegExp(`SEARCH calls USING .*INDEX calls_${name}`))
    t.notMatch(plan.join('\n'), /TEMP B-TREE/)
  }
  const byKey = index.plan({ ...ANY, key: 'x' }).join('\n')
  t.match(byKey, /calls_key_id[^]*calls_key_name/)
  index.close()
})

t.test('an index that is damaged, or of another log, is made anew', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  t.equal(query(path, {}).length, 3)
  writeFileSync(`${path}.index`, 'no database at all, and longer than its head'.repeat(100))
  for (const suffix of ['-wal', '-shm']) rmSync(`${path}.index${suffix}`, { force: true })
  t.equal(query(path, {}).length, 3)
  rmSync(path)
  appendOnce(path, 'test', [call('z', { tenant: 'acme' })])
  t.strictSame(query(path, {}), ['z'])
})

t.test('a log put back from a backup shows no call of one tenant as that of another', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  copyFileSync(path, `${path}.backup`)
  appendOnce(path, 'test', [call('d', { tenant: 'acme' }), call('e', { tenant: 'acme' })])
  t.strictSame(query(path, { tenant: 'acme' }), ['a', 'c', 'd', 'e'])
  const putBack = () => {
    for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true })
    copyFileSync(`${path}.backup`, path)
  }
  putBack()
  t.strictSame(query(path, { tenant: 'acme' }), ['a', 'c'], 'shorter than it was')
  appendOnce(path, 'test', [call('f', { tenant: 'acme' }), call('g', { tenant: 'acme' })])
  t.strictSame(query(path, { tenant: 'acme' }), ['a', 'c', 'f', 'g'])
  putBack()
  const others = ['v', 'w', 'x', 'y', 'z'].map((id) => call(id, { tenant: 'other' }))
  appendOnce(path, 'test', others)
  t.strictSame(query(path, { tenant: 'acme' }), ['a', 'c'], 'longer than it was, with other calls')
  t.strictSame(query(path, { tenant: 'other' }), ['b', 'v', 'w', 'x', 'y', 'z'])
})

const READER = new URL('../audit/support/index-reader.ts', import.meta.url)

t.test('four who ask first at once are all answered', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const calls = Array.from({ length: 2000 }, (_, at) => call(`c${at}`, { tenant: `t${at % 2}` }))
  appendOnce(path, 'test', calls)
  const filter = { ...ANY, tenant: 't1' }
  const workerData = { path, filter, waiting: new SharedArrayBuffer(8), readers: 4 }
  const readers = Array.from({ length: 4 }, () => new Worker(READER, { workerData }))
  t.teardown(() => Promise.all(readers.map((reader) => reader.terminate())))
  const found = await Promise.all(readers.map((reader) => once(reader, 'message')))
  t.strictSame(found, [[1000], [1000], [1000], [1000]])
})

t.test('who waits in vain for the index is told why', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  const turn = takeTurn(`${path}.index`)
  t.throws(() => takeTurn(`${path}.index`, 10), {
    message: /^Another process has been making the index .*audit\.db\.index for 0 minutes/,
  })
  turn.release()
  takeTurn(`${path}.index`, 10).release()
})

t.test('calls of a file that is gone take no place among the newest', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  const next = path.replace('audit.db', 'audit.e2.db')
  copyFileSync(path, next)
  t.strictSame(query(path, { limit: 3 }), ['a', 'b', 'c'])
  t.equal(query(path, {}).length, 6)
  rmSync(next)
  t.strictSame(query(path, { limit: 3 }), ['a', 'b', 'c'])
})

t.test('auditExport() writes CSV in which nothing is a formula', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  makeLog(path)
  appendOnce(path, 'test', [call('e', { tenant: '+1', user: '\t@x', key_name: 'a,"b"' })])
  let out = ''
  const write = (text: string) => (out += text)
  const asked = { path, sinceUs: 0, version: '1', write, writeError: write }
  t.equal(auditExport({ ...asked, format: 'csv' }), 0)
  const lines = out.split('\r\n')
  t.match(lines[0], /^time,writer,epoch,seq,kind,request_id,decision,/)
  t.match(out, /,"'=HYPERLINK\(""http:\/\/evil"",""x""\)",/)
  t.match(out, /,"'\+1",/)
  t.match(out, /,"'\\u0009@x",/)
  t.match(out, /,"a,""b""",/)
  out = ''
  t.equal(auditExport({ ...asked, sinceUs: 2 ** 52, format: 'csv' }), 0)
  t.equal(out, `${lines[0]}\r\n`, 'of no entries it has its first line')
  t.equal(auditExport({ ...asked, path: `${path}x`, format: 'jsonl' }), 2)
})

t.test('a whole log is exported through the command line and verified without it', async (t) => {
  const site = await startGovernor(t)
  await site.send({
    path: '/v1/chat/completions',
    body: { model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }] },
  })
  await site.governor.stop(0)
  const queried = await site.cli('audit', 'query', '--tenant', 'acme', '--json')
  t.equal(queried.stdout.trim().split('\n').length, 1)
  for (const wrong of [
    ['--decision', 'maybe'],
    ['--limit', '0'],
  ]) {
    const { code, stdout } = await site.cli('audit', 'query', ...wrong)
    t.strictSame([code, stdout], [2, ''], 'no answer is not the same as no call')
  }
  const lines = await site.cli('audit', 'export')
  t.equal(lines.stdout.trim().split('\n').length, site.entries().length)

  const elsewhere = await site.cli('audit', 'query', '--json', '--url', 'postgres://127.0.0.1:1/x')
  t.match(elsewhere, { code: 2, stdout: '', stderr: /^Cannot ask/ }, 'no text among JSON')

  const exported = await site.cli('audit', 'export', '--all')
  t.equal(exported.code, 0)
  const file = join(site.directory, 'bundle.jsonl')
  const verify = async (text: string) => {
    writeFileSync(file, text)
    let out = ''
    const write = (said: string) => (out += said)
    const keys = `${site.auditPath}.keys.json`
    const code = await auditVerifyBundle({ path: file, strict: true, keys, json: false, write })
    return { code, out }
  }
  t.strictSame((await verify(exported.stdout)).code, 0)
  t.equal((await verify(exported.stdout.replace('"allow', '"alloW'))).code, 1)
  const cut = await verify(exported.stdout.split('\n').slice(0, 5).join('\n'))
  t.equal(cut.code, 2)
  t.match(cut.out, /Cannot read the bundle .*bundle\.jsonl, line 5: it is cut short/)
  const rows = exported.stdout.split('\n')
  const short = await verify(rows.toSpliced(rows.findLastIndex(isEntry), 1).join('\n'))
  t.equal(short.code, 2)
  t.match(short.out, /its last line counts \d+ entries, and it has \d+/)
  t.equal((await verify('{"x":1}\n')).code, 2)
  t.equal((await verify('no json\n')).code, 2)

  const db = new Database(site.auditPath, { readonly: true })
  t.equal(db.prepare("SELECT count(*) FROM entries WHERE kind = 'checkpoint'").pluck().get(), 2)
  db.close()
  t.ok(readFileSync(file).length > 0)
})
