import { CohereClientV2, CohereError } from 'cohere-ai'
import t from 'tap'

import { answer, FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'

/** Goal: of Cohere's client, rerank works; chat and embed are refused in words, at once. */

const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: animals, deny: { input: { words: [zebra] } }, message: Zebras stay here }`
const RANKED = { id: 'r', results: [{ index: 1, relevance_score: 0.9 }] }
const rank = (query: string) => ({ model: 'rerank-v3.5', query, documents: ['a', 'b'] })

async function thrown(promise: Promise<unknown>): Promise<CohereError> {
  return promise.then(
    () => {
      throw new Error('It did not throw')
    },
    (error: unknown) => error as CohereError,
  )
}

t.test('cohere-ai', async (t) => {
  const upstream = await FakeUpstream.start(t, answer(RANKED))
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: POLICIES,
    limits: '[{ id: hours, per: key, requests: 1/3h, for: { roles: [hours] } }]',
  })
  const client = new CohereClientV2({ token: site.key, environment: site.url })
  const answered = () => site.metric('governor_requests_total')

  const { results } = await client.rerank(rank('which?'))
  t.strictSame(results, [{ index: 1, relevanceScore: 0.9 }])
  t.equal(upstream.last?.path, '/v2/rerank')
  t.equal(upstream.last?.headers.authorization, `Bearer ${UPSTREAM_KEY}`)

  const before = await answered()
  const messages = [{ role: 'user' as const, content: 'hi' }]
  for (const [call, status, message] of [
    [() => client.rerank(rank('a zebra')), 403, /Zebras stay here/],
    [() => client.chat({ model: 'command-a', messages }), 404, /Cohere's own API/],
    [() => client.chatStream({ model: 'command-a', messages }), 404, /not supported in this/],
    [
      () => client.embed({ model: 'embed-v4.0', texts: ['a'], inputType: 'search_query' }),
      404,
      /Cohere's own API/,
    ],
  ] as const) {
    const error = await thrown(call())
    t.type(error, CohereError)
    t.equal(error.statusCode, status)
    t.match(error.message, message)
  }
  t.equal((await answered()) - before, 4, 'not tried again')
  t.equal(upstream.received.length, 1, 'the provider heard nothing')

  const token = await site.createKey('hours', ['hours'])
  const limited = new CohereClientV2({ token, environment: site.url })
  await limited.rerank(rank('which?'))
  t.equal((await thrown(limited.rerank(rank('which?')))).statusCode, 403, 'a limit of hours')

  upstream.behaviour = answer({ message: 'No such parameter' }, { status: 400 })
  const failed = await thrown(client.rerank(rank('which?')))
  t.match(failed, { statusCode: 400, body: { message: 'No such parameter' } })
})
