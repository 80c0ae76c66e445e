import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: with `look_alikes: latin` a word in borrowed letters is the word; method: through the proxy. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: names, redact: { input: { words: [zeus, 'old falcon'], detect: [email] } } }
  - { id: codename, deny: { input: { matches: '(?i)project[- ]ajax' } } }`

const upstream = await FakeUpstream.start(t)
const body = (content: string) =>
  `{"model":"gpt-4o","messages":[{"role":"user","content":"${content}"}]}`

t.test('a value in letters of another script is masked where it stands', async (t) => {
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: POLICIES,
    maximums: '{}\nlook_alikes: latin',
  })
  for (const [sent, forwarded] of [
    ['хочу, zеuѕ и оld fаlсоn!', 'хочу, [WORD_1] и [WORD_2]!'],
    ['é mail jаnе@ехаmрle.соm, please', 'é mail [EMAIL_1], please'],
    ['Ζ\u200bЕUS in capitals', '[WORD_1] in capitals'],
    ['ничего', 'ничего'],
  ] as const) {
    const answer = await site.send({ body: body(sent) })
    t.equal(answer.status, 200, answer.text)
    t.equal(upstream.last?.body.toString(), body(forwarded))
  }
  const refused = await site.send({ body: body('the рrоjесt-аjах plan') })
  t.equal(refused.status, 403)
  t.equal(refused.headers['x-governor-policy'], 'codename')
})

t.test('without it they are other letters', async (t) => {
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  for (const sent of ['zеuѕ', 'the рrоjесt-аjах plan']) {
    const answer = await site.send({ body: body(sent) })
    t.equal(answer.status, 200)
    t.equal(upstream.last?.body.toString(), body(sent))
  }
})
