import { RE2JS } from 're2js'
import t from 'tap'

import { normaliseText } from '../../src/policy/normalise.ts'
import { scanTexts } from '../../src/policy/scan.ts'
import { compileTextRules } from '../../src/policy/text-rules.ts'
import { randomFrom, randomPattern, randomText } from './random.ts'

void t.test('mayMatch() never rules out what a pattern finds', async (t) => {
  const random = randomFrom(11)
  let ruledOut = 0
  for (let round = 0; round < 300; round++) {
    const source = randomPattern(random)
    const pattern = RE2JS.compile(source)
    const { prefilter } = compileTextRules([source], [])
    for (let i = 0; i < 20; i++) {
      const texts = [randomText(random), randomText(random), '']
      const may = prefilter.mayMatch(texts)
      const want = texts.some((text) => pattern.test(text) || pattern.test(normaliseText(text)))
      if (want && !may) t.fail(`${source} in ${JSON.stringify(texts)}`)
      if (!may) ruledOut++
    }
  }
  t.ok(ruledOut > 100, `${ruledOut} ruled out`)
})

for (const [name, words, text, want] of [
  ['in capitals', ['zeus'], 'by ZEUS', true],
  ['that is absent', ['zeus'], 'by hera', false],
  ['in wide letters', ['zeus'], 'ｚｅｕｓ', true],
  ['with a Kelvin sign', ['kelvin'], '\u212aelvin', true],
  [
    'among more than an expression takes',
    Array.from({ length: 60 }, (_, n) => `word${n}x`),
    'WORD42X',
    true,
  ],
  ['absent among as many', Array.from({ length: 60 }, (_, n) => `word${n}x`), 'word42y', false],
  ['with signs', ['c++ [a-z] ^$\\'], 'C++ [A-Z] ^$\\', true],
] as const) {
  void t.test(`mayMatch() of a word ${name}`, async (t) => {
    const { prefilter } = compileTextRules([], [words])
    t.equal(prefilter.mayMatch([text]), want)
    t.equal(
      prefilter.mayMatch(['x', text], /^[ -~]*$/.test(text) ? `"x" "${text}"` : undefined),
      want,
    )
  })
}

void t.test('scanTexts() finds nothing it is not asked to look for', async (t) => {
  const rules = compileTextRules([], [])
  t.equal(rules.prefilter.mayMatch(['anything']), false)
  t.equal(scanTexts(rules, ['anything']).next().done, true)
})
