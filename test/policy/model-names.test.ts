import t from 'tap'

import {
  compileAliases,
  ModelNames,
  strictMatcher,
  wideMatcher,
} from '../../src/policy/model-names.ts'

const names = namesWith({ Smart: 'openai/GPT-4o', best: 'smart' })

function namesWith(aliases: Readonly<Record<string, string>>): ModelNames {
  return new ModelNames(compileAliases(aliases))
}

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

void t.test('wideMatcher() goes by every name', async (t) => {
  const serves = wideMatcher(['GPT-4o*'], namesWith({ smart: 'gpt-4o' }))
  t.strictSame(['gpt-4o-mini', 'openai/gpt-4o', 'smart', 'gpt-4', 'x'].map(serves), [
    true,
    true,
    true,
    false,
    false,
  ])
})

for (const [patterns, model, want] of [
  [['gpt-4o*'], 'gpt-4o-mini', true],
  [['gpt-4o*'], 'openai/gpt-4o', true],
  [['gpt-4o*'], 'eu/openai/GPT-4o', true],
  [['gpt-4o*'], 'ft:gpt-4o:acme::id', true],
  [['gpt-4o*'], 'openai/ft:gpt-4o:acme::id', true],
  [['gpt-4o*'], 'gpt-4o/claude-opus', false],
  [['gpt-4o*'], 'gpt-4o/../gpt-5-mini', false],
  [['gpt-4o*'], 'gpt-4o//gpt-6', false],
  [['gpt-4o*'], 'gpt-4o@preset/foo', false],
  [['gpt-4o*'], 'ft:gpt-4o:x/claude-opus', false],
  [['openai/gpt-4o*'], 'openai/gpt-4o-mini', true],
  [['openai/gpt-4o*'], 'eu/openai/gpt-4o-mini', true],
  [['openai/gpt-4o*'], 'openai/gpt-4o/claude-opus', false],
  [['openai/*'], 'openai/gpt-4o', true],
  [['openai/*'], 'openai/eu/gpt-4o', true],
  [['openai/*'], 'azure/gpt-4o', false],
  [['*'], 'any/thing', true],
  [['fast'], 'anthropic/claude', true],
  [['anthropic/claude'], 'fast', true],
] as const) {
  void t.test(`strictMatcher() ${patterns.join()} of ${model}`, async (t) => {
    const aliases = namesWith({ fast: 'anthropic/claude' })
    t.equal(strictMatcher(patterns, aliases)(model), want)
  })
}

void t.test(
  'a region before a model of Bedrock hides it from no refusal, and allows nothing',
  async (t) => {
    const aliases = namesWith({ best: 'meta.llama4' })
    const denied = wideMatcher(['anthropic.claude-3-opus*', 'best'], aliases)
    const allowed = strictMatcher(['anthropic.claude-3-opus*'], names)
    for (const region of [
      'us.',
      'eu.',
      'US.',
      'us-gov.',
      'apac.',
      'global.',
      'jp.',
      'bedrock/us.',
    ]) {
      t.ok(denied(`${region}anthropic.claude-3-opus-20240229-v1:0`), region)
      t.ok(!allowed(`${region}anthropic.claude-3-opus-20240229-v1:0`), region)
    }
    t.ok(denied('us.meta.llama4'), 'by an alias')
    t.ok(!denied('us.anthropic.claude-3-haiku'))
    t.ok(!wideMatcher(['4o*'], namesWith({}))('gpt.4o'), 'other names have points, too')
  },
)
