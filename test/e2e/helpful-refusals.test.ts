import t from 'tap'

import { chat, send } from '../support/client.ts'
import { startGovernor } from '../support/start-governor.ts'

/** Goal: who is refused for a common mistake is told what to do, and never what is inside. */

t.test('a common mistake is named, with its cure', async (t) => {
  const site = await startGovernor(t)
  const unknown = '00000000-0000-4000-8000-000000000000'
  const secret = 'a'.repeat(43)
  for (const [name, sent, status, code, message] of [
    ['no key', { key: undefined }, 401, 'AUTH_KEY_MISSING', /governor keys create/],
    [
      'a provider key',
      { key: 'sk-proj-abcdefgh' },
      401,
      'AUTH_KEY_INVALID',
      'The Governor key is not valid: This is a provider key; make a Governor key with: governor keys create',
    ],
    [
      'an unknown key',
      { key: `${unknown}.${secret}` },
      401,
      'AUTH_KEY_INVALID',
      /unknown, expired/,
    ],
    ['half a key', { key: unknown }, 401, 'AUTH_KEY_INVALID', /<key_id>\.<secret>/],
    ['no /v1', { path: '/embeddings' }, 404, 'ROUTE_UNKNOWN', /Use \/v1\/embeddings/],
    [
      '/v1 twice',
      { path: '/v1/v1/chat/completions' },
      403,
      'OPERATION_UNKNOWN',
      /Use \/v1\/chat\/completions/,
    ],
    [
      'another case',
      { path: '/V1/Chat/Completions' },
      404,
      'ROUTE_UNKNOWN',
      /Use \/v1\/chat\/completions/,
    ],
    [
      'a path of a provider that is not there',
      { path: '/v1/messages' },
      403,
      'OPERATION_UNKNOWN',
      /a path of Anthropic's API: it needs an upstream of dialect anthropic$/,
    ],
    [
      'another such path',
      { path: '/api/chat' },
      404,
      'ROUTE_UNKNOWN',
      /it needs an upstream of dialect ollama$/,
    ],
    ['the root', { path: '/' }, 404, 'ROUTE_UNKNOWN', /./],
    [
      'another method',
      { method: 'PUT', body: undefined },
      405,
      'METHOD_NOT_ALLOWED',
      /it takes POST, GET/,
    ],
    [
      'another type',
      { headers: { 'content-type': 'text/plain' } },
      415,
      'CONTENT_TYPE_UNSUPPORTED',
      /application\/json/,
    ],
    [
      'an encoding',
      { headers: { 'content-encoding': 'br' } },
      415,
      'ENCODING_UNSUPPORTED',
      /gzip, deflate, zstd/,
    ],
    [
      'an operation',
      { path: '/v1/realtime/sessions' },
      403,
      'OPERATION_UNKNOWN',
      /not known and therefore refused/,
    ],
    ['a model', { body: chat('hi', { model: 'claude-x' }) }, 403, 'POLICY_DENIED', /./],
  ] as const) {
    const answer = await site.send({ body: chat('hi'), ...sent } as never)
    t.equal(answer.status, status, name)
    t.equal(answer.headers['x-governor-code'], code, name)
    t.match(answer.json.error?.message, message, name)
    t.match(answer.headers['x-governor-request-id'], /^[0-9a-f-]{36}$/)
    t.equal(answer.headers['x-request-id'], answer.headers['x-governor-request-id'])
    t.notMatch(answer.text, /\bat \S+:\d+|node:|src\/|\.ts/, 'no stack, no file')
    if (status === 401 || status === 403) t.equal(answer.headers['x-should-retry'], 'false', name)
  }
})

t.test('a degenerate credential is a 401', async (t) => {
  const site = await startGovernor(t)
  for (const authorization of [
    "Bearer x' OR '1'='1",
    "Bearer 00000000-0000-4000-8000-000000000000.' OR 1=1;--",
    'Bearer %',
    'Bearer ',
    'Bearer undefined',
    'Bearer null',
    'bearer  x',
    'Bearer a,b',
    'Basic YTpi',
    'Bearer',
    `Bearer ${'a'.repeat(10_000)}`,
    `Bearer ${'a.'.repeat(1000)}`,
    `Bearer ${site.key}x`,
    `Bearer ${site.key.slice(0, -1)}`,
    `Bearer ${site.key.toUpperCase()}`,
  ]) {
    const sent = { key: undefined, headers: { authorization }, body: chat('hi') }
    const answer = await site.send(sent as never)
    t.equal(answer.status, 401, authorization.slice(0, 60))
    t.match(answer.json.error, { type: 'authentication_error' })
  }
  t.equal((await site.send({ body: chat('hi') })).status, 200)
})

t.test('the data port has no admin, and the admin port no browser behind it', async (t) => {
  const site = await startGovernor(t)
  for (const path of [
    '/metrics',
    '/livez',
    '/readyz',
    '/admin',
    '/config',
    '/debug/pprof',
    '/docs',
  ]) {
    t.equal((await site.send({ method: 'GET', path })).status, 404, path)
  }
  t.equal((await site.admin('/livez')).status, 200)
  const rebound = { method: 'GET', path: '/metrics', headers: { host: 'evil.example' } }
  t.equal((await send(site.adminUrl, rebound)).status, 421)
  t.equal((await send(site.adminUrl, { path: '/metrics', body: {} })).status, 405)
  t.equal((await site.admin('/v1/models')).status, 404)
})
