import t from 'tap'

import { FORMS } from '../../src/dialect/form.ts'
import { SHAPES } from '../../src/dialect/openai-other.ts'
import { lookup } from '../../src/dialect/openai-routes.ts'
import { OPENAI_ROWS } from '../../src/dialect/openai-table.ts'
import { TOP_FIELDS } from '../../src/dialect/openai-vocabulary.ts'

t.test('lookup() knows the endpoints of inference and models', async (t) => {
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
    const query = api === 'responses' ? ['beta'] : []
    const endpoint = { operation, api, body, query, generates }
    t.strictSame(lookup(method, path), { kind: 'endpoint', endpoint, pathModel }, path)
  }
})

t.test('lookup() names the method of a known path', async (t) => {
  const cases = [
    ['PUT', '/v1/chat/completions', ['POST', 'GET']],
    ['POST', '/v1/models/gpt-4o', ['GET', 'DELETE']],
    ['post', '/v1/responses', ['POST']],
    ['GET', '/v1/responses/compact', ['POST']],
    ['GET', '/v1/threads/runs', ['POST']],
    ['HEAD', '/v1/models', ['GET']],
  ] as const
  for (const [method, path, allow] of cases) {
    t.strictSame(lookup(method, path), { kind: 'method', allow }, `${method} ${path}`)
  }
})

function api(method: string, path: string): string {
  const found = lookup(method, path)
  return found.kind === 'endpoint' ? found.endpoint.api : found.kind
}

t.test('lookup() reads identifiers in paths, and nothing that could be another path', async (t) => {
  t.equal(api('GET', '/v1/responses/resp_1'), 'responses.get')
  t.equal(api('POST', '/v1/threads/thread_1/runs/run_1/submit_tool_outputs'), 'threads.runs.submit')
  t.equal(api('DELETE', '/v1/files/file-abc'), 'files.delete')
  t.equal(api('GET', '/v1/files/file-abc/content'), 'files.content')
  for (const id of ['.', '..', '%40', 'a:b', 'a.b', '', '-a', 'a@b', 'a'.repeat(300)]) {
    t.equal(api('GET', `/v1/files/${id}/content`), 'unknown', id)
  }
})

t.test('the table has no line twice, and an inspector for every body', async (t) => {
  const lines = OPENAI_ROWS.map(({ method, path }) => `${method} ${path}`)
  t.equal(new Set(lines).size, lines.length)
  for (const { endpoint, path } of OPENAI_ROWS) {
    if (endpoint.body === 'none') continue
    const { api } = endpoint
    t.equal(endpoint.body.endsWith('form'), FORMS[api] !== undefined, `${path} ${api}`)
    if (endpoint.body === 'form') continue
    t.ok(SHAPES.has(api) !== (TOP_FIELDS[api] !== undefined), `${path} ${api}`)
  }
})

t.test('lookup() takes the one path clients shorten', async (t) => {
  t.match(lookup('POST', '/chat/completions'), {
    kind: 'endpoint',
    endpoint: { api: 'chat.completions' },
    sentAs: '/v1/chat/completions',
  })
})

t.test("lookup() takes every path as Groq's client writes it", async (t) => {
  for (const { method, path, sentAs } of OPENAI_ROWS) {
    if (!path.startsWith('/v1/') || sentAs !== undefined) continue
    const plain = path.replace('{model}', 'm').replaceAll('{id}', 'id_1')
    t.strictSame(lookup(method, `/openai${plain}`), { ...lookup(method, plain), sentAs: plain })
  }
  t.match(lookup('PUT', '/openai/v1/chat/completions'), { kind: 'method' })
  for (const path of ['/openai/v1', '/openai/v1/uploads', '/openai/openai/v1/models', '/openai/']) {
    t.strictSame(lookup('POST', path), { kind: 'outside' }, path)
  }
})

t.test('lookup() does not know anything else below /v1', async (t) => {
  const paths = [
    '/v1',
    '/v1/',
    '/v1/upload',
    '/v1/uploads_',
    '/v1/organizations',
    '/v1/chat/completions/chatcmpl-1/x',
    '/v1//chat/completions',
    '/v1/Chat/Completions',
    '/v1/chat%2Fcompletions',
    '/v1/models/a/b',
    '/v1/models/a/../../files',
    '/v1/../v1/chat/completions',
  ]
  for (const path of paths) t.strictSame(lookup('POST', path), { kind: 'unknown' }, path)
})

t.test('lookup() says why what it knows is closed', async (t) => {
  for (const path of ['/v1/uploads', '/v1/uploads/upload_1/parts']) {
    t.match(lookup('POST', path), { kind: 'unknown', hint: /upload it whole to \/v1\/files/ })
  }
  t.match(lookup('POST', '/v1/realtime/client_secrets'), { hint: /goes around Governor/ })
  t.match(lookup('GET', '/v1/organization/users'), { kind: 'unknown', hint: /Administration/ })
})

t.test('lookup() helps with the usual mistakes', async (t) => {
  for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/models']) {
    const hint = `Use ${path}, without a slash at its end.`
    t.strictSame(lookup('POST', `${path}/`), { kind: 'unknown', hint })
  }
  t.strictSame(lookup('POST', '/v1/v1/chat/completions'), {
    kind: 'unknown',
    hint: 'Use /v1/chat/completions: OPENAI_BASE_URL ends in /v1 once.',
  })
  for (const path of ['/responses', '/embeddings', '/models', '/models/m']) {
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
