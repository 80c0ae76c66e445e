import t from 'tap'

import { chat } from '../support/client.ts'
import {
  answer,
  CHAT_ANSWER,
  chatEvent,
  DONE,
  FakeUpstream,
  stream,
} from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: a client reads the values it sent, and nobody else's; the provider never saw them. */

const POLICIES = `
  - { id: open, allow: {} }
  - { id: pii, redact: { input: { detect: [email], words: ['say "hi"'] }, restore: true } }
  - { id: secret, for: { models: [gpt-4o-mini] }, redact: { input: { words: [zeus] } } }
  - { id: mail-out, for: { models: [gpt-4] }, redact: { output: { detect: [email] } } }`
const MAIL = 'jane.doe@example.com'

const upstream = await FakeUpstream.start(t)
const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })

function says(message: object): object {
  return { ...CHAT_ANSWER, choices: [{ index: 0, finish_reason: 'stop', message }] }
}

function content(text: string): string {
  const { choices } = JSON.parse(text) as { choices: [{ message: { content: string } }] }
  return choices[0].message.content
}

/** All a client reads of a streamed answer. */
function read(text: string): string {
  return text
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice(6)) as { choices: [{ delta: { content?: string } }] })
    .map(({ choices }) => choices[0].delta.content ?? '')
    .join('')
}

t.test('a whole answer has the values again, also in the arguments of a call', async (t) => {
  const raw = String.raw`"{\"a\":\"{\\\"b\\\":\\\"[WORD_1]\\\"}\",\"c\":\"a \\\"[WORD_1]\\\"\"}"`
  const args = `{"to":"[EMAIL_1]","say":"[WORD_1]","raw":${raw}}`
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: args } }
  const said = 'To [EMAIL_1] and [EMAIL_2] say [WORD_1], not [EMAIL_3]'
  upstream.behaviour = answer(says({ role: 'assistant', content: said, tool_calls: [call] }))
  const got = await site.send({ body: chat(`Tell ${MAIL} and b@b.org: say "hi"`) })
  t.notMatch(upstream.everything, MAIL)
  t.equal(content(got.text), `To ${MAIL} and b@b.org say say "hi", not [EMAIL_3]`)
  const { choices } = got.json as {
    choices?: [{ message: { tool_calls: [{ function: { arguments: string } }] } }]
  }
  const made = choices?.[0].message.tool_calls[0].function.arguments ?? ''
  t.strictSame(JSON.parse(made), {
    to: MAIL,
    say: 'say "hi"',
    raw: JSON.stringify({ a: JSON.stringify({ b: 'say "hi"' }), c: 'a "say "hi""' }),
  })
  t.equal(got.headers['content-length'], String(got.bytes.length))
})

t.test('a streamed one has them, however it is cut', async (t) => {
  const said = 'a [EMAIL_1], [x] [EMAIL_ [EMAIL_2] [EMAIL_11] [WORD_1] ['
  const body = chat(`${MAIL} b@b.org say "hi"`, { stream: true })
  for (const size of [1, 2, 3, 5, 100]) {
    const pieces = said.match(new RegExp(`.{1,${size}}`, 'g')) ?? []
    const events = [...pieces.map((piece) => chatEvent(piece)), chatEvent('', 'stop'), DONE]
    upstream.behaviour = stream(events)
    const got = await site.send({ body })
    t.equal(read(got.text), `a ${MAIL}, [x] [EMAIL_ b@b.org [EMAIL_11] say "hi" [`, `by ${size}`)
    t.ok(got.text.endsWith(DONE))
  }
})

t.test('what a caller wrote that looks like a placeholder is nobody’s value', async (t) => {
  upstream.behaviour = answer(says({ role: 'assistant', content: '[EMAIL_1] [EMAIL_2] [EMAIL_3]' }))
  const got = await site.send({ body: chat(`[EMAIL_1] ${MAIL} [EMAIL_2]`) })
  t.match(upstream.last?.body.toString(), '[EMAIL_1] [EMAIL_3] [EMAIL_2]')
  t.equal(content(got.text), `[EMAIL_1] [EMAIL_2] ${MAIL}`)
  const other = await site.send({ body: chat('hello') })
  t.equal(content(other.text), '[EMAIL_1] [EMAIL_2] [EMAIL_3]', 'of another call nothing is known')
})

t.test('nothing is put back where another policy that masked does not say so', async (t) => {
  upstream.behaviour = answer(says({ role: 'assistant', content: '[EMAIL_1]' }))
  const body = chat(`zeus ${MAIL}`, { model: 'gpt-4o-mini' })
  t.equal(content((await site.send({ body })).text), '[EMAIL_1]')
})

t.test('policies on answers do not mask what is put back', async (t) => {
  upstream.behaviour = answer(says({ role: 'assistant', content: '[EMAIL_1] not c@c.org' }))
  const got = await site.send({ body: chat(MAIL, { model: 'gpt-4' }) })
  t.equal(content(got.text), `${MAIL} not [EMAIL_2]`)
  upstream.behaviour = stream([
    chatEvent('[EMA'),
    chatEvent('IL_1] c@c'),
    chatEvent('.org', 'stop'),
    DONE,
  ])
  const streamed = await site.send({ body: chat(MAIL, { model: 'gpt-4', stream: true }) })
  t.equal(read(streamed.text), `${MAIL} [EMAIL_2]`)
})

t.test('what cannot be read passes as it came', async (t) => {
  upstream.behaviour = answer('{"a":[EMAIL_1]')
  t.equal((await site.send({ body: chat(MAIL) })).text, '{"a":[EMAIL_1]')
  const events = [chatEvent('x [EMAIL'), 'data: {broken\n\n', chatEvent('_1]', 'stop'), DONE]
  upstream.behaviour = stream(events)
  const got = await site.send({ body: chat(MAIL, { stream: true }) })
  t.equal(got.text, events.join(''))
})
