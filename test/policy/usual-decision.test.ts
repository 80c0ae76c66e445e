import t from 'tap'

import type { InputSelector, Selectors } from '../../src/config/snapshot-policies.ts'
import { compilePolicies } from '../../src/policy/compile.ts'
import { evaluate, type PolicyCall } from '../../src/policy/evaluate.ts'
import { callOf, type DescribedCall, type Loose, policyOf, principalOf, SAFE } from './subject.ts'

/**
 * Decisions are shared among calls that no policy can tell apart. Each thing a policy may ask about is
 * here with a call of which it is true: a new one does not compile until it is, too.
 */
const TOLD_BY: Readonly<
  Record<Exclude<keyof Selectors, 'input'> | keyof InputSelector, readonly [Loose, DescribedCall]>
> = {
  tenants: [{ tenants: ['other'] }, { tenant: 'other' }],
  keys: [{ keys: ['k2'] }, { key: 'k2' }],
  users: [{ users: ['bob'] }, { user: 'bob' }],
  roles: [{ roles: ['intern'] }, { roles: ['intern'] }],
  labels: [{ labels: { tier: 'gold' } }, { labels: { tier: 'gold' } }],
  operations: [{ operations: ['embeddings'] }, { operation: 'embeddings' }],
  models: [{ models: ['gpt-5*'] }, { model: 'gpt-5' }],
  upstreams: [{ upstreams: ['second'] }, { upstream: 'second' }],
  uninspectable: [
    { uninspectable: ['image'] },
    { uninspectable: [{ kind: 'image', pointer: '' }] },
  ],
  when: [{ when: 'size(request.tools) > 0' }, { tools: ['search'] }],
  matches: [{ input: { matches: 'ze.s' } }, { input: 'zeus' }],
  words: [{ input: { words: ['zeus'] } }, { input: 'zeus' }],
  detect: [{ input: { detect: ['email'] } }, { input: 'jane@example.com' }],
  charsMax: [{ input: { max_chars: 9 } }, { input: 'a b c d e f' }],
  tokensMax: [{ input: { max_tokens: 40 } }, { input: 'one two three four '.repeat(20) }],
}
/** What is about the caller is another caller's, not another call's. */
const OF_CALLERS = new Set(['tenants', 'keys', 'users', 'roles', 'labels'])

for (const [name, [selectors, told]] of Object.entries(TOLD_BY)) {
  void t.test(`a decision is not that of a call which \`${name}\` tells apart`, async (t) => {
    for (const order of ['the other first', 'the other last']) {
      const compiled = compilePolicies({
        policies: [policyOf({ id: 'open', allow: {} }), policyOf({ id: 'no', deny: selectors })],
        defaults: { ...SAFE, uninspectable: 'allow' },
        aliases: {},
      })
      const caller = principalOf({})
      const calls: readonly PolicyCall[] = [
        { ...callOf({}), principal: caller },
        { ...callOf(told), principal: OF_CALLERS.has(name) ? principalOf(told) : caller },
      ]
      const wanted = ['allow', 'deny']
      const rounds = order === 'the other first' ? [1, 1, 0, 0, 1] : [0, 0, 1, 1, 0]
      for (const round of rounds) {
        const decision = await evaluate(compiled, calls[round]!)
        t.equal(decision.effect, wanted[round], `${order}: ${JSON.stringify(decision)}`)
      }
    }
  })
}
