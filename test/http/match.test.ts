import t from 'tap'

import { anthropic } from '../../src/dialect/anthropic.ts'
import { azureOpenai } from '../../src/dialect/azure-openai.ts'
import { openai } from '../../src/dialect/openai.ts'
import { match } from '../../src/http/match.ts'

const mounts = [
  { name: 'main', dialect: openai },
  { name: 'spare', dialect: openai },
]

function code(method: string, target: string, headers: Record<string, string> = {}): string {
  try {
    const { endpoint, mount, path } = match({ method, target, headers }, mounts)
    return `${endpoint.api} ${mount ?? '-'} ${path}`
  } catch (error) {
    return (error as { code: string }).code
  }
}

for (const [target, want] of [
  ['/v1/chat/completions', 'chat.completions - /v1/chat/completions'],
  ['/spare/v1/chat/completions', 'chat.completions spare /v1/chat/completions'],
  ['/main/v1/embeddings', 'embeddings main /v1/embeddings'],
  ['/v1/uploads', 'OPERATION_UNKNOWN'],
  ['/v1', 'OPERATION_UNKNOWN'],
  ['/v1/v1/chat/completions', 'OPERATION_UNKNOWN'],
  ['/', 'ROUTE_UNKNOWN'],
  ['/admin/keys', 'ROUTE_UNKNOWN'],
  ['/metrics', 'ROUTE_UNKNOWN'],
  ['/chat/completions', 'chat.completions - /v1/chat/completions'],
  ['/spare/chat/completions', 'chat.completions spare /v1/chat/completions'],
  ['/embeddings', 'ROUTE_UNKNOWN'],
  ['/other/v1/chat/completions', 'ROUTE_UNKNOWN'],
  ['http://169.254.169.254/v1/chat/completions', 'TARGET_INVALID'],
  ['//v1/chat/completions', 'TARGET_INVALID'],
  ['/v1//chat/completions', 'TARGET_INVALID'],
  ['/v1/../admin/keys', 'TARGET_INVALID'],
  ['/v1/./chat/completions', 'TARGET_INVALID'],
  ['/healthz/../v1/chat/completions', 'TARGET_INVALID'],
  ['/v1/chat%2Fcompletions', 'TARGET_INVALID'],
  ['/v1%2f..%2fadmin', 'TARGET_INVALID'],
  ['/v1/chat%252fcompletions', 'TARGET_INVALID'],
  ['/v1%5cchat', 'TARGET_INVALID'],
  ['/v1\\chat', 'TARGET_INVALID'],
  ['/v1/chat/completions#x', 'TARGET_INVALID'],
  ['*', 'TARGET_INVALID'],
  ['', 'TARGET_INVALID'],
  [`/v1/${'a'.repeat(3000)}`, 'TARGET_INVALID'],
  ['/v1/chat/completions?/healthz', 'QUERY_UNKNOWN'],
  ['/v1/chat/completions?key=secret', 'QUERY_UNKNOWN'],
  ['/V1/Chat/Completions', 'ROUTE_UNKNOWN'],
] as const) {
  t.test(`match() POST ${target.slice(0, 50)} is ${want}`, async (t) => {
    t.equal(code('POST', target), want)
  })
}

for (const method of ['DELETE', 'PUT', 'OPTIONS', 'HEAD', 'TRACE', 'PROPFIND']) {
  t.test(`match() refuses ${method} on a path that takes POST`, async (t) => {
    t.equal(code(method, '/v1/chat/completions'), 'METHOD_NOT_ALLOWED')
  })
}

t.test('match() never echoes a query parameter, which may be a credential', async (t) => {
  const head = { method: 'POST', target: '/v1/embeddings?secret-name=secret-value', headers: {} }
  try {
    match(head, mounts)
    t.fail('it was let through')
  } catch (error) {
    t.notMatch((error as Error).message, /secret/)
  }
})

t.test('match() ignores an offer of HTTP/2 and refuses every other upgrade', async (t) => {
  const path = '/v1/chat/completions'
  t.match(code('POST', path, { upgrade: 'h2c' }), /^chat/)
  t.equal(code('GET', '/v1/realtime', { upgrade: 'websocket' }), 'UPGRADE_REFUSED', 'half an offer')
  t.equal(code('POST', path, { upgrade: 'websocket' }), 'UPGRADE_REFUSED')
})

