import t from 'tap'

import { findJane, moderate, OPEN, presidio, started, told } from '../support/detector-services.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'

/**
 * Goal: detectors that are services decide like others. Method: servers that speak Presidio's and OpenAI's
 * formats, behind the running proxy.
 */

t.test('a Presidio analyzer decides, and is asked about each text once', async (t) => {
  const { service, site } = await started(t, findJane, { more: ', entities: [PERSON]' })
  t.strictSame(await told(site, 'Hello Jane Doe, 😀 and Jane Doe'), {
    status: 403,
    message: 'Policy denied this request: No names here',
    said: 'denied: input.detect: presidio',
    detected: { presidio: 2 },
  })
  t.strictSame(JSON.parse(service.last?.body.toString() ?? ''), {
    text: 'Hello Jane Doe, 😀 and Jane Doe',
    language: 'en',
    score_threshold: 0.5,
    entities: ['PERSON'],
  })
  t.strictSame([service.last?.path, service.last?.headers.authorization], ['/analyze', undefined])
  t.same((await told(site, 'Hello nobody')).status, 200)
  t.same((await told(site, 'Hello Jane Doe, 😀 and Jane Doe')).status, 403)
  const body = {
    model: 'gpt-4o',
    messages: ['Hello nobody', 'Jane\u200b Doe', 'Hello nobody'].map((content) => {
      return { role: 'user', content }
    }),
  }
  t.same((await site.send({ body })).status, 403, 'as it reads')
  t.same(service.received.length, 3, 'what is known is not asked')
  t.same(JSON.parse(service.last?.body.toString() ?? '').text, 'Jane Doe')
  t.same(await site.metric('governor_cache_requests_total', 'detector_verdicts', 'hit'), 2)
  t.same(await site.metric('governor_cache_requests_total', 'detector_verdicts', 'miss'), 3)
  t.same(await site.metric('governor_detector_requests_total', 'presidio', 'ok'), 3)
})

t.test('findings belong to the text they begin in, whatever characters come before', async (t) => {
  const { service, site } = await started(t, findJane)
  const twice = ['😀😀😀', 'Jane Doe', 'plain'].map((content) => ({ role: 'user', content }))
  t.same((await site.send({ body: { model: 'gpt-4o', messages: twice } })).status, 403)
  t.same((await told(site, 'plain')).status, 200)
  t.same((await told(site, 'Jane Doe')).status, 403)
  t.same(service.received.length, 1, 'all three are known')
})

function body(content: unknown) {
  return { model: 'gpt-4o', messages: [{ role: 'user', content }] }
}

t.test('what a Presidio analyzer finds is masked where it stands', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const service = await FakeUpstream.start(t, findJane)
  const site = await startGovernor(t, {
    upstream: upstream.url,
    policies: `${OPEN}\n  - { id: person, redact: { input: { detect: [email, presidio] } } }`,
    detectors: presidio(service.url),
  })
  const going = async (content: unknown) => {
    const { status, headers } = await site.send({ body: body(content) })
    const said = JSON.parse(upstream.last?.body.toString() ?? '{}') as ReturnType<typeof body>
    return [status, headers['x-governor-changed'] ?? '', said.messages[0]?.content]
  }
  const mail = 'jane@example.com'
  for (const [content, want] of [
    [`😀 Jane\u200b Doe (${mail}), Jane Doe`, '😀 [PERSON_1] ([EMAIL_1]), [PERSON_1]'],
    [mail, '[EMAIL_1]'],
    ['J\u0336ane Doe\u0336!', '[PERSON_1]!'],
    [`😀 Jane\u200b Doe (${mail}), Jane Doe`, '😀 [PERSON_1] ([EMAIL_1]), [PERSON_1]'],
    ['{"who":"Jane\\u0020Doe"}', '{"who":"[PERSON_1]"}'],
  ] as const) {
    t.strictSame(await going(content), [200, 'redacted', want])
  }
  t.strictSame(await going('nobody'), [200, '', 'nobody'])
  const parts = [
    { type: 'text', text: 'I am Jane Doe' },
    { type: 'text', text: 'and you?' },
  ]
  t.strictSame(await going(parts), [
    200,
    'redacted',
    [{ type: 'text', text: 'I am [PERSON_1]' }, parts[1]],
  ])
  const apart = [
    { type: 'text', text: 'I am Jane D' },
    { type: 'text', text: 'oe' },
  ]
  t.strictSame((await going(apart))[0], 403, 'what is spread over parts cannot be masked')
  const key = { ...body('hi'), metadata: { 'Jane Doe': 'x' } }
  t.equal((await site.send({ body: key })).status, 403, 'nor what is a name of a field')
  service.behaviour = (_received, response) => void response.writeHead(500).end()
  t.equal((await site.send({ body: body('somebody else') })).status, 403, 'nor what nobody told')
  const sent = upstream.everything
  t.notMatch(sent, /Jane|example\.com/)
})

t.test('OpenAI’s moderation decides by what it flags, or by thresholds', async (t) => {
  const service = await FakeUpstream.start(t, moderate)
  const site = await startGovernor(t, {
    policies: `${OPEN}
  - { id: harm, deny: { input: { detect: [flags] } } }
  - { id: strict, mode: shadow, deny: { input: { detect: [scores] } } }`,
    detectors: `
  - { id: flags, openai_moderation: { url: '${service.url}/', credential: '\${UPSTREAM_KEY}' } }
  - { id: scores, openai_moderation: { url: '${service.url}', model: m, thresholds: { violence: 0.01 } } }`,
  })
  t.strictSame(await told(site, 'how to bake', 'strict'), {
    status: 200,
    message: '',
    said: 'denied: input.detect: scores',
    detected: { scores: 1 },
  })
  const asked = service.received.find(({ headers }) => headers.authorization !== undefined)
  t.strictSame(
    [asked?.path, asked?.headers.authorization, JSON.parse(asked?.body.toString() ?? '')],
    [
      '/v1/moderations',
      `Bearer ${UPSTREAM_KEY}`,
      { model: 'omni-moderation-latest', input: ['how to bake'] },
    ],
  )
  t.strictSame(await told(site, 'how to kill', 'harm'), {
    status: 403,
    message: 'Policy denied this request: Policy "harm" denies this input',
    said: 'denied: input.detect: flags',
    detected: { flags: 1, scores: 1 },
  })
})

t.test('a conversation of hundreds of texts is one question', async (t) => {
  const service = await FakeUpstream.start(t, moderate)
  const site = await startGovernor(t, {
    policies: `${OPEN}\n  - { id: harm, deny: { input: { detect: [flags] } } }`,
    detectors: `[{ id: flags, openai_moderation: { url: '${service.url}' } }]`,
  })
  const messages = Array.from({ length: 300 }, (_, i) => ({ role: 'user', content: `turn ${i}` }))
  t.same((await site.send({ body: { model: 'gpt-4o', messages } })).status, 200)
  t.ok(JSON.parse(service.last?.body.toString() ?? '').input.length <= 32)
  const more = [...messages, { role: 'user', content: 'now kill' }]
  t.same((await site.send({ body: { model: 'gpt-4o', messages: more } })).status, 403)
  t.strictSame(JSON.parse(service.last?.body.toString() ?? '').input, ['now kill'])
  t.same(service.received.length, 2)
})
