import t from 'tap'

import { compilePolicies } from '../../src/policy/compile.ts'
import { policyOf, SAFE } from './subject.ts'

void t.test('compilePolicies() compiles equal patterns once', async (t) => {
  const deny = { input: { matches: 'zeus' } }
  const { policies, texts } = compilePolicies({
    policies: [
      { id: 'a', deny },
      { id: 'b', for: deny, deny: {} },
      { id: 'c', deny: {} },
    ].map(policyOf),
    defaults: SAFE,
    aliases: {},
  })
  t.equal(texts.patterns.length, 1)
  t.strictSame(
    policies.map(({ id, readsText, fields }) => ({ id, readsText, fields })),
    [
      { id: 'a', readsText: true, fields: 'input.matches' },
      { id: 'b', readsText: true, fields: 'input.matches' },
      { id: 'c', readsText: false, fields: 'every call' },
    ],
  )
})
