import t from 'tap'

import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: who asks which models there are hears of those it may use, and the rest is as sent. */

const LIST = { method: 'GET', path: '/v1/models' }
const POLICIES = `
  - { id: list, allow: { operations: [models] } }
  - { id: small, allow: { operations: [chat, embeddings], models: ['small-*', 'text-*'] } }
  - { id: research, allow: { roles: [research], operations: [chat], models: ['big-*'] } }
  - { id: never, deny: { models: ['*-retired'] } }
  - { id: capped, require: 'request.max_output_tokens <= 100' }`

/** As a provider may write it: spaces, numbers and members of its own. */
function listed(...names: readonly string[]): string {
  const elements = names.map((id) => `  { "id": "${id}",\n "created": 1.50, "x": {"id": "y"} }`)
  return `{ "object": "list",\n "data": [${elements.join(',\n')}], "has_more": false }\n`
}

t.test(
  'the list holds what the caller may use, by role and upstream, in the bytes as sent',
  async (t) => {
    const all = ['small-1', 'big-1', 'text-embed', 'small-retired', 'other']
    const upstream = await FakeUpstream.start(t, answer(listed(...all)))
    const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
    const mine = await site.send(LIST)
    t.equal(mine.status, 200)
    t.strictSame(mine.json['data'], [
      { id: 'small-1', created: 1.5, x: { id: 'y' } },
      { id: 'text-embed', created: 1.5, x: { id: 'y' } },
    ])
    t.match(mine.text, /"id": "small-1",\n "created": 1\.50/)
    t.ok(mine.text.endsWith('"has_more": false }\n'))
    t.equal(mine.headers['content-length'], String(mine.bytes.length))
    t.match(mine.headers['x-governor-changed'], 'models')
    const [decision] = await site.entriesOf(String(mine.headers['x-governor-request-id']), 1)
    t.strictSame(decision?.body['changed'], ['models'])
    const key = await site.createKey('researcher', ['research'])
    const theirs = await until('the new key to be known', async () => {
      const listing = await site.send({ ...LIST, key })
      return listing.status === 200 ? listing : null
    })
    const data = theirs.json['data'] as { id: string }[]
    t.strictSame(
      data.map(({ id }) => id),
      ['small-1', 'big-1', 'text-embed'],
    )
  },
)

t.test('all, none, an empty list and no list', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  for (const [text, wanted] of [
    [listed('small-1', 'small-2'), listed('small-1', 'small-2')],
    ['{"data":[{"id":"x"},{"id":"y"}]}', '{"data":[]}'],
    ['{"data":[]}', '{"data":[]}'],
    ['{"data":[{"id":7},{},"small-1",null]}', '{"data":[]}'],
    ['{"hello":"there"}', '{"hello":"there"}'],
    ['{"models":[{"name":"small-1"},{"name":"z"}]}', '{"models":[{"name":"small-1"}]}'],
  ] as const) {
    upstream.behaviour = answer(text)
    t.equal((await site.send(LIST)).text, wanted)
  }
  upstream.behaviour = answer({ error: { message: 'no' } }, { status: 500 })
  t.equal((await site.send(LIST)).status, 500, "the provider's own error passes")
})

t.test('a list that cannot be read is no answer', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url, policies: POLICIES })
  const long = listed(...Array.from({ length: 20_000 }, (_, index) => `other-${index}`), 'small-1')
  upstream.behaviour = answer(long)
  t.match((await site.send(LIST)).json, { data: [{ id: 'small-1' }] }, 'a long one is cut, too')
  for (const text of ['[{"id":"x"}]', '{"data":[{"id":"x"}],"data":[]}', 'oops', '']) {
    upstream.behaviour = answer(text)
    const refused = await site.send(LIST)
    t.equal(refused.status, 502, text)
    t.notMatch(refused.text, /"x"/)
  }
})
