import t from 'tap'

import { mutationCampaign } from '../campaign/mutate.ts'

t.test('verifyLog() finds every random alteration, and takes the log as it was', async (t) => {
  const { tried, missed } = mutationCampaign({ directory: t.testdir(), times: 200, seed: 7 })
  t.strictSame(missed, [])
  t.ok(Object.keys(tried).length >= 12)
})
