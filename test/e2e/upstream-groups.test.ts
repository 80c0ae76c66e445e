import t from 'tap'

import { begin, chat, open } from '../support/client.ts'
import {
  answer,
  chatEvent,
  DONE,
  echoKey,
  FakeUpstream,
  HandStream,
} from '../support/fake-upstream.ts'
import {
  configText,
  type InProcess,
  type Sections,
  startGovernor,
  UPSTREAM_KEY,
  writeConfig,
} from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: upstreams of a group stand in for each other, one that fails is left alone until it works
 * again, and nobody is called more often at once than allowed. Method: two scripted upstreams.
 */

const OTHER_KEY = 'sk-other-0123456789abcdefghijklmnopqrstuvwxyz'
const away = answer({ error: { message: 'away' } }, { status: 503 })

interface Pair {
  readonly up: FakeUpstream
  readonly other: FakeUpstream
  readonly site: InProcess
}

function sections(up: string, other: string, mine = '', others = ''): Sections {
  const second = `{ name: other, dialect: openai, url: '${other}', credential: '\${OTHER:-${OTHER_KEY}}', usage: observe, group: g${others} }`
  return { upstream: up, more: `group: g${mine}`, upstreams: [second] }
}

async function pair(t: Parameters<typeof startGovernor>[0], mine = '', others = ''): Promise<Pair> {
  const up = await FakeUpstream.start(t)
  const other = await FakeUpstream.start(t)
  const site = await startGovernor(t, sections(up.url, other.url, mine, others))
  return { up, other, site }
}

async function statuses(site: InProcess, count: number): Promise<Set<number>> {
  const seen = new Set<number>()
  for (let call = 0; call < count; call++) seen.add((await site.send({ body: chat('hi') })).status)
  return seen
}

function counts({ up, other }: Pair): [number, number] {
  return [up.received.length, other.received.length]
}

t.test('calls are spread by weight, each with the credential of its upstream', async (t) => {
  const both = await pair(t, ', weight: 3')
  t.strictSame(await statuses(both.site, 8), new Set([200]))
  t.strictSame(counts(both), [6, 2])
  t.equal(both.up.last?.headers.authorization, `Bearer ${UPSTREAM_KEY}`)
  t.equal(both.other.last?.headers.authorization, `Bearer ${OTHER_KEY}`)
  t.notMatch(both.up.everything, OTHER_KEY)
  t.notMatch(both.other.everything, UPSTREAM_KEY)
})

t.test('a member that is gone is stood in for, and the outcome says by whom', async (t) => {
  const both = await pair(t, '', ', priority: 1')
  await both.up.close()
  const answered = await both.site.send({ body: chat('hi') })
  t.equal(answered.status, 200)
  const id = String(answered.headers['x-governor-request-id'])
  const [decision, outcome] = await both.site.entriesOf(id, 2)
  t.match(decision?.body, { decision: 'allow', upstream: 'up' })
  t.match(outcome?.body, { outcome: 'complete', upstream: 'other', tries: 2 })
  t.strictSame(await statuses(both.site, 8), new Set([200]))
  t.equal(await both.site.metric('governor_breaker_state', 'upstream="up"'), 1)
  t.equal(await both.site.metric('governor_upstream_errors_total', 'fault="connect"'), 5)
  const entries = both.site.entries().filter(({ kind }) => kind === 'decision')
  t.match(entries.at(-1)?.body, { upstream: 'other' }, 'it is not even asked any more')
})

t.test('the credential of whoever answers is taken out of the answer', async (t) => {
  const both = await pair(t, '', ', priority: 1')
  both.up.behaviour = away
  both.other.behaviour = echoKey
  const answered = await both.site.send({ body: chat('hi') })
  t.match(answered.json.error, { message: 'Incorrect API key provided: Bearer [redacted]' })
})

t.test('one that fails is left alone, probed, and called again once it works', async (t) => {
  const breaker = ', breaker: { failures: 2, open: 100ms }'
  const both = await pair(t, breaker, ', priority: 1')
  both.up.behaviour = away
  t.strictSame(await statuses(both.site, 2), new Set([200]))
  t.strictSame(counts(both), [2, 2])
  both.up.behaviour = answer()
  await until('it to be called again', async () => {
    await statuses(both.site, 1)
    return both.up.received.length > 2
  })
  t.equal(await both.site.metric('governor_breaker_state', 'upstream="up"'), 0)
  const before = both.other.received.length
  t.strictSame(await statuses(both.site, 5), new Set([200]))
  t.equal(both.other.received.length, before)
})

