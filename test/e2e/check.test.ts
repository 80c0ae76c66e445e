import t from 'tap'

import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: `/v1/check` says what would happen, is recorded like a call, and forwards nothing. */

t.test('a described call is decided, recorded and not forwarded', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: four, per: key, requests: 4/60s }]',
  })
  const check = (body: object) => site.send({ path: '/v1/check', body })
  for (const [body, want] of [
    [
      { operation: 'chat', model: 'gpt-4o', input: 'hello' },
      { allowed: true, decision: 'allow', policy: 'approved-models' },
    ],
    [
      { operation: 'chat', model: 'gpt-5', input: 'hello' },
      {
        allowed: false,
        decision: 'deny',
        policy: 'no-frontier',
        reason: 'Frontier models need an approval',
      },
    ],
    [
      { model: 'gpt-4o', input: ['a', 'about Project Zeus'], tenant: 'other', roles: ['admin'] },
      { allowed: false, decision: 'deny', policy: 'codename' },
    ],
    [
      { operation: 'speech', model: 'gpt-4o' },
      { allowed: false, decision: 'deny', policy: null },
    ],
  ] as const) {
    const answer = await check(body)
    t.equal(answer.status, 200)
    const id = String(answer.headers['x-governor-request-id'])
    t.match(answer.json, { ...want, request_id: id })
    t.strictSame(Object.keys(answer.json), [
      'allowed',
      'decision',
      'policy',
      'reason',
      'request_id',
    ])
    t.equal(answer.headers['x-request-id'], id, 'as in every answer')
    t.equal(answer.headers['x-governor-decision'], want.decision)
    const [entry, ...more] = await site.entriesOf(id, 1)
    t.match(entry?.body, {
      kind: 'decision',
      api: 'check',
      decision: want.decision,
      tenant: 'acme',
    })
    t.equal(entry?.body['forward'], undefined)
    t.strictSame(more, [], 'no outcome will follow')
  }
  const fifth = await check({ model: 'gpt-4o' })
  t.equal(fifth.status, 429, 'it is charged to the limits on requests')
  t.equal(upstream.received.length, 0)
})

t.test('a description that is wrong, or of nobody, is refused', async (t) => {
  const site = await startGovernor(t)
  for (const [sent, status] of [
    [{ key: undefined, body: { model: 'gpt-4o' } }, 401],
    [{ method: 'GET' }, 405],
    [{ body: { model: 'gpt-4o', modle: 'x' } }, 400],
    [{ body: { operation: 'chats', model: 'gpt-4o' } }, 400],
    [{ body: '{"model":"gpt-4o","model":"gpt-5"}' }, 400],
    [{ body: { model: 'gpt-4o' }, headers: { 'content-type': 'text/plain' } }, 415],
    [{ path: '/v1/check?x=1', body: { model: 'gpt-4o' } }, 403],
    [{ path: '/v1/check/', body: { model: 'gpt-4o' } }, 403],
  ] as const) {
    const answer = await site.send({ path: '/v1/check', ...sent } as never)
    t.equal(answer.status, status, answer.text)
  }
})
