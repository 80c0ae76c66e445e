import t from 'tap'

import { compileNames } from '../../src/policy/wildcard.ts'

for (const { patterns, yes, no } of [
  { patterns: ['gpt-4o'], yes: ['gpt-4o'], no: ['gpt-4o-mini', 'xgpt-4o', 'GPT-4o', ''] },
  { patterns: ['gpt-4o*'], yes: ['gpt-4o', 'gpt-4o-mini'], no: ['gpt-4', 'x-gpt-4o'] },
  { patterns: ['*-mini'], yes: ['-mini', 'gpt-mini'], no: ['mini', 'gpt-mini-x'] },
  { patterns: ['a*b*c'], yes: ['abc', 'a-b-b-c'], no: ['ac', 'acb', 'abcd'] },
  { patterns: ['ab*ba'], yes: ['abba', 'ab-ba'], no: ['aba'] },
  { patterns: ['a**b'], yes: ['ab', 'axb'], no: ['a'] },
  { patterns: ['*a*a*'], yes: ['aa', 'xaxax'], no: ['a', ''] },
  { patterns: ['a.c', 'x+'], yes: ['a.c', 'x+'], no: ['abc', 'xx'] },
  { patterns: ['a', '*'], yes: ['', 'anything'], no: [] },
  { patterns: [], yes: [], no: ['', 'a'] },
]) {
  void t.test(`compileNames() of ${JSON.stringify(patterns)}`, async (t) => {
    const is = compileNames(patterns)
    t.strictSame(yes.filter(is), yes)
    t.strictSame(no.filter(is), [])
  })
}

void t.test('compileNames() is linear in the name', async (t) => {
  const is = compileNames([`${'*a'.repeat(30)}*b`])
  t.equal(is('a'.repeat(100_000)), false)
})
