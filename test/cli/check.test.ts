import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { check, type CheckOptions } from '../../src/cli/check.ts'
import { governor } from '../support/cli.ts'

const GOOD = `version: 1
upstreams:
  - name: openai
    dialect: openai
    url: https://api.openai.com
    credential: \${OPENAI_API_KEY}
policies: [{ id: chat, allow: { operations: [chat] } }]
`
const BAD = 'version: 2\nupstream: []\n'

function run(options: Partial<CheckOptions>) {
  let output = ''
  const write = (text: string) => {
    output += text
  }
  const given = { files: [], format: 'text', print: false, version: '1.2.3', env: {}, write }
  const code = check({ ...given, ...options })
  return { code, output }
}

t.test('check() prints one line for the governance.yaml of this repository', async (t) => {
  const file = new URL('../../governance.yaml', import.meta.url).pathname
  const { code, output } = run({ files: [file] })
  const said = output.split('\n').filter((line) => !line.includes('(tmpfs)'))
  t.strictSame(
    [code, ...said],
    [
      0,
      `${file}: OK, 1 upstream, 2 limits, 3 policies; about 524,288 calls fit in audit.local_max 1GiB`,
      '',
    ],
  )
})

t.test('check() prints notes before the verdict and exits 0', async (t) => {
  const file = join(t.testdir({ 'a.yaml': GOOD }), 'a.yaml')
  const { code, output } = run({ files: [file] })
  t.equal(code, 0)
  t.equal(
    output.split('\n')[0],
    `${file}:6:17  upstreams[0].credential  Note: Not set here: \${OPENAI_API_KEY}`,
  )
  t.match(output, /: OK, 1 upstream, 0 limits, 1 policy; .*\n$/)
})

t.test('check() prints all problems of all files and exits 1', async (t) => {
  const folder = t.testdir({ 'a.yaml': BAD, 'b.yaml': GOOD })
  const a = join(folder, 'a.yaml')
  const { code, output } = run({ files: [a, join(folder, 'b.yaml')] })
  t.equal(code, 1)
  t.match(
    output,
    `${a}:1:1  upstreams  Key "upstreams" is missing\n` +
      '  1 | version: 2\n' +
      '    | ^\n' +
      `${a}:1:10  version  Expected 1, found 2\n` +
      '  1 | version: 2\n' +
      '    |          ^\n' +
      `${a}:2:1  upstream  Unknown key: did you mean "upstreams"?\n` +
      '3 problems.\n',
  )
})

t.test('check() exits 2 when a file is not there', async (t) => {
  const file = join(t.testdir({}), 'none.yaml')
  t.strictSame(run({ files: [file] }), {
    code: 2,
    output: `${file}  Cannot read the file: there is none: \`governor init\` writes one\n1 problem.\n`,
  })
})

t.test('check() --print masks secrets and stays YAML', async (t) => {
  const file = join(t.testdir({ 'a.yaml': GOOD }), 'a.yaml')
  const { code, output } = run({
    files: [file],
    print: true,
    env: { OPENAI_API_KEY: 'sk-hunter2' },
  })
  t.equal(code, 0)
  t.match(output, /^# .*a\.yaml, as it takes effect\nversion: 1\n/)
  t.notMatch(output, /hunter2/)
})

t.test('check() --format json describes every file', async (t) => {
  const folder = t.testdir({ 'a.yaml': BAD, 'b.yaml': GOOD })
  const files = [join(folder, 'a.yaml'), join(folder, 'b.yaml')]
  const { code, output } = run({ files, format: 'json', print: true })
  const parsed: unknown = JSON.parse(output)
  t.equal(code, 1)
  t.match(parsed, {
    files: [
      { file: files[0], ok: false, problems: [{ line: 1, path: 'upstreams' }, {}, {}] },
      { file: files[1], ok: true, notes: [{ line: 6, severity: 'note' }], effective: /^version/ },
    ],
  })
})

t.test(
  'check() --format json has one shape for files that pass, fail and are missing',
  async (t) => {
    const folder = t.testdir({ 'a.yaml': BAD, 'b.yaml': GOOD })
    const files = ['a.yaml', 'b.yaml', 'none.yaml'].map((name) => join(folder, name))
    for (const print of [false, true]) {
      const { code, output } = run({ files, format: 'json', print })
      t.equal(code, 2)
      const described = (JSON.parse(output) as { files: Record<string, unknown>[] }).files
      const more = print ? ['effective'] : []
      for (const each of described) {
        t.strictSame(Object.keys(each), ['file', 'ok', 'digest', 'problems', 'notes', ...more])
      }
      const counts = described.map(({ ok, digest, problems, notes }) => {
        return [ok, typeof digest, (problems as unknown[]).length, (notes as unknown[]).length]
      })
      t.strictSame(
        [counts[0], counts[1]?.slice(0, 3), counts[2]],
        [
          [false, 'object', 3, 0],
          [true, 'string', 0],
          [false, 'object', 1, 0],
        ],
      )
    }
  },
)

t.test('check() prints no configuration among annotations, and says so', async (t) => {
  for (const format of ['github', 'sarif']) {
    const output = `--print has no place in --format ${format}: use text or json\n`
    t.strictSame(run({ format, print: true }), { code: 2, output })
  }
})

t.test('check() refuses a format it does not have', async (t) => {
  t.strictSame(run({ format: 'jsn' }), {
    code: 2,
    output: 'Unknown format "jsn": did you mean "json"?\n',
  })
})

t.test('check --format github and sarif print nothing else, and keep the exit code', async (t) => {
  const cwd = t.testdir({ 'a.yaml': BAD, 'b.yaml': `${GOOD}sets: { idle: [x] }\n` })
  const github = await governor(['check', '--format', 'github', 'a.yaml', 'b.yaml'], cwd)
  t.equal(github.code, 1)
  t.strictSame(github.out.split('\n').slice(0, 3), [
    '::error file=a.yaml,line=1,col=1,title=upstreams::Key "upstreams" is missing',
    '::error file=a.yaml,line=1,col=10,title=version::Expected 1, found 2',
    '::error file=a.yaml,line=2,col=1,title=upstream::Unknown key: did you mean "upstreams"?',
  ])
  t.ok(github.out.includes('\n::warning file=b.yaml,line=8,col=15,title=sets.idle::'))
  t.ok(github.out.split('\n').every((line) => line === '' || line.startsWith('::')))
  const sarif = await governor(['check', '--format', 'sarif', 'b.yaml', 'none.yaml'], cwd)
  t.equal(sarif.code, 2)
  const rules = JSON.parse(sarif.out).runs[0].results.map((each: { ruleId: string }) => each.ruleId)
  t.ok(['advice', 'unused-set', 'invalid'].every((rule) => rules.includes(rule)))
})

t.test('what cannot be written out is said, and is no success', async (t) => {
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  const main = new URL('../../src/main.ts', import.meta.url).pathname
  const stdio = ['ignore', full, 'pipe'] as const
  const { status, stderr } = spawnSync(process.execPath, [main, '--help'], { stdio: [...stdio] })
  t.strictSame(
    [status, stderr.toString()],
    [2, 'Cannot write what there is to say: the disk is full\n'],
  )
})