t.test('match() knows a complete offer of a session, and one model in its query', async (t) => {
  const offer = {
    upgrade: 'WebSocket',
    connection: 'keep-alive, Upgrade',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const path = '/v1/realtime?model=gpt-realtime'
  t.equal(code('GET', path, offer), `realtime - ${path}`)
  t.equal(code('GET', `/spare${path}`, offer), `realtime spare ${path}`)
  t.equal(code('POST', path, offer), 'UPGRADE_REFUSED')
  t.equal(code('GET', '/v1/responses', offer), 'responses - /v1/responses')
  t.equal(code('GET', '/v1/responses?model=a', offer), 'QUERY_UNKNOWN')
  t.equal(code('GET', '/v1/responses'), 'METHOD_NOT_ALLOWED')
  t.equal(code('GET', '/v1/embeddings', offer), 'METHOD_NOT_ALLOWED')
  t.equal(code('GET', '/v1/models', offer), 'UPGRADE_REFUSED')
  t.equal(code('GET', '/v1/realtime', offer), 'MODEL_INVALID')
  t.equal(code('GET', '/v1/realtime?model=', offer), 'MODEL_INVALID')
  t.equal(code('GET', `${path}&model=b`, offer), 'QUERY_UNKNOWN')
  t.equal(code('GET', `${path}&api_key=b`, offer), 'QUERY_UNKNOWN')
  for (const [name, value] of [
    ['connection', 'close'],
    ['sec-websocket-version', '8'],
    ['sec-websocket-key', 'short'],
  ] as const) {
    t.equal(code('GET', path, { ...offer, [name]: value }), 'UPGRADE_REFUSED', name)
  }
})

for (const [target, want] of [
  ['/v1/files?limit=2&order=asc', 'files.list - /v1/files?limit=2&order=asc'],
  [
    '/v1/responses/r1?include[]=a&include[]=b',
    'responses.get - /v1/responses/r1?include[]=a&include[]=b',
  ],
  ['/v1/responses/r1?include%5B%5D=a', 'responses.get - /v1/responses/r1?include%5B%5D=a'],
  ['/v1/files?limit', 'files.list - /v1/files?limit'],
  ['/v1/files?limit=1&limit=2', 'QUERY_UNKNOWN'],
  ['/v1/files?limit=a%20b', 'QUERY_UNKNOWN'],
  ['/v1/files?after=Project+Zeus', 'QUERY_UNKNOWN'],
  ['/v1/files?Limit=1', 'QUERY_UNKNOWN'],
  ['/v1/files?&', 'QUERY_UNKNOWN'],
  [`/v1/files?after=${'a'.repeat(300)}`, 'QUERY_UNKNOWN'],
] as const) {
  t.test(`match() GET ${target.slice(0, 50)} is ${want}`, async (t) => {
    t.equal(code('GET', target), want)
  })
}

const head = (target: string, headers = {}) => ({ method: 'GET', target, headers })

t.test("what is closed at a client's own provider does not go to another one", async (t) => {
  const both = [
    { name: 'first', dialect: openai },
    { name: 'second', dialect: anthropic },
  ]
  t.equal(match(head('/v1/skills'), both).endpoint.api, 'skills.list')
  const marked = { 'anthropic-version': '2023-06-01' }
  t.throws(() => match(head('/v1/skills', marked), both), {
    code: 'OPERATION_UNKNOWN',
    message: /use those of the provider, by name/,
  })
  t.equal(match(head('/v1/files', marked), both).dialect.name, 'anthropic')
  t.equal(match(head('/v1/vector_stores', marked), both).dialect.name, 'openai')
})

t.test('match() prefers who has a path to who takes it as another spelling', async (t) => {
  const both = [...mounts, { name: 'azure', dialect: azureOpenai }]
  const find = (target: string, among: typeof both) => {
    const { dialect, path } = match({ method: 'POST', target, headers: {} }, among)
    return [dialect.name, path]
  }
  const groq = '/openai/v1/chat/completions'
  t.strictSame(find(groq, both), ['azure-openai', groq])
  t.strictSame(find(`/main${groq}`, both), ['openai', '/v1/chat/completions'])
  t.strictSame(find(groq, mounts), ['openai', '/v1/chat/completions'])
})
