import t from 'tap'

import type { ExternalDetectorConfig } from '../../src/config/snapshot.ts'
import { compilePolicies } from '../../src/policy/compile.ts'
import { evaluate } from '../../src/policy/evaluate.ts'
import { callOf, exceptionOf, policyOf, SAFE } from './subject.ts'

const SERVICE: ExternalDetectorConfig = {
  id: 'presidio',
  external: {
    url: 'http://127.0.0.1:1',
    credential: null,
    timeoutMs: 100,
    charsMax: 1000,
    concurrency: 1,
    cacheTexts: 1,
    onError: 'deny',
  },
  asks: { kind: 'presidio', language: 'en', entities: null, scoreMin: 0 },
}

t.test('evaluate() sends no text to a service for a policy that is lifted', async (t) => {
  const compiled = compilePolicies({
    policies: [
      { id: 'open', allow: {} },
      { id: 'pii', deny: { input: { detect: ['presidio'] } } },
    ].map(policyOf),
    defaults: SAFE,
    aliases: {},
    detectors: [SERVICE],
    exceptions: [
      exceptionOf({ id: 'E1', policy: 'pii', for: { keys: ['k1'] }, expires: '2027-01-01' }),
    ],
  })
  const asked: string[] = []
  const call = (key: string, time: string) => ({
    ...callOf({ key, time, input: 'Jane Doe' }),
    ask: async (ids: readonly string[]) => {
      asked.push(`${key} ${ids.join()}`)
      return new Map()
    },
  })
  const lifted = await evaluate(compiled, call('k1', '2026-12-31T23:00:00Z'))
  t.match(lifted, { effect: 'allow', policy: 'open', exceptions: [{ id: 'E1' }] })
  t.strictSame(lifted.policies[1], {
    id: 'pii',
    mode: 'enforce',
    result: 'excepted',
    why: 'input.detect: not asked',
    exception: 'E1',
  })
  t.strictSame(asked, [])
  await evaluate(compiled, call('k2', '2026-12-31T23:00:00Z'))
  await evaluate(compiled, call('k1', '2027-01-01T00:00:00Z'))
  t.strictSame(asked, ['k2 presidio', 'k1 presidio'])
})
