import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { ERRORS } from '../src/errors.ts'
import { loadConfig } from '../src/load-config.ts'
import { createMetrics } from '../src/metrics.ts'

const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8')

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

t.test("README's first governance.yaml loads and has at most 12 lines", async (t) => {
  const yaml = /```yaml\n([\s\S]*?)```/.exec(readme)![1]!
  t.ok(yaml.trimEnd().split('\n').length <= 12)
  const dir = t.testdir({ 'governance.yaml': yaml })
  const loaded = loadConfig(join(dir, 'governance.yaml'), { env: {}, forRun: true })
  t.strictSame(loaded.ok ? [] : loaded.problems, [])
})

t.test('README links only to files that are there', async (t) => {
  for (const [, target] of readme.matchAll(/\]\((?!http|#)([^)#]+)/g)) {
    t.doesNotThrow(() => readFileSync(join(import.meta.dirname, '..', target!)), `${target}`)
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
