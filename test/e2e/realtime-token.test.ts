import t from 'tap'

import { FakeRealtime, RealtimeClient, said } from '../support/fake-realtime.ts'
import { TestIssuer } from '../support/issuer.ts'
import { startWith } from '../support/start-with-issuer.ts'

/** Goal: a token opens a realtime session and is looked at again for each of its turns. */

const POLICIES = `
  - { id: sessions, allow: { operations: [realtime], models: ['gpt-realtime*'] } }`

t.test('a token opens a session, and its turns are answered', async (t) => {
  const issuer = await TestIssuer.start(t)
  const upstream = await FakeRealtime.start(t)
  const { site } = await startWith(t, issuer, { upstream: upstream.url, policies: POLICIES })
  const client = await RealtimeClient.open(site.url, await issuer.token())
  await client.hears('session.created')
  client.send(said('hello'))
  client.send({ type: 'response.create', event_id: 'e1' })
  await client.hears('response.done')
  t.ok(site.entries().some(({ body }) => body['via'] === 'jwt'))
})
