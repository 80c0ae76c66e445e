import t from 'tap'

import { longestMatchUnits } from '../../src/config/pattern-length.ts'

t.test('longestMatchUnits() is the length of the longest text a pattern matches', async (t) => {
  const cases: readonly (readonly [string, number | null])[] = [
    ['', 0],
    ['sk-[a-z0-9]{20}', 23],
    ['(?i)project[- ]zeus', 12],
    ['a|bcd|ef', 3],
    ['(?:a|bc){3}', 6],
    ['\\bfoo\\b$', 3],
    ['x{2,5}y?', 6],
    ['.{3}', 6],
    ['[\\x{1F600}-\\x{1F64F}]é', 3],
    ['(?:x*y){0}a', 1],
    ['a+', null],
    ['ab*c', null],
    ['(a|b*)c', null],
    ['x{3,}', null],
  ]
  for (const [pattern, want] of cases) t.equal(longestMatchUnits(pattern), want, pattern)
})
