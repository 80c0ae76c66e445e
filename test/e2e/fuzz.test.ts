import t from 'tap'

import { fuzzCampaign } from '../campaign/fuzz.ts'

/**
 * Goal: what is nearly HTTP, JSON, a form or an event stream, from a client or a provider, makes
 * nothing fall, hang or slip through. `npm run campaign fuzz` is the long form.
 */

t.test('a slice of the fuzz campaign', async (t) => {
  const directory = t.testdir()
  const first = await fuzzCampaign({ directory, seed: 7, times: 128 })
  t.strictSame(first.problems, [])
  const { problems, cases, answered, forwarded } = await fuzzCampaign({
    directory,
    seed: 7,
    times: 1000,
    withinMs: 15_000,
  })
  t.strictSame(problems, [])
  for (const [kind, count] of Object.entries(cases)) t.ok(count > 0, `${kind}: ${count}`)
  t.ok(answered > 0, `${answered} answered`)
  t.ok(forwarded > 0, `${forwarded} forwarded`)
})
