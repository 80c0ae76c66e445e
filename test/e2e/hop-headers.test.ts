import t from 'tap'

import { chat } from '../support/client.ts'
import { CHAT_ANSWER, FakeUpstream, answer, withTrailers } from '../support/fake-upstream.ts'
import { startGovernor, UPSTREAM_KEY } from '../support/start-governor.ts'

/**
 * Goal: the upstream hears only what the dialect lets through and our credential, the client only
 * what is meant for it. Method: send everything a client might, and read what arrived.
 */

t.test('the upstream receives an allow-list of headers and our credential', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const answered = await site.send({
    body: chat('hi'),
    headers: {
      accept: 'application/json',
      'user-agent': 'OpenAI/JS 7.57.0',
      'x-stainless-lang': 'js',
      'idempotency-key': 'once',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      host: 'evil.example',
      cookie: 'session=1',
      'accept-encoding': 'gzip, br',
      'api-key': 'sk-clients-own',
      'x-api-key': 'sk-clients-own',
      'x-goog-api-key': 'sk-clients-own',
      'proxy-authorization': 'Basic eDp5',
      'openai-organization': 'org-other',
      'openai-project': 'proj-other',
      forwarded: 'for=10.0.0.1',
      'x-forwarded-for': '10.0.0.1',
      'x-forwarded-host': 'evil.example',
      'x-real-ip': '10.0.0.1',
      'x-governor-tenant': 'other',
      'x-request-id': 'mine',
      'x-http-method-override': 'DELETE',
      te: 'trailers',
      __proto__: 'x',
      constructor: 'y',
    },
  })
  t.equal(answered.status, 200)
  const { headers, rawHeaders } = upstream.last!
  t.strictSame(
    { ...headers },
    {
      host: new URL(upstream.url).host,
      connection: 'keep-alive',
      accept: 'application/json',
      'user-agent': 'OpenAI/JS 7.57.0',
      'x-stainless-lang': 'js',
      'idempotency-key': 'once',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'content-type': 'application/json',
      'content-length': String(upstream.last!.body.length),
      'accept-encoding': 'identity',
      authorization: `Bearer ${UPSTREAM_KEY}`,
    },
  )
  const names = rawHeaders.filter((_value, index) => index % 2 === 0).map((n) => n.toLowerCase())
  t.equal(new Set(names).size, names.length, 'each of them once')
})

t.test('a client key never reaches the upstream, wherever it is put', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const { key } = site
  for (const headers of [
    { authorization: `Bearer ${key}` },
    { authorization: `bearer ${key}` },
    { 'api-key': key },
    { 'x-api-key': key },
    { authorization: `Bearer ${key}`, 'api-key': key, 'x-api-key': key },
    { authorization: 'Bearer sk-provider', 'x-api-key': key },
  ]) {
    const answered = await site.send({ headers, body: chat('hi'), key: undefined } as never)
    t.equal(answered.status, 200, Object.keys(headers).join(' '))
  }
  const inQuery = await site.send({ path: `/v1/chat/completions?api_key=${key}`, body: chat('hi') })
  t.equal(inQuery.status, 400)
  t.notMatch(inQuery.text, key.slice(-20))
  t.equal(upstream.received.length, 6)
  t.notOk(upstream.everything.includes(key.split('.')[1]!), 'the secret')
  t.notOk(upstream.everything.includes('sk-provider'), 'a foreign credential')
})

t.test('what Connection names is dropped, what Governor adds is not', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const answered = await site.send({
    body: chat('hi'),
    headers: {
      connection: 'close, User-Agent, x-stainless-secret ,authorization, content-type, host',
      'user-agent': 'between us',
      'x-stainless-secret': 'between us',
      'x-stainless-os': 'Linux',
    },
  })
  t.equal(answered.status, 200)
  const { headers } = upstream.last!
  t.match(headers, {
    authorization: `Bearer ${UPSTREAM_KEY}`,
    'content-type': 'application/json',
    host: new URL(upstream.url).host,
    'x-stainless-os': 'Linux',
  })
  t.notOk(upstream.everything.includes('between us'))
})

t.test('the client receives an allow-list of headers, no cookies and no trailers', async (t) => {
  const upstream = await FakeUpstream.start(
    t,
    answer(CHAT_ANSWER, {
      headers: {
        'set-cookie': ['__cf_bm=1; path=/', 'b=2'],
        server: 'cloudflare',
        'alt-svc': 'h3=":443"',
        'access-control-allow-origin': '*',
        'strict-transport-security': 'max-age=1',
        'x-governor-decision': 'deny',
        'openai-processing-ms': '17',
        'x-ratelimit-remaining-requests': '59',
      },
    }),
  )
  const site = await startGovernor(t, {
    upstream: upstream.url,
    limits: '[{ id: rpm, per: key, requests: 5/60s }]',
  })
  const { headers } = await site.send({ body: chat('hi') })
  const { date, ...rest } = headers
  t.ok(date)
  t.match(rest['x-governor-request-id'], /^[0-9a-f-]{36}$/)
  t.match(rest['x-governor-ratelimit-reset-requests'], /^\d/)
  t.strictSame(Object.keys(rest).sort(), [
    'connection',
    'content-length',
    'content-type',
    'openai-processing-ms',
    'x-governor-decision',
    'x-governor-ratelimit-limit-requests',
    'x-governor-ratelimit-remaining-requests',
    'x-governor-ratelimit-reset-requests',
    'x-governor-request-id',
    'x-ratelimit-remaining-requests',
    'x-request-id',
  ])
  t.equal(rest['x-governor-decision'], 'allow')
  t.equal(rest['x-request-id'], 'req_upstream', "the provider's own passes")

  upstream.behaviour = withTrailers({ 'x-secret-trailer': 'leak' })
  const trailed = await site.send({ body: chat('hi') })
  t.strictSame(trailed.trailers, {})
  t.notMatch(trailed.rawHeaders.join('\n'), /leak|trailer/)
})

t.test('bytes pass unchanged both ways', async (t) => {
  const odd =
    '{ "model" : "gpt-4o",\n "seed": 9007199254740993, "temperature":1.0e0,' +
    '"messages":[{"role":"user","content":"caf\\u00e9 \\/ 😀"}] }'
  const said = '{"id":"x",  "big": 12345678901234567890, "text":"\\u00e9"}'
  const upstream = await FakeUpstream.start(t, answer(said))
  const site = await startGovernor(t, { upstream: upstream.url })
  const answered = await site.send({ body: odd })
  t.equal(upstream.last?.body.toString(), odd)
  t.equal(answered.text, said)
  t.equal(answered.headers['x-governor-changed'], undefined)
  const [decision] = await site.entriesOf(String(answered.headers['x-governor-request-id']), 2)
  t.match(decision?.body, { received: { sha256: upstream.last?.sha256 } })
})
