import t from 'tap'

import { begin, chat } from '../support/client.ts'
import {
  answer,
  type Behaviour,
  CHAT_ANSWER,
  CHAT_EVENTS,
  FakeUpstream,
  hangBeforeHeaders,
  type Received,
  stream,
} from '../support/fake-upstream.ts'
import { type Sections, startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a call whose model gives no answer is made again with another one, as a call of that model:
 * decided, limited and recorded anew, and the answer says so. Method: one upstream that fails by model.
 */

const MORE = 'fallback: { models: [gpt-4o-mini, gpt-4o-nano] }'
const POLICIES = `
  - { id: open, allow: { operations: [chat, embeddings], models: ['gpt-4o*'] } }
  - { id: cap, for: { models: [gpt-4o-mini] }, set: { max_output_tokens: { at_most: 10 } } }
  - { id: codename, deny: { input: { words: [zeus] } } }`
const away = answer({ error: { message: 'away' } }, { status: 503 })

function modelOf({ body }: Received): string {
  return (JSON.parse(body.toString()) as { model: string }).model
}

/** Fails calls of these models. */
function without(models: readonly string[], failure: Behaviour = away): Behaviour {
  return (received, response) => {
    const fails = models.includes(modelOf(received))
    const isStream = received.body.includes('"stream":true')
    const good = isStream ? stream(CHAT_EVENTS) : answer()
    return (fails ? failure : good)(received, response)
  }
}

async function started(
  t: Parameters<typeof startGovernor>[0],
  behaviour: Behaviour,
  sections: Sections = {},
) {
  const upstream = await FakeUpstream.start(t, behaviour)
  const given = { upstream: upstream.url, more: MORE, policies: POLICIES, ...sections }
  return { upstream, site: await startGovernor(t, given) }
}

t.test('another model answers, and everybody is told', async (t) => {
  const limits =
    '[{ id: r, per: key, requests: 100/1h }, { id: t, per: key, tokens: 100k/1h }, { id: c, per: key, concurrent: 1 }]'
  const { upstream, site } = await started(t, without(['gpt-4o']), { limits })
  const sent =
    '{ "model" : "gpt-4o", "max_tokens": 99, "messages":[{"role":"user","content":"hi"}] }'
  const answered = await site.send({ body: sent })
  t.equal(answered.status, 200)
  t.strictSame(answered.json, CHAT_ANSWER)
  t.match(answered.headers, {
    'x-governor-model': 'gpt-4o-mini',
    'x-governor-decision': 'allow',
    'x-governor-changed': 'set, fallback',
  })
  t.strictSame(
    upstream.received.map(({ body }) => body.toString()),
    [sent, sent.replace('"gpt-4o"', '"gpt-4o-mini"').replace('99', '10')],
    'the model, what policies say of it, and nothing else',
  )
  const id = String(answered.headers['x-governor-request-id'])
  const entries = (await site.entriesOf(id, 4)).map(({ body }) => body)
  t.equal(entries.length, 4)
  t.match(entries[0], { kind: 'decision', forward: true, 'gen_ai.request.model': 'gpt-4o' })
  t.notOk('attempt' in entries[0]!)
  t.match(entries[1], {
    kind: 'outcome',
    outcome: 'upstream_failed',
    status: 0,
    upstream_status: 503,
    fallback: 'gpt-4o-mini',
  })
  t.notOk('limits' in entries[1]!, 'what failed is not charged')
  t.match(entries[2], {
    kind: 'decision',
    forward: true,
    attempt: 2,
    'gen_ai.request.model': 'gpt-4o-mini',
    changed: ['set', 'fallback'],
  })
  t.match(entries[3], { kind: 'outcome', outcome: 'complete', status: 200 })
  t.match(entries[3], { limits: { charged: [{ id: 't', amount: 7 }] } })
  t.equal(await site.metric('governor_requests_total'), 1, 'one answer')
  t.equal(await site.metric('governor_model_fallbacks_total', 'upstream="up"'), 1)
  t.equal((await site.send({ body: chat('next') })).status, 200, 'the only slot is free again')
  const verified = await site.cli('audit', 'verify')
  t.equal(verified.code, 0, verified.stdout)
})

t.test('a stream falls back before its first byte', async (t) => {
  const { site } = await started(t, without(['gpt-4o']))
  const answered = await site.send({ body: chat('hi', { stream: true }) })
  t.equal(answered.text, CHAT_EVENTS.join(''))
  t.equal(answered.headers['x-governor-model'], 'gpt-4o-mini')
})

t.test('models are tried in order, each once, and the last answer is the answer', async (t) => {
  const { upstream, site } = await started(t, without(['gpt-4o', 'gpt-4o-mini']))
  const third = await site.send({ body: chat('hi') })
  t.equal(third.headers['x-governor-model'], 'gpt-4o-nano')
  upstream.behaviour = away
  upstream.received.length = 0
  const none = await site.send({ body: chat('hi') })
  t.equal(none.status, 503)
  t.strictSame(none.json, { error: { message: 'away' } })
  t.strictSame(upstream.received.map(modelOf), ['gpt-4o', 'gpt-4o-mini', 'gpt-4o-nano'])
  const entries = await site.entriesOf(String(none.headers['x-governor-request-id']), 6)
  t.equal(entries.length, 6)
  t.match(entries[4]?.body, { attempt: 3 })
})

t.test('a model that the caller may not use is not asked, and that is recorded', async (t) => {
  const policies = `${POLICIES}\n  - { id: no-mini, deny: { models: [gpt-4o-mini] }, message: Not this one }`
  const { upstream, site } = await started(t, without(['gpt-4o']), { policies })
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 502, 'why the first one failed')
  t.equal(answered.headers['x-governor-code'], 'UPSTREAM_FAILED')
  t.strictSame(upstream.received.map(modelOf), ['gpt-4o'])
  const entries = await site.entriesOf(String(answered.headers['x-governor-request-id']), 3)
  t.match(entries[2]?.body, {
    kind: 'decision',
    attempt: 2,
    decision: 'deny',
    policy: 'no-mini',
    code: 'POLICY_DENIED',
  })
})

