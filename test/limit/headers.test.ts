import t from 'tap'

import { goDuration, ratelimitHeaders } from '../../src/limit/headers.ts'

for (const [ms, want] of [
  [0, '0s'],
  [0.2, '1ms'],
  [17, '17ms'],
  [1_000, '1s'],
  [1_500, '1.5s'],
  [360_000, '6m0s'],
  [61_001, '1m1.001s'],
  [86_400_000, '24h0m0s'],
] as const) {
  void t.test(`goDuration() of ${ms} ms`, async (t) => {
    t.equal(goDuration(ms), want)
  })
}

void t.test('ratelimitHeaders() tells the tightest limit on requests', async (t) => {
  const state = { what: 'requests', limit: 100, resetMs: 0, bucket: '' } as const
  t.strictSame(
    ratelimitHeaders([
      { ...state, id: 'a', remaining: 7 },
      { ...state, id: 'b', remaining: 3, resetMs: 10 },
      { ...state, id: 'c', remaining: 3, resetMs: 61_000, limit: 10 },
      { ...state, id: 'd', what: 'concurrent', remaining: 0 },
    ]),
    [
      'x-governor-ratelimit-limit-requests',
      '10',
      'x-governor-ratelimit-remaining-requests',
      '3',
      'x-governor-ratelimit-reset-requests',
      '1m1s',
    ],
  )
  t.strictSame(ratelimitHeaders([]), [])
})
