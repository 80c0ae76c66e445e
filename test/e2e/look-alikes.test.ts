import t from 'tap'

import {
  answer,
  CHAT_ANSWER,
  chatEvent,
  DONE,
  FakeUpstream,
  stream,
} from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: with `look_alikes: latin` a word in borrowed letters is the word; method: through the proxy. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: names, redact: { input: { words: [zeus, 'old falcon'], detect: [email] } } }
  - { id: codename, deny: { input: { matches: '(?i)project[- ]ajax' } } }`

const upstream = await FakeUpstream.start(t)
const body = (content: string) =>
  `{"model":"gpt-4o","messages":[{"role":"user","content":"${content}"}]}`
const streamedBody = '{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}'
const saying = (content: string) => {
  const message = { role: 'assistant', content }
  return { ...CHAT_ANSWER, choices: [{ index: 0, finish_reason: 'stop', message }] }
}

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

t.test('answers are read as they look, whole and streamed', async (t) => {
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: `
  - { id: open, allow: {} }
  - { id: names-out, redact: { output: { words: [zeus], detect: [email] } } }
  - { id: codename-out, deny: { output: { matches: '(?i)project[- ]ajax' } } }`,
    maximums: '{}\nlook_alikes: latin',
  })
  for (const [said, got] of [
    ['о zеuѕ, z\u0336é\u0336u\u0336s\u0336!', 'о [WORD_1], [WORD_2]!'],
    ['jаnе@ехаmрle.соm', '[EMAIL_1]'],
  ] as const) {
    upstream.behaviour = answer(saying(said))
    t.strictSame((await site.send({ body: body('hi') })).json, saying(got))
    upstream.behaviour = stream([...Array.from(said, (each) => chatEvent(each)), DONE])
    const streamed = await site.send({ body: streamedBody })
    const pieces = [...streamed.text.matchAll(/"content":("[^"]*")/g)]
    t.equal(pieces.map(([, piece]) => JSON.parse(piece ?? '') as string).join(''), got)
  }
  upstream.behaviour = answer(saying('the рrоjесt-аjах plan'))
  t.equal((await site.send({ body: body('hi') })).headers['x-governor-policy'], 'codename-out')
  upstream.behaviour = stream([chatEvent('the рrоjесt'), chatEvent('-аjах plan'), DONE])
  const cut = await site.send({ body: streamedBody })
  t.match(cut.text, /codename-out/)
  t.notMatch(cut.text, /рrоjесt/)
})

t.test('without it they are other letters', async (t) => {
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  for (const sent of ['zеuѕ', 'the рrоjесt-аjах plan']) {
    const answer = await site.send({ body: body(sent) })
    t.equal(answer.status, 200)
    t.equal(upstream.last?.body.toString(), body(sent))
  }
})
