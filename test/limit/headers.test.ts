import t from 'tap'

import { goDuration, ratelimitHeaders } from '../../src/limit/headers.ts'
import type { Lease } from '../../src/nouns/lease.ts'

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

function leaseOf(states: Lease['states'], how: Lease['how'] = 'memory'): Lease {
  return { states, how, settle() {} }
}

void t.test('ratelimitHeaders() tells tokens and cost, and where they are counted', async (t) => {
  const state = { limit: 1_000, resetMs: 0, bucket: '' } as const
  const states = [
    { ...state, id: 'a', what: 'tokens', remaining: 7 },
    { ...state, id: 'b', what: 'cost', limit: 2_500_000_000, remaining: 125_000 },
  ] as const
  t.strictSame(ratelimitHeaders(leaseOf(states, 'local_share')), [
    'x-governor-ratelimit-store',
    'local_share',
    'x-governor-ratelimit-limit-tokens',
    '1000',
    'x-governor-ratelimit-remaining-tokens',
    '7',
    'x-governor-ratelimit-reset-tokens',
    '0s',
    'x-governor-ratelimit-limit-cost',
    '2.5',
    'x-governor-ratelimit-remaining-cost',
    '0.000125',
    'x-governor-ratelimit-reset-cost',
    '0s',
  ])
})

void t.test('ratelimitHeaders() tells the tightest limit on requests', async (t) => {
  const state = { what: 'requests', limit: 100, resetMs: 0, bucket: '' } as const
  t.strictSame(
    ratelimitHeaders(
      leaseOf([
        { ...state, id: 'a', remaining: 7 },
        { ...state, id: 'b', remaining: 3, resetMs: 10 },
        { ...state, id: 'c', remaining: 3, resetMs: 61_000, limit: 10 },
        { ...state, id: 'd', what: 'concurrent', remaining: 0 },
      ]),
    ),
    [
      'x-governor-ratelimit-limit-requests',
      '10',
      'x-governor-ratelimit-remaining-requests',
      '3',
      'x-governor-ratelimit-reset-requests',
      '1m1s',
    ],
  )
  t.strictSame(ratelimitHeaders(leaseOf([])), [])
})
