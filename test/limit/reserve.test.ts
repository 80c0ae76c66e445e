import t from 'tap'

import type { GovernorError } from '../../src/errors.ts'
import { admit } from '../../src/limit/admit.ts'
import { MemoryStore } from '../../src/limit/memory-store.ts'
import { reserve } from '../../src/limit/reserve.ts'
import { at, callBy, limitOf, matches, rate, selecting } from './limits.ts'

function refusal(task: () => unknown): Partial<GovernorError> {
  try {
    task()
  } catch (error) {
    const { code, status, message, headers } = error as GovernorError
    return { code, status, message, headers }
  }
  return {}
}

void t.test('reserve() refuses a short wait with the time to come again', async (t) => {
  const store = new MemoryStore([limitOf({ requests: rate(1, 60_000) })], matches)
  void reserve(store, callBy(), at(0))
  const want = {
    code: 'LIMIT_EXCEEDED',
    status: 429,
    message: 'A limit is reached: limit "key-rpm": 1 per 60 s',
    headers: {
      'x-ratelimit-limit-requests': '1',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '54s',
      'retry-after': '54',
      'retry-after-ms': '54000',
    },
  }
  t.strictSame(
    refusal(() => reserve(store, callBy(), at(6_000))),
    want,
  )
  t.strictSame(
    refusal(() => admit(store, callBy(), at(6_000))),
    want,
  )
})

void t.test('reserve() refuses a long wait for good', async (t) => {
  const store = new MemoryStore(
    [limitOf({ id: 'daily', requests: rate(1, 86_400_000, 'day') })],
    matches,
  )
  void reserve(store, callBy(), at(0))
  t.strictSame(
    refusal(() => reserve(store, callBy(), at(0))),
    {
      code: 'LIMIT_EXHAUSTED',
      status: 403,
      message: 'A limit is used up for longer than a minute: limit "daily": 1 per day',
      headers: {
        'x-ratelimit-limit-requests': '1',
        'x-ratelimit-remaining-requests': '0',
        'x-ratelimit-reset-requests': '12h0m0s',
        'x-should-retry': 'false',
      },
    },
  )
})

void t.test('reserve() refuses one too many at once', async (t) => {
  const store = new MemoryStore([limitOf({ id: 'in-flight', concurrent: 1 })], matches)
  void reserve(store, callBy(), at(0))
  t.strictSame(
    refusal(() => reserve(store, callBy(), at(0))),
    {
      code: 'LIMIT_EXCEEDED',
      status: 429,
      message: 'A limit is reached: limit "in-flight": 1 at once',
      headers: {
        'x-ratelimit-limit-concurrent': '1',
        'x-ratelimit-remaining-concurrent': '0',
        'x-ratelimit-reset-concurrent': '1s',
        'retry-after': '1',
        'retry-after-ms': '1000',
      },
    },
  )
})

void t.test('reserve() names a burst and a window in milliseconds', async (t) => {
  const store = new MemoryStore([limitOf({ requests: rate(1, 500), burst: 2 })], matches)
  void reserve(store, callBy(), at(0))
  void reserve(store, callBy(), at(0))
  t.equal(
    refusal(() => reserve(store, callBy(), at(0))).message,
    'A limit is reached: limit "key-rpm": 1 per 500 ms, at most 2 at once',
  )
})

void t.test('reserve() is OVERLOADED where nobody new can be counted', async (t) => {
  const store = new MemoryStore([limitOf({ requests: rate(5, 60_000) })], matches, {
    bucketsMax: 1,
  })
  void reserve(store, callBy(), at(0))
  t.strictSame(
    refusal(() => reserve(store, callBy({ keyId: 'other' }), at(0))),
    {
      code: 'OVERLOADED',
      status: 503,
      message: 'Too much is in flight: too many callers are counted by limits',
      headers: { 'retry-after': '1' },
    },
  )
})

void t.test('admit() leaves limits on models to reserve()', async (t) => {
  const limit = limitOf({ requests: rate(1, 1_000), for: selecting({ models: ['m'] }) })
  const store = new MemoryStore([limit], matches)
  void reserve(store, callBy(), at(0))
  t.strictSame(
    refusal(() => admit(store, callBy(), at(0))),
    {},
  )
})

void t.test('admit() charges nothing and counts nobody anew', async (t) => {
  const store = new MemoryStore([limitOf({ requests: rate(1, 1_000) })], matches)
  for (let i = 0; i < 5; i++) admit(store, callBy(), at(0))
  t.equal(store.size, 0)
  t.equal((await reserve(store, callBy(), at(0))).states[0]?.remaining, 0)
})
