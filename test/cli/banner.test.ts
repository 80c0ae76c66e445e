import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { banner } from '../../src/cli/banner.ts'
import { loadConfig } from '../../src/load-config.ts'

t.test('banner() shows names of files as characters', async (t) => {
  const folder = join(t.testdir(), 'shop\u001b[2J')
  mkdirSync(folder)
  const file = join(folder, 'governance.yaml')
  writeFileSync(file, "version: 1\nupstreams: [{ name: echo, dialect: openai, url: 'echo:' }]\n")
  const loaded = loadConfig(file, { env: {}, forRun: true })
  if (!loaded.ok) return t.fail(loaded.problems[0]?.message ?? 'no reason')
  const proxy = { host: '127.0.0.1', port: 4141 }
  const text = banner(loaded.snapshot, { proxy, admin: null, health: null }, 0)
  t.match(text, 'shop\\u001b[2J/governance.yaml (')
  t.notMatch(text, '\u001b')
  t.match(text, 'proxy      http://127.0.0.1:4141  OPENAI_BASE_URL=http://127.0.0.1:4141/v1\n')
})
