import { execFile } from 'node:child_process'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

import Database from 'better-sqlite3'
import t from 'tap'

import { appendOnce } from '../../src/audit/append-once.ts'
import { Signer } from '../../src/audit/signing-key.ts'
import { auditRotateKey, auditTail, auditVerify } from '../../src/cli/audit.ts'
import { wallMs } from '../../src/clock.ts'
import { configText, Site } from '../support/start-governor.ts'

function admin(action: string): { kind: 'admin'; body: string } {
  return { kind: 'admin', body: JSON.stringify({ kind: 'admin', action, about: {} }) }
}

const HOSTILE = '\u001b[2J\u001b]52;c;x\u0007\u009b1m\u202e\u2066'

t.test('auditTail() shows the last entries, one line each', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  const body = {
    kind: 'decision',
    decision: 'deny',
    status: 403,
    code: 'POLICY_DENIED',
    operation: 'chat',
    'gen_ai.request.model': 'gpt-5',
    tenant: 'dev',
    key_id: 'k1',
    policy: 'frontier',
  }
  const outcome = { kind: 'outcome', outcome: 'complete', status: 200, duration_us: 12_345 }
  appendOnce(path, 'test', [
    { kind: 'decision', body: JSON.stringify(body) },
    { kind: 'outcome', body: JSON.stringify({ ...outcome, 'gen_ai.usage.input_tokens': 9 }) },
    admin('keys.create'),
  ])
  let out = ''
  const write = (text: string) => (out += text)
  t.equal(await auditTail({ path, lines: 5, follow: false, json: false, write }), 0)
  t.strictSame(out.replaceAll(/^\S+/gm, 'TIME').split('\n'), [
    'TIME  deny 403 POLICY_DENIED  chat gpt-5  tenant=dev key=k1 policy=frontier',
    'TIME  outcome complete 200  input_tokens=9  12.3ms',
    'TIME  admin  keys.create  {}',
    'TIME  writer.close',
    'TIME  checkpoint  size=5',
    '',
  ])
  t.match(out, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z {2}deny/)
})

t.test('auditTail() as JSON is one object a line', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  appendOnce(path, 'test', [admin(HOSTILE)])
  let out = ''
  const write = (text: string) => (out += text)
  t.equal(await auditTail({ path, lines: 3, follow: false, json: true, write }), 0)
  const lines = out.trim().split('\n')
  t.equal(lines.length, 3)
  t.match(JSON.parse(lines[0] ?? ''), { epoch: 1, seq: 2, entry: { action: HOSTILE } })
  t.notMatch(out, /[^\n\x20-\x7e]/)
})

t.test('auditTail() escapes what a terminal would obey', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  appendOnce(path, 'test', [admin(HOSTILE), { kind: 'admin', body: HOSTILE }])
  let out = ''
  const write = (text: string) => (out += text)
  await auditTail({ path, lines: 10, follow: false, json: false, write })
  await auditTail({ path, lines: 10, follow: false, json: true, write })
  t.notMatch(out, /[^\n\x20-\x7e]/)
  t.match(out, /admin {2}\\u001b\[2J\\u001b\]52;c;x\\u0007\\u009b1m\\u202e\\u2066/)
})

t.test('auditTail() follows until it is told to stop, into the next epoch', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  appendOnce(path, 'test', [admin('one')])
  const stop = new AbortController()
  let out = ''
  let onLine: (() => void) | null = null
  const seen = (text: string) =>
    new Promise<void>((resolve) => {
      onLine = () => out.includes(text) && resolve()
      onLine()
    })
  const write = (text: string) => {
    out += text
    onLine?.()
  }
  const tail = auditTail({ path, lines: 1, follow: true, json: false, write, signal: stop.signal })
  await seen('checkpoint')
  appendOnce(path, 'test', [admin('two')])
  await seen('two')
  const next = path.replace('.db', '.e2.db')
  appendOnce(next, 'test', [admin('three')])
  await seen('three')
  stop.abort()
  t.equal(await tail, 0)
  t.notMatch(out, /one/)
})

t.test('auditTail() and auditVerify() without a log say so', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  let out = ''
  const write = (text: string) => (out += text)
  t.equal(await auditTail({ path, lines: 1, follow: false, json: false, write }), 2)
  t.equal(auditVerify({ path, strict: false, json: false, write }), 2)
  t.match(out, /There is no audit log at .*audit\.db\n.*There is no audit log to read/)
})

t.test('auditVerify() says what holds and what does not', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  appendOnce(path, 'test', [admin('one')])
  let out = ''
  const write = (text: string) => (out += text)
  t.equal(auditVerify({ path, strict: true, json: false, write }), 0)
  t.equal(
    out,
    'The audit log holds: 4 entries, 1 chain, 1 file, 0 open calls, ' +
      '3 entries under a signed checkpoint\n',
  )
  const db = new Database(path)
  db.exec('DELETE FROM entries WHERE seq = 2')
  db.close()
  out = ''
  t.equal(auditVerify({ path, strict: true, json: false, write }), 1)
  t.match(out, /problem {2}.*audit\.db writer [0-9a-f]{32} entry 3: Missing before it: entry 2/)
  out = ''
  t.equal(auditVerify({ path, strict: true, json: true, write }), 1)
  t.match(JSON.parse(out), { exitCode: 1, problemsTotal: 1 })
})

