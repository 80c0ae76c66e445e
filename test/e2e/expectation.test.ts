import t from 'tap'

import { chat } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: an expectation nobody can meet is refused (RFC 9110 §10.1.1), before anything is read. */

t.test('an expectation other than 100-continue is a 417', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  for (const expect of ['200-ok', '100-continue, 200-ok', '100-continue;x=y']) {
    const answered = await site.send({ headers: { expect }, body: chat('hi') })
    t.equal(answered.status, 417, expect)
    t.equal(answered.headers['x-governor-code'], 'EXPECTATION_UNKNOWN')
    t.match(answered.json.error?.message, /Only 100-continue is known/)
  }
  t.equal(upstream.received.length, 0)
  const known = await site.send({ headers: { expect: '100-Continue' }, body: chat('hi') })
  t.equal(known.status, 200)
})
