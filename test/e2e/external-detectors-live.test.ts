import t from 'tap'

import { begin, chat } from '../support/client.ts'
import { findJane, PERSON, presidio, started, told } from '../support/detector-services.ts'
import { FakeUpstream, hangBeforeHeaders } from '../support/fake-upstream.ts'
import { configText, writeConfig } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a question ends with its call, and outlives the configuration it began with. Method: servers that speak Presidio's and OpenAI's
 * formats, behind the running proxy.
 */

t.test('a text that is too long is not sent', async (t) => {
  const { service, site } = await started(t, findJane, { more: ', max_chars: 100' })
  t.match(await told(site, 'x'.repeat(101)), {
    status: 403,
    said: 'error: input.detect: presidio: the texts are longer than its max_chars',
  })
  t.same(service.received.length, 0)
})

t.test('a client that leaves takes its question along', async (t) => {
  const { service, site } = await started(t, hangBeforeHeaders, { more: ', timeout: 1m' })
  const { request, response } = begin(site.url, { key: site.key, body: chat('Hello') })
  response.catch(() => {})
  await until('the question', () => service.last)
  request.destroy()
  await until('its end', () => service.last?.closedEarly)
  await until('the entry', () => site.entries().find(({ body }) => body.code === 'CLIENT_CLOSED'))
  t.same(await site.metric('governor_inflight_requests'), 0)
})

t.test(
  'a question outlives the configuration it began with, and its pool goes after',
  async (t) => {
    const held: (() => void)[] = []
    const { service, site } = await started(t, (received, response) => {
      held.push(() => void findJane(received, response))
    })
    const slow = site.send({ body: chat('Hello Jane Doe') })
    await until('the question', () => service.last)
    const next = await FakeUpstream.start(t, findJane)
    writeConfig(site.file, configText({ policies: PERSON, detectors: presidio(next.url) }))
    await site.governor.reload(site.load())
    t.same((await told(site, 'Hello Jane Doe')).status, 403)
    t.same(next.received.length, 1, 'the new service is asked, nothing is remembered of the old')
    for (const answerNow of held) answerNow()
    t.same((await slow).status, 403)
    t.same(service.received.length, 1)
  },
)

t.test('a reload that leaves a service as it is keeps what it said', async (t) => {
  const { service, site } = await started(t, findJane)
  t.same((await told(site, 'Hello')).status, 200)
  const policies = `${PERSON}\n  - { id: more, deny: { models: [x] } }`
  writeConfig(site.file, configText({ policies, detectors: presidio(service.url) }))
  await site.governor.reload(site.load())
  t.same((await told(site, 'Hello')).status, 200)
  t.same(service.received.length, 1)
})

t.test('stopping gives questions up', async (t) => {
  const { service, site } = await started(t, hangBeforeHeaders, { more: ', timeout: 1m' })
  const call = site.send({ body: chat('Hello') }).catch(() => null)
  await until('the question', () => service.last)
  await site.governor.stop(0)
  await call
  t.ok(service.last?.closedEarly)
})

t.test('at most as many questions at once as the file says', async (t) => {
  const waiting: (() => void)[] = []
  const { service, site } = await started(
    t,
    (received, response) => void waiting.push(() => void findJane(received, response)),
    { more: ', concurrency: 2, timeout: 1m' },
  )
  const calls = Array.from({ length: 5 }, (_, i) => site.send({ body: chat(`Hello ${i}`) }))
  await until('two questions', () => service.received.length === 2)
  let answered = 0
  while (answered < 5) {
    t.ok(service.received.length - answered <= 2)
    const next = await until('a question', () => waiting.shift())
    answered++
    next()
  }
  t.strictSame(new Set((await Promise.all(calls)).map(({ status }) => status)), new Set([200]))
})

t.test('/v1/check asks, governor test and explain do not', async (t) => {
  const { service, site } = await started(t, findJane)
  const check = (input: string) =>
    site.send({ path: '/v1/check', body: { operation: 'chat', model: 'gpt-4o', input } })
  t.match((await check('Jane Doe')).json, { allowed: false, policy: 'person' })
  t.match((await check('nobody')).json, { allowed: true })
  t.same(service.received.length, 2)
  const tests = `tests:
  - name: a name is refused
    request: { model: gpt-4o, input: hi, detected: [presidio] }
    expect: { decision: deny, policy: person, why: 'input.detect: presidio' }
  - name: nobody is not
    request: { model: gpt-4o, input: Jane Doe }
    expect: { decision: allow }
`
  writeConfig(site.file, configText({ policies: PERSON, detectors: presidio(service.url) }) + tests)
  t.match(await site.cli('test'), { code: 0 })
  t.same(service.received.length, 2)
})
