import { join } from 'node:path'

import t from 'tap'

import { banner } from '../../src/cli/banner.ts'
import { loadConfig } from '../../src/load-config.ts'

t.test('banner() shows names of the environment as characters', async (t) => {
  const folder = t.testdir({
    'governance.yaml': `
version: 1
upstreams: [{ name: echo, dialect: openai, url: 'echo:' }]
audit: { path: '\${LOG}' }
`,
  })
  const env = { LOG: join(folder, 'shop\u001b[2J.db') }
  const loaded = loadConfig(join(folder, 'governance.yaml'), { env, forRun: true })
  if (!loaded.ok) return t.fail(loaded.problems[0]?.message ?? 'no reason')
  const proxy = { host: '127.0.0.1', port: 4141 }
  const text = banner(loaded.snapshot, { proxy, admin: null, health: null }, 0)
  t.match(text, 'shop\\u001b[2J.db, ')
  t.match(text, 'proxy      http://127.0.0.1:4141  OPENAI_BASE_URL=http://127.0.0.1:4141/v1\n')
})
