import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'
import { parse } from 'yaml'

import { ERRORS } from '../src/errors.ts'
import { loadConfig } from '../src/load-config.ts'
import { createMetrics } from '../src/metrics.ts'

const REPOSITORY = join(import.meta.dirname, '..')
const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8')

/** What people read, by its path from the top. */
const GUIDES = new Map(
  [
    'README.md',
    'config/README.md',
    'config/clients.md',
    'config/endpoints.md',
    'deploy/README.md',
    'bench/README.md',
    ...readdirSync(join(REPOSITORY, 'deploy/runbooks')).map((name) => `deploy/runbooks/${name}`),
  ].map((path) => [path, readFileSync(join(REPOSITORY, path), 'utf8')]),
)

/** The anchors that GitHub gives to the headings of a text. */
function anchorsIn(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading)
  const words = headings.map((heading) => heading.toLowerCase().replaceAll(/[^\w\- ]/g, ''))
  return new Set(words.map((each) => each.replaceAll(' ', '-')))
}

/** A snippet of YAML as the file it would be part of: what it leaves out is the least that loads. */
function asWholeFile(snippet: unknown): object {
  const deny = { models: ['gpt-5*'] }
  const echo = { name: 'echo', dialect: 'openai', url: 'echo:', credential: 'none' }
  const file = {
    version: 1,
    upstreams: [echo],
    sets: { approved: ['gpt-4o*'] },
    policies: [
      { id: 'mask-pii', deny },
      { id: 'no-frontier-for-interns', deny },
    ],
  }
  if (Array.isArray(snippet)) {
    const isTests = (snippet as object[]).every((item) => 'request' in item)
    return { ...file, ...(isTests ? { tests: snippet } : { policies: snippet }) }
  }
  const keys = snippet as Record<string, unknown>
  if (!('aws' in keys)) return { ...file, ...keys }
  const url = 'https://bedrock-runtime.eu-central-1.amazonaws.com'
  return { ...file, upstreams: [{ name: 'bedrock', dialect: 'bedrock', url, ...keys }] }
}

t.test('README#errors is the error table, both ways', async (t) => {
  const rows = [...readme.matchAll(/^\| `([A-Z_]+)` +\| (\d+) +\| (\w+) +\| ([^|]+) \|$/gm)]
  const told = rows.map(([, code, status, source, message]) => ({
    code,
    status: Number(status),
    source,
    message: message!.trim(),
  }))
  const real = Object.entries(ERRORS).map(([code, { status, source, message }]) => ({
    code,
    status,
    source,
    message,
  }))
  t.strictSame(told, real)
})

t.test('README#metrics names every metric', async (t) => {
  const told = [...readme.matchAll(/^\| `(governor_[a-z_]+)` +\|/gm)].map(([, name]) => name)
  const real = createMetrics()
    .registry.getMetricsAsArray()
    .map(({ name }) => name)
  t.strictSame(new Set(told), new Set(real))
})

t.test('README#metrics has the labels of each metric, and its help', async (t) => {
  const rows = readme.matchAll(/^\| `(governor_\w+)` +\| ([\w ]*?) *\| (.+?) *\|$/gm)
  const told = [...rows].map(([, name, labels, help]) => [name, labels, help].join(' | '))
  const { registry, ...metrics } = createMetrics()
  const helps = new Map((await registry.getMetricsAsJSON()).map(({ name, help }) => [name, help]))
  const real = Object.values(metrics).map((metric) => {
    // prom-client's types keep both to themselves; the objects have them.
    const name = String(Reflect.get(metric, 'name'))
    const labels = [Reflect.get(metric, 'labelNames')].flat().map(String)
    return [name, labels.join(' '), helps.get(name)].join(' | ')
  })
  t.strictSame(told.sort(), real.sort())
})

t.test("README's first governance.yaml loads and has at most 12 lines", async (t) => {
  const yaml = /```yaml\n([\s\S]*?)```/.exec(readme)![1]!
  t.ok(yaml.trimEnd().split('\n').length <= 12)
  const dir = t.testdir({ 'governance.yaml': yaml })
  const loaded = loadConfig(join(dir, 'governance.yaml'), { env: {}, forRun: true })
  t.strictSame(loaded.ok ? [] : loaded.problems, [])
})

for (const [guide, text] of GUIDES) {
  t.test(`${guide} links only to files and headings that are there`, async (t) => {
    for (const [, path = '', anchor] of text.matchAll(/\]\((?!http)([^)#]*)(?:#([^)]+))?\)/g)) {
      const target = path === '' ? guide : join(guide, '..', path)
      t.doesNotThrow(() => readFileSync(join(REPOSITORY, target)), target)
      if (anchor === undefined) continue
      t.ok(anchorsIn(GUIDES.get(target) ?? '').has(anchor), `${target}#${anchor}`)
    }
  })
}

for (const guide of ['README.md', 'config/README.md', 'deploy/README.md']) {
  t.test(`each piece of YAML in ${guide} is taken as it stands`, async (t) => {
    const file = join(t.testdir({}), 'governance.yaml')
    for (const [, yaml = ''] of GUIDES.get(guide)!.matchAll(/```yaml\n([\s\S]*?)```/g)) {
      writeFileSync(file, JSON.stringify(asWholeFile(parse(yaml))))
      const loaded = loadConfig(file, { env: {}, forRun: false })
      const problems = loaded.ok ? [] : loaded.problems.map(({ path, message }) => [path, message])
      // Certificates, tokens and second files are the reader's.
      const wrong = problems.filter(([, message]) => !message!.startsWith('Cannot read the file'))
      t.strictSame(wrong, [], yaml)
    }
  })
}

t.test('config/README.md has a line for each file in config/', async (t) => {
  const files = readdirSync(join(REPOSITORY, 'config'), { recursive: true, encoding: 'utf8' })
  const table = GUIDES.get('config/README.md')!
  for (const file of files) {
    if (file === 'README.md' || !/\.\w+$/.test(file)) continue
    t.ok(table.includes(`| [${file}](${file})`), file)
  }
})

t.test('every error code is produced by a test', async (t) => {
  const { readdirSync } = await import('node:fs')
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  const text = files
    .filter((file) => file.endsWith('.test.ts') && file !== 'readme.test.ts')
    .map((file) => readFileSync(join(import.meta.dirname, file), 'utf8'))
    .join('\n')
  for (const code of Object.keys(ERRORS)) t.ok(text.includes(code), code)
})