t.test('when all are away the client is told when to come back', async (t) => {
  const breaker = ', breaker: { failures: 1, open: 5m }'
  const both = await pair(t, breaker, breaker)
  both.up.behaviour = away
  both.other.behaviour = away
  t.equal((await both.site.send({ body: chat('hi') })).status, 503)
  const before = counts(both)
  const refused = await both.site.send({ body: chat('hi') })
  t.equal(refused.status, 503)
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_AWAY')
  t.equal(refused.headers['x-governor-decision'], 'allow')
  const seconds = Number(refused.headers['retry-after'])
  t.ok(seconds > 200 && seconds <= 300, `${seconds} s`)
  t.strictSame(counts(both), before)
  const id = String(refused.headers['x-governor-request-id'])
  const [decision, outcome] = await both.site.entriesOf(id, 2)
  t.match(decision?.body, { decision: 'allow' })
  t.match(outcome?.body, { outcome: 'upstream_failed', code: 'UPSTREAM_AWAY' })
})

t.test('a call to one by its name goes to that one', async (t) => {
  const both = await pair(t)
  both.other.behaviour = away
  const path = '/other/v1/chat/completions'
  t.equal((await both.site.send({ path, body: chat('hi') })).status, 503)
  t.strictSame(counts(both), [0, 3], 'tried again there and nowhere else')
})

t.test('a member serves the models it lists and no others', async (t) => {
  const both = await pair(t, '', ", models: ['gpt-5*']")
  both.up.behaviour = away
  t.equal((await both.site.send({ body: chat('hi') })).status, 503)
  t.equal(both.other.received.length, 0)
})

t.test('a reload keeps what is known of upstreams that stay', async (t) => {
  const breaker = ', breaker: { failures: 1, open: 5m }'
  const both = await pair(t, breaker, ', priority: 1')
  both.up.behaviour = away
  await statuses(both.site, 1)
  const { up, other, site } = both
  writeConfig(site.file, configText(sections(up.url, other.url, breaker, ', priority: 2')))
  await site.governor.reload(site.load())
  t.strictSame(await statuses(site, 3), new Set([200]))
  t.equal(up.received.length, 1)
  t.equal(await site.metric('governor_breaker_state', 'upstream="up"'), 1)
})

t.test('no more calls at once than allowed: others wait, more are refused', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const more = 'concurrency: { calls: 1, queue: 1, wait_max: 30s }'
  const site = await startGovernor(t, { upstream: upstream.url, more })
  const call = { key: site.key, body: chat('hi', { stream: true }) }
  const { response } = await open(site.url, call)
  response.resume()
  upstream.behaviour = answer()
  const leaving = begin(site.url, call)
  leaving.response.catch(() => {})
  const waits = () => site.metric('governor_pool_connections', 'pool="up"', 'state="waiting"')
  await until('one to wait', async () => (await waits()) === 1)
  const refused = await site.send({ body: chat('hi') })
  t.equal(refused.status, 503)
  t.equal(refused.headers['x-governor-code'], 'UPSTREAM_BUSY')
  leaving.request.destroy()
  await until('it to leave', async () => (await waits()) === 0)
  const waiting = site.send({ body: chat('hi') })
  await until('another to wait', async () => (await waits()) === 1)
  t.equal(upstream.received.length, 1)
  hand.write(chatEvent('x', 'stop') + DONE)
  hand.end()
  t.equal((await waiting).status, 200)
  t.equal(upstream.received.length, 2)
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'no place was lost')
})

t.test('a member with no place left is passed over', async (t) => {
  const hand = new HandStream()
  const both = await pair(t, ', concurrency: { calls: 1 }', ', priority: 1')
  both.up.behaviour = hand.behaviour
  const { response } = await open(both.site.url, {
    key: both.site.key,
    body: chat('hi', { stream: true }),
  })
  t.strictSame(await statuses(both.site, 2), new Set([200]))
  t.strictSame(counts(both), [1, 2])
  both.up.behaviour = answer()
  response.destroy()
  await until('the place to be free', async () => {
    await statuses(both.site, 1)
    return both.up.received.length > 1
  })
})
