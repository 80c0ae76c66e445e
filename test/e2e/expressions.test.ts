import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: an expression decides live calls as it decides described ones, and the entry says why. */

const POLICIES = `
  - id: open
    allow: {}
  - id: capped
    for: { operations: [chat] }
    require: request.max_output_tokens <= 100
    message: Name a cap of at most 100
  - id: first-tool
    deny: { operations: [chat], when: 'request.stream && request.tools[0] == "shell"' }`

t.test('an expression over the output cap refuses a call that names none', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  const messages = [{ role: 'user', content: 'hello' }]
  for (const [path, body] of [
    ['/v1/chat/completions', { model: 'gpt-4o', messages }],
    ['/v1/chat/completions', { model: 'gpt-4o', messages, max_completion_tokens: 101 }],
    ['/v1/check', { model: 'gpt-4o', input: 'hello' }],
    ['/v1/check', { model: 'gpt-4o', input: 'hello', max_output_tokens: 101 }],
  ] as const) {
    const answer = await site.send({ path, body })
    t.equal(answer.headers['x-governor-decision'], 'deny', JSON.stringify(body))
    t.match(JSON.stringify(answer.json), /Name a cap of at most 100/)
    const id = String(answer.headers['x-governor-request-id'])
    const [entry] = await site.entriesOf(id, 1)
    t.match(entry?.body['policies'], [
      { id: 'open', result: 'allowed' },
      { id: 'capped', result: 'failed', why: 'expression' },
    ])
  }
  t.equal(upstream.received.length, 0)
  const within = { model: 'gpt-4o', messages, max_completion_tokens: 100 }
  t.equal((await site.send({ path: '/v1/chat/completions', body: within })).status, 200)
  const embeds = { model: 'text-embedding-3-small', input: 'hello' }
  t.equal((await site.send({ path: '/v1/embeddings', body: embeds })).status, 200)
})

t.test('an expression that cannot be told refuses, and the entry says so', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  const body = { model: 'gpt-4o', input: 'hello', stream: true, max_output_tokens: 9 }
  const answer = await site.send({ path: '/v1/check', body })
  t.match(answer.json, { allowed: false, policy: 'first-tool' })
  const [entry] = await site.entriesOf(String(answer.headers['x-governor-request-id']), 1)
  t.match(entry?.body, {
    policies: [
      { id: 'open' },
      { id: 'first-tool', result: 'error', why: 'expression: no item at this index' },
    ],
    key_name: /./,
    'gen_ai.request.max_tokens': 9,
    facts: { input_chars: 5 },
  })
})
