import t from 'tap'

import { lookup } from '../../src/dialect/openai-routes.ts'

t.test('lookup() knows five endpoints', async (t) => {
  const cases = [
    ['POST', '/v1/chat/completions', 'chat', 'chat.completions', 'json', true, null],
    ['POST', '/v1/responses', 'chat', 'responses', 'json', true, null],
    ['POST', '/v1/embeddings', 'embeddings', 'embeddings', 'json', false, null],
    ['GET', '/v1/models', 'models', 'models', 'none', false, null],
    ['GET', '/v1/models/gpt-4o', 'models', 'models', 'none', false, 'gpt-4o'],
    ['GET', '/v1/models/ft:gpt-4o:org', 'models', 'models', 'none', false, 'ft:gpt-4o:org'],
    ['GET', '/v1/models/ft%3Ag%3ao%40x', 'models', 'models', 'none', false, 'ft:g:o@x'],
    ['GET', '/v1/models/a%2Fb', 'models', 'models', 'none', false, 'a%2Fb'],
    ['GET', '/v1/models/a%253A', 'models', 'models', 'none', false, 'a%253A'],
    ['GET', '/v1/models/..', 'models', 'models', 'none', false, '..'],
  ] as const
  for (const [method, path, operation, api, body, generates, pathModel] of cases) {
    const endpoint = { operation, api, body, query: [], generates }
    t.strictSame(lookup(method, path), { kind: 'endpoint', endpoint, pathModel }, path)
  }
})

t.test('lookup() names the method of a known path', async (t) => {
  const cases = [
    ['GET', '/v1/chat/completions', 'POST'],
    ['DELETE', '/v1/models/gpt-4o', 'GET'],
    ['post', '/v1/responses', 'POST'],
    ['HEAD', '/v1/models', 'GET'],
  ] as const
  for (const [method, path, allow] of cases) {
    t.strictSame(lookup(method, path), { kind: 'method', allow: [allow] }, `${method} ${path}`)
  }
})

t.test('lookup() does not know anything else below /v1', async (t) => {
  const paths = [
    '/v1',
    '/v1/',
    '/v1/files',
    '/v1/completions',
    '/v1/chat/completions/',
    '/v1/chat/completions/chatcmpl-1',
    '/v1//chat/completions',
    '/v1/Chat/Completions',
    '/v1/chat%2Fcompletions',
    '/v1/responses/resp_1',
    '/v1/models/',
    '/v1/models/a/b',
    '/v1/models/a/../../files',
    '/v1/../v1/chat/completions',
  ]
  for (const path of paths) t.strictSame(lookup('POST', path), { kind: 'unknown' }, path)
})

t.test('lookup() helps with the usual mistakes', async (t) => {
  t.strictSame(lookup('POST', '/v1/v1/chat/completions'), {
    kind: 'unknown',
    hint: 'Use /v1/chat/completions: OPENAI_BASE_URL ends in /v1 once.',
  })
  for (const path of ['/chat/completions', '/responses', '/embeddings', '/models', '/models/m']) {
    const hint = `Use /v1${path}: OPENAI_BASE_URL ends in /v1.`
    t.strictSame(lookup('POST', path), { kind: 'outside', hint }, path)
  }
  t.strictSame(lookup('POST', '/V1/Chat/Completions'), {
    kind: 'outside',
    hint: 'Use /v1/chat/completions: paths are case-sensitive.',
  })
  for (const path of ['/', '/v1x', '/v2/models', '/livez', '']) {
    t.strictSame(lookup('GET', path), { kind: 'outside' }, path)
  }
})
