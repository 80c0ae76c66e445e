import { chmodSync, existsSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { loadConfig, parseConfig, type Loaded, type Problem } from '../../src/load-config.ts'
import { outcome, readCases } from './cases.ts'

const HEAD = 'version: 1\nupstreams: [{ name: echo, dialect: openai, url: "echo:" }]\n'
const ROOT = new URL('../../', import.meta.url)
const EXAMPLES = [
  'governance.yaml',
  'config/starter.yaml',
  'config/team-models.yaml',
  'config/tenant-limits.yaml',
  'config/codenames.yaml',
]

function load(text: string | Buffer, env: Record<string, string> = {}, forRun = true): Loaded {
  return parseConfig('governance.yaml', Buffer.from(text), { env, forRun })
}

function lines(loaded: Loaded): string[] {
  const said = loaded.ok ? onDisk(loaded.notes) : loaded.problems
  return said.map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`)
}

/** This checkout may itself be on tmpfs, which is noted. */
function onDisk(notes: readonly Problem[]): Problem[] {
  return notes.filter(({ path }) => path !== 'audit.path')
}

function withPatterns(count: number): string {
  const policies = Array.from({ length: count }, (_, i) => {
    return `  - { id: p${i}, deny: { input: { matches: p${i} } } }\n`
  })
  return `${HEAD}policies:\n${policies.join('')}`
}

function withCredentialFile(path: string): string {
  return `version: 1
upstreams:
  - name: openai
    dialect: openai
    url: https://api.openai.com
    credential_file: ${path}
`
}

for (const { name, yaml, want } of readCases()) {
  t.test(`loadConfig() on cases/${name}`, async (t) => t.equal(outcome(yaml), want))
}

for (const name of EXAMPLES) {
  t.test(`loadConfig() accepts ${name} without a note`, async (t) => {
    const file = new URL(name, ROOT).pathname
    const loaded = loadConfig(file, { env: { OPENAI_API_KEY: 'sk-1' }, forRun: true })
    const expected = {
      'config/codenames.yaml': ['upstreams[1].credential'],
      'config/tenant-limits.yaml': ['limits'],
    }[name]
    t.equal(loaded.ok, true)
    t.strictSame(loaded.ok && onDisk(loaded.notes).map(({ path }) => path), expected ?? [])
  })
}

t.test('loadConfig() never throws on any beginning of a file', async (t) => {
  const bytes = readFileSync(new URL('config/tenant-limits.yaml', ROOT))
  let refused = 0
  for (let length = 0; length < bytes.length; length++) {
    const loaded = load(bytes.subarray(0, length), { OPENAI_API_KEY: 'sk-1' })
    if (!loaded.ok) refused++
    if (!loaded.ok && loaded.problems.length === 0) t.fail(`no reason at ${length}`)
  }
  t.ok(refused > 100)
})

t.test('loadConfig() never throws when one byte is wrong', async (t) => {
  const bytes = readFileSync(new URL('governance.yaml', ROOT))
  for (const wrong of ['{', '*', '&', '!', '\t', '"', ':', '\n', '$', '\0', '\xff']) {
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = Buffer.from(bytes)
      changed[at] = wrong.charCodeAt(0)
      const loaded = load(changed)
      if (!loaded.ok && loaded.problems.length === 0) t.fail(`no reason at ${at}`)
    }
  }
  t.pass()
})

t.test('loadConfig() says why a file cannot be read', async (t) => {
  const folder = t.testdir({ 'empty.yaml': ' \n', folder: {}, 'nul.yaml': 'version: 1\0\n' })
  writeFileSync(join(folder, 'latin.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9, 0x0a]))
  writeFileSync(join(folder, 'large.yaml'), `# ${'x'.repeat(1024 * 1024)}\n`)
  for (const [name, missing, message] of [
    ['none.yaml', true, 'Cannot read the file: there is none: `governor init` writes one'],
    ['none/none.yaml', true, 'Cannot read the file: there is none: `governor init` writes one'],
    ['folder', true, 'Cannot read: it is not a file'],
    ['large.yaml', true, 'The file is larger than 1048576 bytes'],
    ['empty.yaml', false, 'The file is empty: `governor init` writes one to start from'],
    ['latin.yaml', false, 'The file is not UTF-8 text: save it as UTF-8'],
    [
      'nul.yaml',
      false,
      'The file holds a NUL byte: it is not text, or not UTF-8, save it as UTF-8',
    ],
  ] as const) {
    const loaded = loadConfig(join(folder, name), { forRun: true })
    t.strictSame(loaded.ok ? null : [loaded.missing, loaded.problems[0]?.message], [
      missing,
      message,
    ])
  }
})

t.test('loadConfig() survives brackets without end', async (t) => {
  t.equal(load('['.repeat(20_000)).ok, false)
  t.equal(load('a: '.repeat(20_000)).ok, false)
  t.equal(load('- '.repeat(20_000)).ok, false)
  t.equal(load(`${HEAD}aliases: ${'{ a: '.repeat(40)}1${' }'.repeat(40)}\n`).ok, false)
})

