import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { execPath } from 'node:process'

import t from 'tap'

import { mutationCampaign } from '../campaign/mutate.ts'
import { ROOT } from '../support/start-governor.ts'

t.test('verifyLog() finds every random alteration, and takes the log as it was', async (t) => {
  const { tried, missed } = mutationCampaign({ directory: t.testdir(), times: 200, seed: 7 })
  t.strictSame(missed, [])
  t.ok(Object.keys(tried).length >= 12)
})

t.test('a campaign takes no option it does not know, and says so in a line', async (t) => {
  const run = join(ROOT, 'test/campaign/run.ts')
  const options = ['mutate', '--tims', '3']
  const { status, stderr } = spawnSync(execPath, [run, ...options], { encoding: 'utf8' })
  t.equal(status, 2)
  t.match(stderr, /^Unknown option '--tims'.*\nUsage: npm run campaign [^\n]+\n$/)
})
