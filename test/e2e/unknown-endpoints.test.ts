import t from 'tap'

import { answer, CHAT_ANSWER, FakeUpstream, stream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: an endpoint nobody knows is forwarded only where that was asked for, and never unseen. */

const POLICIES = `
  - { id: open, allow: { operations: [chat, other] } }
  - { id: codename, deny: { input: { matches: '(?i)project[- ]?zeus' } } }
  - { id: no-images, deny: { operations: [images], roles: [intern] } }
  - { id: no-shouting, deny: { output: { words: [loud] } } }`

async function start(t: Tap, policies = POLICIES) {
  const upstream = await FakeUpstream.start(t)
  const defaults = '{ unknown_operation: allow }'
  const site = await startGovernor(t, { upstream: upstream.url, policies, defaults })
  return { upstream, site }
}
type Tap = Parameters<typeof FakeUpstream.start>[0] & Parameters<typeof startGovernor>[0]

const shared = await start(t)

t.test('a call to an unknown endpoint is forwarded as it came and recorded', async (t) => {
  const { upstream, site } = shared
  upstream.behaviour = answer({ ok: true })
  const body = '{ "model": "gpt-4o", "text":"hello",\t"n": 12345678901234567890 }'
  const got = await site.send({ method: 'POST', path: '/v1/brand-new/things', body })
  t.equal(got.status, 200)
  t.strictSame(got.json, { ok: true })
  const sent = upstream.received.at(-1)!
  t.equal(sent.path, '/v1/brand-new/things')
  t.equal(sent.body.toString(), body)
  const [decision] = await site.entriesOf(String(got.headers['x-governor-request-id']), 2)
  t.match(decision!.body, { operation: 'other', api: 'other', decision: 'allow', policy: 'open' })
})

t.test('every string of it is inspected, its path as well', async (t) => {
  const { upstream, site } = shared
  upstream.behaviour = answer({ ok: true })
  const before = upstream.received.length
  for (const [path, body] of [
    ['/v1/brand-new', '{"a":[{"b":"project zeus"}]}'],
    ['/v1/brand-new', '{"project-zeus":1}'],
    ['/v1/brand-new', '{"a":"\\u0070roject zeus"}'],
    ['/v1/project-zeus', '{}'],
  ] as const) {
    const got = await site.send({ method: 'POST', path, body })
    t.equal(got.status, 403, `${path} ${body}`)
    t.equal(got.headers['x-governor-policy'], 'codename')
  }
  t.equal(upstream.received.length, before)
})

t.test('an answer of it passes output policies, a stream as well', async (t) => {
  const { upstream, site } = shared
  upstream.behaviour = answer({ said: 'loud' })
  const whole = await site.send({ method: 'POST', path: '/v1/brand-new', body: '{}' })
  t.equal(whole.headers['x-governor-policy'], 'no-shouting')
  upstream.behaviour = stream(['data: {"said":"quiet"}\n\n'])
  const quiet = await site.send({
    method: 'POST',
    path: '/v1/brand-new',
    body: '{"stream":true}',
  })
  t.match(quiet.text, /quiet/)
  t.notMatch(quiet.text, /error/)
  upstream.behaviour = stream(['data: {"said":"loud"}\n\n'])
  const loud = await site.send({ method: 'POST', path: '/v1/brand-new', body: '{"stream":true}' })
  t.notMatch(loud.text, /loud/)
})

t.test('what could be a known endpoint in another spelling stays refused', async (t) => {
  const { upstream, site } = shared
  const before = upstream.received.length
  for (const [path, status] of [
    ['/v1/Chat/Completions', 403],
    ['/v1/chat/completions/', 403],
    ['/v1/v1/chat/completions', 403],
    ['/v1/chat%3acompletions', 403],
    ['/v1/brand-new?key=x', 400],
    ['/v1//brand-new', 400],
  ] as const) {
    t.equal((await site.send({ method: 'POST', path, body: '{}' })).status, status, path)
  }
  t.equal(upstream.received.length, before)
})

t.test('a body that is no JSON is refused', async (t) => {
  const { site } = shared
  const headers = { 'content-type': 'text/plain' }
  const sent = { method: 'POST', path: '/v1/brand-new', body: 'project zeus', headers }
  t.equal((await site.send(sent)).status, 415)
})

t.test('a deny of any operation is about an endpoint nobody knows, an allow is not', async (t) => {
  const policies = `
  - { id: chatting, allow: { operations: [chat] } }
  - { id: others, allow: { operations: [other], models: [new-*] } }
  - { id: no-images, deny: { operations: [images], models: [new-painter] } }`
  const { upstream, site } = await start(t, policies)
  upstream.behaviour = answer(CHAT_ANSWER)
  const ask = async (model: string) => {
    const got = await site.send({
      method: 'POST',
      path: '/v1/paint',
      body: JSON.stringify({ model }),
    })
    return got.headers['x-governor-policy'] ?? got.status
  }
  t.equal(await ask('gpt-4o'), 403)
  t.equal(await ask('new-writer'), 200)
  t.equal(await ask('new-painter'), 'no-images')
})

t.test('an operation of the file’s own is decided by /v1/check, and by no call', async (t) => {
  const policies = `
  - { id: classifying, allow: { operations: [classify] } }
  - { id: chatting, allow: { operations: [chat] } }`
  const upstream = await FakeUpstream.start(t)
  const operations = '[classify, summarise]'
  const site = await startGovernor(t, { upstream: upstream.url, policies, operations })
  const check = async (operation: string) => {
    const body = { operation, input: 'hello' }
    return (await site.send({ method: 'POST', path: '/v1/check', body })).json
  }
  t.match(await check('classify'), { allowed: true, policy: 'classifying' })
  t.match(await check('summarise'), { allowed: false, policy: null })
  t.match(await check('other-one'), { error: { code: 'field_invalid' } })
  t.equal(upstream.received.length, 0)
})

t.test('values are masked in it, and one in the path is refused', async (t) => {
  const policies = `
  - { id: open, allow: { operations: [other] } }
  - { id: mask, redact: { input: { detect: [email], words: [zeus] } } }`
  const { upstream, site } = await start(t, policies)
  upstream.behaviour = answer({ ok: true })
  const body = '{"to":  "jo@example.com", "n": 1}'
  const got = await site.send({ method: 'POST', path: '/v1/brand-new', body })
  t.equal(got.status, 200)
  t.equal(upstream.last?.body.toString(), '{"to":  "[EMAIL_1]", "n": 1}')
  const refused = await site.send({ method: 'POST', path: '/v1/brand-new/zeus', body })
  t.equal(refused.status, 403)
  t.equal(refused.headers['x-governor-policy'], 'mask')
  t.equal(upstream.received.length, 1)
})