t.test('loadConfig() freezes the snapshot to its depth', async (t) => {
  const loaded = load(`${HEAD}policies: [{ id: a, deny: { labels: { tier: x } } }]\n`)
  const open: string[] = []
  const visit = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null) return
    if (!Object.isFrozen(value)) open.push(path)
    for (const [key, inner] of Object.entries(value)) visit(inner, `${path}.${key}`)
  }
  visit(loaded.ok && loaded.snapshot, '')
  t.strictSame(open, [])
})

t.test('loadConfig() names the file and the SHA-256 of its bytes', async (t) => {
  const folder = t.testdir({ 'governance.yaml': HEAD })
  const loaded = loadConfig(join(folder, 'governance.yaml'), { env: {}, forRun: true })
  t.equal(loaded.ok && loaded.snapshot.file, join(folder, 'governance.yaml'))
  t.equal(loaded.ok && loaded.snapshot.auth.keys.path, join(folder, 'data/keys.db'))
  t.match(loaded.ok && loaded.snapshot.digest, /^[0-9a-f]{64}$/)
})

t.test('loadConfig() accepts a byte order mark and CR LF', async (t) => {
  t.equal(load(`\uFEFF${HEAD}`).ok, true)
  t.equal(load(HEAD.replaceAll('\n', '\r\n')).ok, true)
})

t.test('loadConfig() notes an unset variable where nothing is to run', async (t) => {
  const text = `version: 1
upstreams:
  - name: openai
    dialect: openai
    url: \${URL}
    credential: \${KEY}
limits:
  - { id: a, per: key, requests: "\${RATE}" }
policies: [{ id: chat, allow: { operations: [chat] } }]
`
  const loaded = load(text, {}, false)
  t.equal(loaded.ok, true)
  t.strictSame(lines(loaded), [
    '5:10 upstreams[0].url Not set here: ${URL}',
    '6:17 upstreams[0].credential Not set here: ${KEY}',
    '8:34 limits[0].requests Not set here: ${RATE}',
  ])
  t.equal(load(text).ok, false)
})

t.test('loadConfig() reads credential_file beside the file', async (t) => {
  const folder = t.testdir({
    'ok.yaml': withCredentialFile('secrets/key'),
    'empty.yaml': withCredentialFile('secrets/empty'),
    'lines.yaml': withCredentialFile('secrets/lines'),
    secrets: { key: 'sk-from-file\n', empty: '\n', lines: 'sk-hunter2\nsk-hunter3\n' },
  })
  const options = { env: {}, forRun: true }
  const good = loadConfig(join(folder, 'ok.yaml'), options)
  t.equal(good.ok && good.snapshot.upstreams[0]?.credential, 'sk-from-file')
  t.strictSame(lines(loadConfig(join(folder, 'empty.yaml'), options)), [
    '6:22 upstreams[0].credential_file The file is empty: put the credential in it',
  ])
  const twoLines = lines(loadConfig(join(folder, 'lines.yaml'), options))
  t.equal(twoLines.length, 1)
  t.notMatch(twoLines[0], /hunter/)
})

t.test('loadConfig() shows no secret in any case', async (t) => {
  for (const { name, yaml } of readCases().filter((each) => !each.name.startsWith('ok-'))) {
    if (/hunter2/.test(outcome(yaml))) t.fail(`${name} shows it`)
  }
  t.pass()
})

t.test('loadConfig() accepts 500 patterns and refuses 501', async (t) => {
  t.equal(load(withPatterns(500)).ok, true)
  t.strictSame(lines(load(withPatterns(501))), [
    '504:43 policies[500].deny.input.matches 501 patterns are too many: at most 500 in a file; join some with |',
  ])
})

t.test('loadConfig() reports at most 100 problems', async (t) => {
  const keys = Array.from({ length: 500 }, (_, i) => `key${i}: 1`).join('\n')
  t.equal(lines(load(`${HEAD}${keys}\n`)).length, 100)
})

t.test('loadConfig() advises what a careful reader would ask', async (t) => {
  const loaded = load(
    `version: 1
upstreams:
  - { name: a, dialect: openai, url: "http://a/v1" }
  - { name: b, dialect: openai, url: "http://b", credential: "\${KEY}", models: [x, y, x] }
auth: { pod: { tenant: acme } }
limits: [{ id: a, per: key, concurrent: 1 }]
`,
    { KEY: 'sk-1' },
  )
  t.strictSame(lines(loaded), [
    '1:1 policies Every call will be refused: no enforced policy allows anything',
    '3:5 upstreams[0].credential No credential: calls to "a" go out without one',
    '3:38 upstreams[0].url Ends in /v1, which the call brings too: it would go to /v1/v1/…',
    '4:38 upstreams[1].url Plain http: the credential can be read on the way',
    '4:80 upstreams[1].models "x" is there twice',
    '6:9 limits Limits in "memory" are not shared: each pod counts for itself',
  ])
})

