import t from 'tap'

import { selectorMatcher } from '../../src/policy/selectors.ts'
import { principalOf, selectorsOf } from './subject.ts'

void t.test('selectorMatcher() needs one model of many, by any of its names', async (t) => {
  const matches = selectorMatcher({ smart: 'gpt-5' })
  const selectors = selectorsOf({ models: ['gpt-5*'], operations: ['chat'] })
  const subject = { principal: principalOf({}), operation: 'chat', upstream: null } as const
  t.strictSame(
    [['gpt-4o', 'openai/Smart'], ['gpt-4o'], []].map((models) =>
      matches(selectors, { ...subject, models }),
    ),
    [true, false, false],
  )
  t.equal(matches(selectors, { ...subject, operation: 'images', models: ['gpt-5'] }), false)
})
