import t from 'tap'

import { ruleDigest } from '../../src/policy/rule.ts'
import { policyOf } from './subject.ts'

const FILE = { aliases: {}, detectors: [] }
const POLICY = { id: 'a', deny: { models: ['gpt-5*'] } }

t.test('ruleDigest() is of what a policy looks for', async (t) => {
  const digest = ruleDigest(policyOf(POLICY), FILE)
  t.match(digest, /^[0-9a-f]{16}$/)
  const renamed = { ...POLICY, id: 'b', mode: 'shadow', message: 'Ask' } as const
  t.equal(ruleDigest(policyOf(renamed), FILE), digest)
  for (const other of [
    { id: 'a', deny: { models: ['gpt-5'] } },
    { id: 'a', allow: { models: ['gpt-5*'] } },
    { ...POLICY, for: { roles: ['x'] } },
  ]) {
    t.not(ruleDigest(policyOf(other), FILE), digest)
  }
  t.not(ruleDigest(policyOf(POLICY), { ...FILE, aliases: { smart: 'gpt-5' } }), digest)
})
