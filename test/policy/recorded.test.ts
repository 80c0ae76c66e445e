import t from 'tap'

import { type RecordedDecision, readDecision } from '../../src/policy/recorded.ts'

const ENTRY = {
  kind: 'decision',
  time: '2026-11-21T14:30:00.123Z',
  request_id: 'r1',
  tenant: 'acme',
  key_id: 'k1',
  key_name: 'ci',
  user: 'ada',
  roles: ['developer'],
  labels: { tier: 'gold' },
  via: 'key',
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'openai',
  'gen_ai.request.model': 'gpt-5',
  'gen_ai.request.stream': true,
  'gen_ai.request.max_tokens': 4096,
  operation: 'chat',
  api: 'chat.completions',
  upstream: 'openai',
  decision: 'deny',
  status: 403,
  code: 'POLICY_DENIED',
  policy: 'no-frontier',
  policies: [{ id: 'no-frontier', mode: 'enforce', result: 'denied', why: 'models' }],
  stages: { match: 1, decide: 2 },
  facts: { texts: 2, input_chars: 15, tools: ['search'], uninspectable: { image: 2 } },
  policy_digest: 'd1',
}

function read(changes: object = {}) {
  return readDecision(JSON.stringify({ ...ENTRY, ...changes }))
}

function decided(changes: object = {}): RecordedDecision {
  const recorded = read(changes)
  if (recorded.kind !== 'decided') throw new Error(recorded.kind)
  return recorded
}

t.test('readDecision() brings back what policies saw', async (t) => {
  const { call, ...rest } = decided()
  t.strictSame(rest, {
    kind: 'decided',
    requestId: 'r1',
    digest: 'd1',
    partial: new Set(),
    detected: new Set(),
    hasPrompt: false,
    textless: false,
    effect: 'deny',
    policy: 'no-frontier',
    results: new Map([['no-frontier', { mode: 'enforce', result: 'denied' }]]),
  })
  t.match(call, {
    principal: {
      via: 'key',
      tenant: 'acme',
      keyId: 'k1',
      keyName: 'ci',
      user: 'ada',
      roles: ['developer'],
      labels: { tier: 'gold' },
    },
    route: {
      endpoint: { operation: 'chat', api: 'chat.completions', generates: true },
      pathModel: null,
    },
    facts: {
      model: 'gpt-5',
      models: ['gpt-5'],
      stream: true,
      maxOutputTokens: 4096,
      tools: ['search'],
      inputChars: 15,
      uninspectable: [{ kind: 'image' }],
    },
    upstream: { name: 'openai', dialect: 'openai' },
    wallMs: Date.parse(ENTRY.time),
  })
})

t.test('readDecision() tells what the policies said from what came after', async (t) => {
  const limited = { decision: 'deny', status: 429, code: 'LIMIT_EXCEEDED' }
  t.equal(decided(limited).effect, 'allow')
  t.equal(decided({ decision: 'deny', code: undefined, api: 'check' }).effect, 'deny')
  t.equal(decided({ decision: 'allow', code: undefined }).effect, 'allow')
  t.strictSame(read({ ...limited, api: 'check' }), { kind: 'refused', code: 'LIMIT_EXCEEDED' })
  t.strictSame(read({ code: 'BODY_INVALID', facts: undefined }), {
    kind: 'refused',
    code: 'BODY_INVALID',
  })
  t.strictSame(read({ code: 'UPSTREAM_UNKNOWN', stages: { inspect: 1 } }), {
    kind: 'refused',
    code: 'UPSTREAM_UNKNOWN',
  })
  t.strictSame(read({ repeated: 37 }), { kind: 'folded', count: 37 })
})

t.test('readDecision() knows which fields may have been cut', async (t) => {
  t.strictSame(decided({ truncated: ['roles', 'limits'] }).partial, new Set(['roles']))
  t.strictSame(decided({ key_name: undefined }).partial, new Set(['keys']))
  t.strictSame(decided({ 'gen_ai.request.model': 'm'.repeat(256) }).partial, new Set(['models']))
  t.strictSame(decided({ labels: { tier: 'x'.repeat(128) } }).partial, new Set(['labels']))
  t.strictSame(decided({ truncated: ['policies'] }).results, null)
})

t.test('readDecision() knows detectors of ours, and calls without text', async (t) => {
  const facts = { texts: 0, input_chars: 0, detected: { email: 2, employee_no: 1 } }
  const { detected, textless } = decided({ facts })
  t.strictSame([detected, textless], [new Set(['email']), true])
})

t.test('readDecision() reads models of the body and of the path', async (t) => {
  const facts = { texts: 0, input_chars: 0, models: ['a', 'b'], path_model: 'c' }
  const { call } = decided({ facts })
  t.strictSame([call.facts.models, call.route.pathModel], [['a', 'b'], 'c'])
})

t.test('readDecision() never throws on an entry that is none', async (t) => {
  for (const body of ['', '[]', 'null', '7', '{', '{"facts":7}']) {
    t.not(readDecision(body).kind, 'decided')
  }
  t.equal(read({ operation: 'dance' }).kind, 'unreadable')
  t.equal(read({ time: 'tonight' }).kind, 'unreadable')
  const strange = { roles: 'x', labels: [1], policies: [null, { id: 'a', result: 'maybe' }] }
  t.equal(decided(strange).results, null)
})