t.test('a limit on the other model holds', async (t) => {
  const limits = '[{ id: mini, per: key, requests: 1/1h, for: { models: [gpt-4o-mini] } }]'
  const { upstream, site } = await started(t, without(['gpt-4o']), { limits })
  t.equal((await site.send({ body: chat('hi') })).status, 200)
  t.equal((await site.send({ body: chat('hi') })).status, 502)
  t.strictSame(upstream.received.map(modelOf), ['gpt-4o', 'gpt-4o-mini', 'gpt-4o'])
})

t.test('it may be another upstream that serves the other model', async (t) => {
  const mini = await FakeUpstream.start(t)
  const upstreams = [`{ name: mini, dialect: openai, url: '${mini.url}', models: [gpt-4o-mini] }`]
  const more = `models: [gpt-4o], ${MORE}`
  const { upstream, site } = await started(t, away, { upstreams, more })
  await upstream.close()
  const answered = await site.send({ body: chat('hi') })
  t.equal(answered.status, 200)
  t.equal(mini.last?.headers.authorization, undefined, 'with its own credential: none')
  const entries = await site.entriesOf(String(answered.headers['x-governor-request-id']), 4)
  t.match(entries[1]?.body, { code: 'UPSTREAM_UNREACHABLE', fallback: 'gpt-4o-mini' })
  t.match(entries[2]?.body, { upstream: 'mini', attempt: 2 })
})

t.test('refusals, mistakes and what may be billed are told as they are', async (t) => {
  const { upstream, site } = await started(t, answer({ error: {} }, { status: 400 }), {
    more: `${MORE}, timeouts: { first_byte: 200ms }`,
  })
  t.equal((await site.send({ body: chat('hi') })).status, 400)
  t.equal((await site.send({ body: chat('zeus') })).status, 403)
  upstream.behaviour = hangBeforeHeaders
  t.equal((await site.send({ body: chat('hi') })).status, 504)
  t.equal(upstream.received.length, 2)
  t.equal(await site.metric('governor_model_fallbacks_total'), 0)
})

t.test('a client that leaves the second model stops it', async (t) => {
  const { upstream, site } = await started(t, (received, response) => {
    if (modelOf(received) === 'gpt-4o') void away(received, response)
  })
  const { request, response } = begin(site.url, { key: site.key, body: chat('hi') })
  response.catch(() => {})
  await until('the second model', () => upstream.received.length === 2)
  request.destroy()
  await until('it to be stopped', () => upstream.last?.closedEarly)
  const outcomes = await until('both outcomes', () => {
    const found = site.entries().filter(({ kind }) => kind === 'outcome')
    return found.length === 2 ? found : null
  })
  t.strictSame(
    outcomes.map(({ body }) => body.outcome),
    ['upstream_failed', 'client_closed'],
  )
  t.equal(await site.metric('governor_inflight_requests'), 0)
  t.equal(await site.metric('governor_inflight_bytes'), 0)
})
