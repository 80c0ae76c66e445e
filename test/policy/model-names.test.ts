import t from 'tap'

import { compileAliases, modelMatcher, ModelNames } from '../../src/policy/model-names.ts'

const names = new ModelNames(compileAliases({ Smart: 'openai/GPT-4o', best: 'smart' }))

for (const [model, want] of [
  ['GPT-5', ['gpt-5']],
  ['models/gemini-2', ['models/gemini-2', 'gemini-2']],
  ['a/b/c', ['a/b/c', 'b/c', 'c']],
  ['ft:gpt-5:org:name:id', ['ft:gpt-5:org:name:id', 'gpt-5']],
  ['ft:gpt-5', ['ft:gpt-5', 'gpt-5']],
  [
    'openai/ft:x/gpt-5:org::id',
    ['openai/ft:x/gpt-5:org::id', 'ft:x/gpt-5:org::id', 'gpt-5:org::id', 'x/gpt-5', 'gpt-5'],
  ],
  ['davinci:ft-org-2023', ['davinci:ft-org-2023', 'davinci']],
  ['smart', ['smart', 'openai/gpt-4o', 'best', 'gpt-4o']],
  ['best', ['best', 'smart', 'openai/gpt-4o', 'gpt-4o']],
  ['', ['']],
] as const) {
  void t.test(`of() ${model}`, async (t) => {
    t.strictSame(names.of(model), want)
    t.equal(names.of(model), names.of(model), 'remembered')
  })
}

void t.test('of() finds the last name behind any number of prefixes', async (t) => {
  const found = names.of(`${'a/'.repeat(500)}gpt-5`)
  t.ok(found.includes('gpt-5'))
  t.ok(found.length < 1000, `${found.length} names`)
})

void t.test('of() forgets rather than grow', async (t) => {
  const first = names.of('m')
  for (let i = 0; i < 1_001; i++) names.of(`model-${i}`)
  t.not(names.of('m'), first)
  t.strictSame(names.of('m'), first)
})

void t.test('modelMatcher() goes by every name', async (t) => {
  const serves = modelMatcher(['GPT-4o*'], { smart: 'gpt-4o' })
  t.strictSame(['gpt-4o-mini', 'openai/gpt-4o', 'smart', 'gpt-4', 'x'].map(serves), [
    true,
    true,
    true,
    false,
    false,
  ])
})
