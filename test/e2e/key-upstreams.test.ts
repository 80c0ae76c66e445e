import t from 'tap'

import { chat } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: a key for certain upstreams never reaches another one, by whatever way. */

const POLICIES = `[{ id: all, allow: { operations: ['*'], models: ['*'] } }]`

t.test('a key made for an upstream goes there and nowhere else', async (t) => {
  const [first, second] = [await FakeUpstream.start(t), await FakeUpstream.start(t)]
  const site = await startGovernor(t, {
    upstream: first.url,
    more: `models: ['gpt-*']`,
    upstreams: [
      `{ name: second, dialect: openai, url: '${second.url}', credential: '\${UPSTREAM_KEY}', usage: observe, models: ['gpt-4o'] }`,
    ],
    policies: POLICIES,
  })
  const made = await site.cli('keys', 'create', '--tenant=a', '--name=b', '--upstream=second')
  const key = made.stdout.trim().split('\n').at(-1)!
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.strictSame([first.received.length, second.received.length], [1, 0], 'without: the first')
  t.equal((await site.send({ key, body: chat('hi') })).status, 200)
  t.strictSame([first.received.length, second.received.length], [1, 1])

  for (const sent of [
    { body: chat('hi', { model: 'gpt-4.1' }) },
    { path: '/up/v1/chat/completions', body: chat('hi') },
    { path: '/v1/check', body: { operation: 'chat', model: 'gpt-4.1', input: 'hi' } },
  ]) {
    const refused = await site.send({ key, ...sent })
    t.strictSame(
      [refused.status, refused.headers['x-governor-code']],
      [403, 'KEY_UPSTREAM_REFUSED'],
    )
    t.match(refused.json.error, {
      message: /it would go to "up", the key is for "second"\. Send a model .* --upstream up$/,
    })
  }
  t.equal((await site.send({ key, body: chat('hi', { model: 'claude' }) })).status, 404)
  t.strictSame([first.received.length, second.received.length], [1, 1])
  const refusals = site.entries().filter(({ body }) => body.code === 'KEY_UPSTREAM_REFUSED')
  t.equal(refusals.length, 3, 'each is in the audit')
})

t.test('a call is not tried again, nor moved, where its key may not go', async (t) => {
  const [first, second] = [await FakeUpstream.start(t), await FakeUpstream.start(t)]
  first.behaviour = (_request, response) => {
    response.writeHead(503, { 'content-type': 'application/json' }).end('{}')
  }
  const group = 'group: pair, retry: { attempts: 2 }'
  const site = await startGovernor(t, {
    upstream: first.url,
    more: `${group}, priority: 1`,
    upstreams: [
      `{ name: second, dialect: openai, url: '${second.url}', credential: '\${UPSTREAM_KEY}', usage: observe, ${group}, priority: 2 }`,
    ],
    policies: POLICIES,
  })
  const made = await site.cli('keys', 'create', '--tenant=a', '--name=b', '--upstream=up')
  const key = made.stdout.trim().split('\n').at(-1)!
  const answer = await site.send({ key, body: chat('hi') })
  t.equal(answer.status, 503)
  t.equal(second.received.length, 0)
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.equal(second.received.length, 1, 'a key for all upstreams moves on')
})