t.test(
  'auditRotateKey() signs on with a new key, and the former stays valid for its time',
  async (t) => {
    const path = join(t.testdir(), 'audit.db')
    appendOnce(path, 'test', [admin('one')])
    let out = ''
    const write = (text: string) => (out += text)
    t.equal(auditRotateKey({ path, version: 'test', write }), 0)
    t.match(out, /^Key [0-9a-f]{8} signs the audit from now on, instead of [0-9a-f]{8}\.\n/)
    appendOnce(path, 'test', [admin('two')])
    const { keys } = JSON.parse(readFileSync(`${path}.keys.json`, 'utf8')) as { keys: object[] }
    t.match(keys, [{ until: String }, { until: null }])
    t.equal(statSync(`${path}.key`).mode & 0o777, 0o600)
    t.equal(auditVerify({ path, strict: true, json: false, write }), 0)
  },
)

t.test('auditVerify() holds a log against the keys it is given', async (t) => {
  const dir = t.testdir()
  const path = join(dir, 'audit.db')
  const other = join(dir, 'other.db')
  for (const each of [path, other]) appendOnce(each, 'test', [admin('one')])
  let out = ''
  const write = (text: string) => (out += text)
  const verify = (keys: string | null) =>
    auditVerify({ path, strict: true, keys, json: false, write })
  t.equal(verify(`${path}.keys.json`), 0)
  t.equal(verify(`${other}.keys.json`), 1)
  t.match(out, /signed by no key of the key list/)
  t.equal(verify(join(dir, 'absent.json')), 2)
  t.match(out, /Cannot read the key list .*absent\.json/)
  rmSync(`${path}.keys.json`)
  t.equal(verify(null), 2)
  t.match(out, /Its signatures were not checked: there is no key list/)
})

t.test('what a command cannot do it says on standard error, with exit code 2', async (t) => {
  const site = new Site(t.testdir(), configText())
  for (const [words, why] of [
    ['audit ship', /^Nowhere to ship to: set audit\.ship/],
    ['audit prune', /^Nothing was removed: set audit\.retention/],
    ['audit prune --url --older-than 1d', /^Nothing was removed: months go only under a published/],
    ['audit publish', /^There is no database to ask: set audit\.ship\.postgres/],
    ['audit erase', /^Nothing was erased: name --subject/],
    ['migrate', /^Nothing to migrate: set audit\.ship\.postgres/],
  ] as const) {
    const ran = await site.cli(...words.split(' '))
    t.match({ ...ran, words }, { code: 2, stdout: /^$/, stderr: why })
  }
})

t.test('auditRotateKey() tells both keys in an entry, of a log that had none, too', async (t) => {
  const path = join(t.testdir(), 'audit.db')
  let out = ''
  const write = (text: string) => (out += text)
  for (let time = 0; time < 2; time++) t.equal(auditRotateKey({ path, version: 'test', write }), 0)
  const { keys } = JSON.parse(readFileSync(`${path}.keys.json`, 'utf8')) as {
    keys: { id: string; until: string | null }[]
  }
  const [first, second, third] = keys.map(({ id }) => id)
  t.strictSame(
    keys.map(({ until }) => until === null),
    [false, false, true],
  )
  t.match(out, `Key ${third} signs the audit from now on, instead of ${second}.\n`)
  const db = new Database(path, { readonly: true })
  const rows = db.prepare("SELECT body FROM entries WHERE kind = 'admin' ORDER BY id").all()
  db.close()
  t.strictSame(
    (rows as { body: Buffer }[]).map(({ body }) => JSON.parse(body.toString()).about),
    [
      { former: first, current: second },
      { former: second, current: third },
    ],
  )
  t.equal(auditVerify({ path, strict: true, keys: null, json: false, write }), 0)
})

t.test(
  'two rotations at once replace one key after the other, and none is left over',
  async (t) => {
    const path = join(t.testdir(), 'audit.db')
    appendOnce(path, 'test', [admin('one')])
    const module = new URL('../../src/cli/audit.ts', import.meta.url).href
    const script = `import { auditRotateKey } from ${JSON.stringify(module)}
    const write = (text) => process.stdout.write(text)
    process.exitCode = auditRotateKey({ path: process.argv[1], version: 'test', write })`
    const rotate = () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, path])
    const said = await Promise.all([rotate(), rotate()])
    const { keys } = JSON.parse(readFileSync(`${path}.keys.json`, 'utf8')) as {
      keys: { id: string; until: string | null }[]
    }
    const ids = keys.map(({ id }) => id)
    t.equal(ids.length, 3)
    const steps = ids.slice(1).map((id, index) => {
      return `Key ${id} signs the audit from now on, instead of ${ids[index]}.`
    })
    t.strictSame(new Set(said.map(({ stdout }) => stdout.split('\n')[0])), new Set(steps))
    let out = ''
    const write = (text: string) => (out += text)
    t.equal(auditVerify({ path, strict: true, keys: null, json: false, write }), 0, out)
  },
)

t.test(
  'a key that is replaced after the clock was set back ends after what it signed',
  async (t) => {
    const path = join(t.testdir(), 'audit.db')
    const list = `${path}.keys.json`
    // Made, and used, by a clock that was an hour ahead.
    Signer.open(path, wallMs() + 3_600_000)
    appendOnce(path, 'test', [admin('one')])
    const { keys } = JSON.parse(readFileSync(list, 'utf8')) as { keys: object[] }
    writeFileSync(list, JSON.stringify({ keys: [{ ...keys[0], from: new Date(0).toISOString() }] }))
    let out = ''
    const write = (text: string) => (out += text)
    t.equal(auditRotateKey({ path, version: 'test', write }), 0)
    appendOnce(path, 'test', [admin('two')])
    t.equal(auditVerify({ path, strict: true, keys: null, json: false, write }), 0, out)
  },
)
