import t from 'tap'

import { fuzzSockets } from '../campaign/fuzz-sockets.ts'

/**
 * Goal: what is nearly an upgrade, a frame or an event, from a client or a provider, makes nothing fall,
 * hang or slip through. `npm run campaign fuzz -- --target sockets` is the long form.
 */

t.test('a slice of the fuzz of sockets', async (t) => {
  const directory = t.testdir()
  const { problems, cases, answered, forwarded } = await fuzzSockets({
    directory,
    seed: 7,
    times: 512,
    withinMs: 15_000,
  })
  t.strictSame(problems, [])
  for (const [kind, count] of Object.entries(cases)) t.ok(count > 0, `${kind}: ${count}`)
  t.ok(answered > 0, `${answered} answered`)
  t.ok(forwarded > 0, `${forwarded} forwarded`)
})
