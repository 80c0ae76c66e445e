import t from 'tap'

import { adminBody, decisionBody, outcomeBody, policyLoadBody } from '../../src/audit/entry.ts'
import { isoTime } from '../../src/audit/iso-time.ts'
import { GovernorError } from '../../src/errors.ts'
import { Trail } from '../../src/exchange.ts'
import type { Facts, Route } from '../../src/exchange.ts'

const T0 = 1_790_000_000_000
const SHA = 'ab'.repeat(32)
const ID = '0198c7f0-5b7a-7000-8000-0123456789ab'

function route(): Route {
  const endpoint = {
    operation: 'chat',
    api: 'chat.completions',
    body: 'json',
    query: [],
    generates: true,
  } as const
  const dialect = { name: 'openai' } as Route['dialect']
  return { endpoint, dialect, mount: null, path: '/v1/chat/completions', pathModel: null }
}

function facts(over: Partial<Facts> = {}): Facts {
  return {
    model: 'gpt-5',
    models: ['gpt-5'],
    stream: true,
    maxOutputTokens: 4096,
    tools: ['search'],
    texts: { values: ['a secret prompt', 'user'], pointer: () => '' },
    inputChars: 15,
    uninspectable: [],
    askUsage: null,
    ...over,
  }
}

function fullTrail(over: Partial<Facts> = {}): Trail {
  const trail = new Trail(ID, T0, 1000)
  let nowMs = 1000
  for (const stage of ['match', 'authenticate', 'admit', 'read', 'inspect', 'route'] as const) {
    trail.passed(stage, null, (nowMs += 0.05))
  }
  trail.route = route()
  trail.principal = {
    via: 'key',
    tenant: 'dev',
    keyId: '6f1c2d1e-0000-4000-8000-000000000001',
    keyName: 'laptop',
    user: 'u1',
    roles: ['developer'],
    labels: { tier: 'gold' },
    ip: '10.1.2.3',
  }
  trail.body = {
    bytes: Buffer.from('{}'),
    decoded: false,
    receivedBytes: 1100,
    receivedSha256: SHA,
  }
  trail.facts = facts(over)
  trail.upstream = { name: 'openai', dialect: 'openai' }
  trail.decision = {
    effect: 'allow',
    policy: 'approved-models',
    message: '',
    policies: [{ id: 'approved-models', mode: 'enforce', result: 'allowed', why: 'models' }],
    warnings: [],
  }
  trail.lease = {
    states: [
      { id: 'rpm', what: 'requests', limit: 100, remaining: 99, resetMs: 600, bucket: 'b1' },
    ],
    how: 'memory',
    settle: () => {},
  }
  trail.changed = ['usage']
  trail.forwardedSha256 = 'cd'.repeat(32)
  return trail
}

t.test('decisionBody() tells who, what, why, and nothing that was said', async (t) => {
  const body = decisionBody(fullTrail(), { policyDigest: SHA, forward: true })
  t.strictSame(JSON.parse(body), {
    kind: 'decision',
    time: '2026-09-21T14:13:20.000Z',
    request_id: ID,
    tenant: 'dev',
    key_id: '6f1c2d1e-0000-4000-8000-000000000001',
    key_name: 'laptop',
    user: 'u1',
    roles: ['developer'],
    labels: { tier: 'gold' },
    via: 'key',
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'openai',
    'openai.api.type': 'chat_completions',
    operation: 'chat',
    api: 'chat.completions',
    upstream: 'openai',
    'gen_ai.request.model': 'gpt-5',
    'gen_ai.request.stream': true,
    'gen_ai.request.max_tokens': 4096,
    forward: true,
    decision: 'allow',
    policy: 'approved-models',
    policies: [{ id: 'approved-models', mode: 'enforce', result: 'allowed', why: 'models' }],
    stages: { match: 50, authenticate: 50, admit: 50, read: 50, inspect: 50, route: 50 },
    facts: { texts: 2, input_chars: 15, tools: ['search'] },
    limits: {
      how: 'memory',
      charged: [{ id: 'rpm', what: 'requests', bucket: 'b1', remaining: 99 }],
    },
    changed: ['usage'],
    received: { bytes: 1100, sha256: SHA },
    forwarded: { sha256: 'cd'.repeat(32) },
    policy_digest: SHA,
  })
  t.notMatch(body, /secret/)
})

t.test('decisionBody() of a refusal before anything is known', async (t) => {
  const trail = new Trail(ID, T0, 1000)
  trail.refusal = new GovernorError('BODY_TOO_LARGE')
  t.strictSame(JSON.parse(decisionBody(trail, { policyDigest: SHA, forward: false })), {
    kind: 'decision',
    time: '2026-09-21T14:13:20.000Z',
    request_id: ID,
    decision: 'deny',
    status: 413,
    code: 'BODY_TOO_LARGE',
    stages: {},
    policy_digest: SHA,
  })
})

