import t from 'tap'

import { chat } from '../support/client.ts'
import { configText, Site, startGovernor } from '../support/start-governor.ts'

const POLICIES = `
  - { id: all, allow: { models: ['*'] } }
  - { id: stolen, deny: { when: '"new_network" in caller.unusual && "new_client" in caller.unusual' } }`

const HOURS_MS = 2 * 3_600_000

t.test('a key used from a new place is told of, and refused where a policy says so', async (t) => {
  const site = await startGovernor(t, { policies: POLICIES })
  const other = await site.createKey('other')
  const [keyId = ''] = site.key.split('.')
  const past = performance.now() - HOURS_MS
  // As if this process had seen the key for hours, in another place.
  for (let call = 0; call < 100; call++) {
    site.governor.usual.look({ keyId, ip: '10.1.2.3' }, 'OpenAI/Python 1.54.0', past)
  }
  const call = { body: chat('hello') }
  t.equal((await site.send({ ...call, key: other })).status, 200, 'nobody knows this one yet')
  const moved = await site.send({ ...call, headers: { 'user-agent': 'OpenAI/Python 2.0.0' } })
  t.equal(moved.status, 200, 'a new network alone')
  const stolen = await site.send({ ...call, headers: { 'user-agent': 'curl/8.5.0' } })
  t.strictSame([stolen.status, stolen.headers['x-governor-policy']], [403, 'stolen'])

  const [decision] = await site.entriesOf(String(stolen.headers['x-governor-request-id']), 1)
  t.strictSame(decision?.body['unusual'], ['new_network', 'new_client'])
  const [allowed] = await site.entriesOf(String(moved.headers['x-governor-request-id']), 2)
  t.strictSame(allowed?.body['unusual'], ['new_network'])
  t.equal(await site.metric('governor_unusual_calls_total', 'reason="new_network"'), 2)
  t.equal(await site.metric('governor_unusual_calls_total', 'reason="new_client"'), 1)
  const explained = await site.cli('explain', String(stolen.headers['x-governor-request-id']))
  t.match(explained.stdout, /matched +deny +stolen/, 'what was unusual is known afterwards, too')
})

t.test('tests and described requests say what is unusual', async (t) => {
  const tests = `
tests:
  - { name: usual, request: { model: gpt-4o }, expect: { decision: allow } }
  - name: from a new place
    request: { model: gpt-4o, unusual: [new_network, new_client] }
    expect: { decision: deny, policy: stolen }
`
  const site = new Site(t.testdir(), configText({ policies: POLICIES }) + tests)
  t.match(await site.cli('test'), { code: 0 })
})
