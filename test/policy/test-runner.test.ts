import t from 'tap'

import type { DescribedRequest, TestConfig } from '../../src/config/snapshot.ts'
import { compilePolicies } from '../../src/policy/compile.ts'
import { describedRouter, type Router } from '../../src/policy/described-call.ts'
import { runTests } from '../../src/policy/test-runner.ts'
import { policyOf, SAFE } from './subject.ts'

const SILENT: DescribedRequest = {
  tenant: '',
  user: '',
  key: '',
  roles: [],
  labels: {},
  unusual: [],
  operation: 'chat',
  model: '',
  input: [],
  stream: false,
  maxOutputTokens: null,
  tools: [],
  uninspectable: [],
  detected: [],
  timeMs: null,
}
const route: Router = () => ({ name: 'openai', dialect: 'openai' })
const ANYWHERE = { route, nowMs: 0 }

function test(request: Partial<DescribedRequest>, decision: 'allow' | 'deny'): TestConfig {
  return {
    name: decision,
    request: { ...SILENT, ...request },
    expect: { decision, policy: null, reason: null, why: null },
  }
}

const compiled = compilePolicies({
  policies: [
    policyOf({ id: 'open', allow: {} }),
    policyOf({ id: 'research', for: { models: ['o3*'] }, require: { roles: ['research'] } }),
    policyOf({ id: 'ci', mode: 'shadow', deny: { keys: ['ci'] } }),
  ],
  defaults: SAFE,
  aliases: {},
})

t.test('runTests() counts a require as matched where it is not met', async (t) => {
  const tests = [test({ model: 'o3' }, 'deny'), test({ model: 'o3', roles: ['research'] }, 'allow')]
  const { coverage, coveredPercent } = await runTests(compiled, tests, ANYWHERE)
  t.strictSame(coverage, [
    { id: 'open', matched: true, unmatched: false },
    { id: 'research', matched: true, unmatched: true },
    { id: 'ci', matched: false, unmatched: true },
  ])
  t.equal(coveredPercent, 33)
})

t.test('runTests() takes a described key for id and name, and none for a pod', async (t) => {
  const tests = [test({ key: 'ci' }, 'allow'), test({}, 'allow')]
  const { results } = await runTests(compiled, tests, ANYWHERE)
  t.strictSame(
    results.map(({ policies }) => policies.map(({ id }) => id)),
    [['open', 'ci'], ['open']],
  )
})

t.test('runTests() covers nothing with a call no upstream serves', async (t) => {
  const { results, coverage } = await runTests(compiled, [test({}, 'deny')], {
    route: () => null,
    nowMs: 0,
  })
  t.strictSame(results[0]?.got, {
    decision: 'deny',
    policy: null,
    reason: 'No upstream serves this model: this call names no model',
  })
  t.ok(coverage.every(({ matched, unmatched }) => !matched && !unmatched))
})

t.test('runTests() without policies has nothing left to cover', async (t) => {
  const none = compilePolicies({ policies: [], defaults: SAFE, aliases: {} })
  t.equal((await runTests(none, [], ANYWHERE)).coveredPercent, 100)
})

t.test(
  'describedRouter() finds the first upstream that serves the model, by any of its names',
  async (t) => {
    const upstream = { dialect: 'openai', url: 'echo:', credential: null, usage: 'ask' } as const
    const route = describedRouter({
      upstreams: [
        { ...upstream, name: 'eu', models: ['gpt-4o*'] },
        { ...upstream, name: 'us', models: ['*'] },
      ],
      aliases: { smart: 'gpt-4o' },
    })
    const named = (model: string) => route({ ...SILENT, model })?.name
    t.strictSame(['smart', 'openai/GPT-4o', 'gpt-5', ''].map(named), ['eu', 'eu', 'us', 'us'])
    t.equal(route({ ...SILENT, operation: 'models' })?.name, 'eu')
  },
)