t.test('decisionBody() counts what cannot be inspected and names every model', async (t) => {
  const body = decisionBody(
    fullTrail({
      models: ['gpt-5', 'o3'],
      uninspectable: [
        { kind: 'image', pointer: '/a' },
        { kind: 'image', pointer: '/b' },
        { kind: 'file', pointer: '/c' },
      ],
    }),
    { policyDigest: SHA, forward: true },
  )
  t.match(JSON.parse(body), {
    facts: { models: ['gpt-5', 'o3'], uninspectable: { image: 2, file: 1 } },
  })
})

t.test('outcomeBody() tells how the call ended', async (t) => {
  const trail = fullTrail()
  trail.status = 200
  trail.upstreamStatus = 200
  trail.upstreamRequestId = 'req_1'
  trail.ending = 'complete'
  trail.answerBytes = 512
  trail.firstByteMs = 1100.5
  trail.usage = {
    inputTokens: 9,
    outputTokens: 0,
    cachedTokens: null,
    reasoningTokens: 3,
    responseModel: 'gpt-5-2026',
    responseId: 'chatcmpl-1',
  }
  t.strictSame(JSON.parse(outcomeBody(trail, T0 + 500, 1500)), {
    kind: 'outcome',
    time: '2026-09-21T14:13:20.500Z',
    request_id: ID,
    outcome: 'complete',
    status: 200,
    upstream_status: 200,
    upstream_request_id: 'req_1',
    'gen_ai.response.model': 'gpt-5-2026',
    'gen_ai.response.id': 'chatcmpl-1',
    'gen_ai.usage.input_tokens': 9,
    'gen_ai.usage.output_tokens': 0,
    'gen_ai.usage.reasoning.output_tokens': 3,
    answer_bytes: 512,
    duration_us: 500_000,
    first_byte_us: 100_500,
  })
})

t.test('both entries of a call stay under 2 KiB', async (t) => {
  const trail = fullTrail()
  const sum =
    decisionBody(trail, { policyDigest: SHA, forward: true }).length +
    outcomeBody(trail, T0, 2000).length
  t.ok(sum < 2048, `${sum} bytes`)
})

t.test('decisionBody() bounds and mends what clients chose', async (t) => {
  const hostile = `\ud800\0\u001b[2J${'m'.repeat(100_000)}`
  const trail = fullTrail({
    model: hostile,
    models: Array.from({ length: 5000 }, (_, i) => `${hostile}${i}`),
    tools: Array.from({ length: 5000 }, (_, i) => `${i}${hostile}`),
  })
  trail.decision = {
    ...trail.decision!,
    policies: Array.from({ length: 500 }, (_, i) => ({
      id: `p${i}`,
      mode: 'shadow' as const,
      result: 'denied' as const,
      why: hostile,
    })),
  }
  const body = decisionBody(trail, { policyDigest: SHA, forward: true })
  t.ok(body.length < 32_768, `${body.length} bytes`)
  t.notMatch(body, /\\ud800|\\u0000/)
  const parsed = JSON.parse(body)
  t.equal(parsed['gen_ai.request.model'].length, 256)
  t.equal(parsed['gen_ai.request.model'].slice(0, 6), '\ufffd\u2400\u001b[2J')
  t.strictSame(parsed.truncated.toSorted(), ['models', 'policies', 'tools'])
})

t.test('policyLoadBody() and adminBody() list what they are about', async (t) => {
  const policies = [{ id: 'p1', mode: 'enforce', verb: 'deny' }]
  t.strictSame(JSON.parse(policyLoadBody({ digest: SHA, policies }, T0)), {
    kind: 'policy.load',
    time: '2026-09-21T14:13:20.000Z',
    policy_digest: SHA,
    policies,
  })
  t.strictSame(JSON.parse(adminBody('keys.create', { tenant: 'dev\ud800' }, T0)), {
    kind: 'admin',
    time: '2026-09-21T14:13:20.000Z',
    action: 'keys.create',
    about: { tenant: 'dev\ufffd' },
  })
})

t.test('isoTime() writes every millisecond as toISOString() does', async (t) => {
  const times = [0, 1, 9, 10, 99, 100, 999, 1000, -1, -1000, -62_135_596_800_000, T0, T0 + 59_999]
  const jumps = Array.from({ length: 500 }, (_, index) => T0 + (index % 7) * 86_399_873 + index)
  for (const timeMs of [...times, ...jumps]) {
    if (isoTime(timeMs) !== new Date(timeMs).toISOString()) t.fail(String(timeMs))
  }
  t.equal(isoTime(T0), new Date(T0).toISOString())
  t.throws(() => isoTime(Number.NaN), RangeError)
})