t.test('loadConfig() advises against a name by which calls to Azure are mistaken', async (t) => {
  const file = `version: 1
upstreams:
  - { name: azure, dialect: azure-openai, url: "echo:" }
  - { name: openai, dialect: openai, url: "echo:" }
policies: [{ id: a, allow: { operations: [chat] } }]
`
  t.strictSame(lines(load(file, {})), [
    "4:13 upstreams[1].name Azure's /openai/v1/… comes here too, as /<name>/v1/…: take another name",
  ])
  t.strictSame(lines(load(file.replace('name: openai', 'name: main'), {})), [])
})

t.test('loadConfig() advises against a log in memory', async (t) => {
  const tmpfs = 0x01021994
  if (!existsSync('/dev/shm') || statfsSync('/dev/shm').type !== tmpfs) return t.pass('no tmpfs')
  const loaded = load(`${HEAD}audit: { path: /dev/shm/none/audit.db }\n`)
  t.match(loaded.ok && loaded.notes.at(-1), {
    line: 3,
    column: 16,
    path: 'audit.path',
    message: 'The log would be kept in memory (tmpfs): a restart loses it, use a disk',
  })
})

t.test('loadConfig() says when it may not read', async (t) => {
  if (process.getuid?.() === 0) return t.pass('root may read everything')
  const folder = t.testdir({ 'governance.yaml': HEAD })
  chmodSync(join(folder, 'governance.yaml'), 0)
  const loaded = loadConfig(join(folder, 'governance.yaml'), { env: {}, forRun: true })
  t.match(lines(loaded)[0], /permission denied/)
})

t.test('parseConfig() says of a file in another encoding how to save it', async (t) => {
  const text = `${HEAD}policies: [{ id: a, allow: {} }]\n`
  const wrong = (bytes: Buffer) => lines(load(bytes)).join('\n')
  const swapped = Buffer.from(text, 'utf16le').swap16()
  t.match(wrong(swapped), /^1:1 .*not UTF-8, save it as UTF-8$/, 'UTF-16, big end first')
  t.match(wrong(Buffer.from(`\ufeff${text}`, 'utf16le')), /^1:1 .*not UTF-8/, 'UTF-16 with a mark')
  t.match(wrong(Buffer.from(text.replaceAll('\n', '\r'))), /^1:1 .*carriage return alone/)
  t.match(wrong(Buffer.from('# caf\xe9\n', 'latin1')), /^1:1 .*not UTF-8/)
  t.equal(load(Buffer.from(`\ufeff${text}`)).ok, true, 'a mark of UTF-8 is none of its text')
  const windows = text.replace('allow', 'alow').replaceAll('\n', '\r\n')
  const mistake = lines(load(Buffer.from(`\ufeff${windows}`)))
  t.match(mistake, [/policies\[0\]\.alow Unknown key: did you mean "allow"\?$/])
  t.strictSame(mistake, lines(load(Buffer.from(windows))), 'and moves no column')
})

/** What is said of an issuer whose users are told by this claim. */
function issuerNotes(user: string): string[] {
  const issuer = `{ name: a, issuer: "https://a.example/", audience: [b], tenant: c, claims: { user: ${user} } }`
  return lines(load(`${HEAD}auth: { jwt: [${issuer}] }\n`)).filter((line) => line.includes('jwt'))
}

t.test('loadConfig() notes an issuer whose users would be in every entry by name', async (t) => {
  t.match(issuerNotes('email'), [/ auth\.jwt\[0\]\.claims\.user Names a person: every entry keeps/])
  t.strictSame(issuerNotes('sub'), [])
})

/** What is said of one way to ship. */
function shipNotes(section: string, url = ''): string[] {
  const said = lines(load(`${HEAD}audit: { ship: ${section} }\n`, { URL: url }))
  return said.filter((line) => line.includes('audit.ship'))
}

t.test('loadConfig() notes a way to a database or collector that others can read', async (t) => {
  const postgres = '{ postgres: "${URL}" }'
  t.match(shipNotes(postgres, 'postgres://u:hunter2@db/audit'), [
    /^3:\d+ audit\.ship Without TLS: entries and password can be read on the way, add \?sslmode/,
  ])
  t.match(shipNotes(postgres, 'postgres://u@db/audit?sslmode=disable'), [/Without TLS/])
  t.strictSame(shipNotes(postgres, 'postgres://u@db/audit?sslmode=verify-full'), [])
  t.strictSame(shipNotes(postgres, 'postgres://u@127.0.0.1/audit'), [])
  t.match(shipNotes('{ http: { url: "http://collector/audit" } }'), [
    /audit\.ship\.http\.url Plain http/,
  ])
  t.strictSame(shipNotes('{ http: { url: "https://collector/audit" } }'), [])
})

t.test(
  'a problem shows what a parser quotes from the file, whatever it does to a terminal',
  async (t) => {
    const require = `policies:\n  - id: a\n    require: `
    t.strictSame(lines(load(`${HEAD}${require}| \u001b[31m\n`)), [
      '5:16  Not a YAML token: \\u001b[31m',
    ])
    t.strictSame(lines(load(`${HEAD}${require}'1 \u009b 2'\n`)), [
      '5:17 policies[0].require Unexpected "\\u009b"',
    ])
  },
)
