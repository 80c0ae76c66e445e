import t from 'tap'

import type { LimitConfig } from '../../src/config/snapshot.ts'
import type { Instant } from '../../src/exchange.ts'
import type { LimitCall } from '../../src/limit/bucket.ts'
import { MemoryStore } from '../../src/limit/memory-store.ts'
import { at, callBy, limitOf, matches, rate, selecting } from './limits.ts'

const NO_MORE = { burst: null, concurrent: null, tokens: null, cost: null }
const HOUR_MS = 3_600_000

function storeOf(...limits: readonly Partial<LimitConfig>[]): MemoryStore {
  return new MemoryStore(limits.map(limitOf), matches)
}

/** How many of `tries` calls at one instant pass. */
function passing(store: MemoryStore, tries: number, call: LimitCall, now: Instant): number {
  let passed = 0
  for (let i = 0; i < tries; i++) if ('settle' in store.reserve(call, now)) passed++
  return passed
}

void t.test('reserve() lets exactly one of 200 at once have the last place', async (t) => {
  const store = storeOf({ requests: rate(10, 60_000) })
  t.equal(passing(store, 9, callBy(), at(0)), 9)
  const all = Array.from({ length: 200 }, async () => passing(store, 1, callBy(), at(1)))
  t.equal((await Promise.all(all)).filter((passed) => passed === 1).length, 1)
})

void t.test(
  'reserve() counts one caller in one bucket, whatever the call looks like',
  async (t) => {
    const store = storeOf({ requests: rate(3, 60_000) })
    const calls = [
      callBy(),
      callBy({ user: 'eve', ip: '198.51.100.7' }),
      callBy({ roles: ['admin'] }, ['other-model']),
      { ...callBy(), operation: 'embeddings' as const },
    ]
    t.strictSame(
      calls.map((call) => passing(store, 1, call, at(0))),
      [1, 1, 1, 0],
    )
  },
)

for (const [per, other] of [
  ['tenant', { tenant: 'umbrella' }],
  ['key', { keyId: 'key-2' }],
  ['user', { user: 'eve' }],
  ['user', { tenant: 'umbrella' }],
  ['ip', { ip: '198.51.100.7' }],
] as const) {
  void t.test(`reserve() per ${per} counts ${JSON.stringify(other)} apart`, async (t) => {
    const store = storeOf({ per, requests: rate(2, 60_000) })
    t.equal(passing(store, 5, callBy(), at(0)), 2)
    t.equal(passing(store, 5, callBy(other), at(0)), 2)
    t.equal(store.size, 2)
  })
}

void t.test('reserve() charges each model of a call to its own figures', async (t) => {
  const store = storeOf({
    requests: rate(2, 60_000),
    overrides: [
      { for: selecting({ models: ['small'] }), requests: rate(100, 60_000), ...NO_MORE },
      { for: selecting({ models: ['tiny'] }), requests: rate(3, 60_000), ...NO_MORE },
    ],
  })
  const both = callBy({}, ['big', 'small'])
  t.equal(passing(store, 5, both, at(0)), 2, 'a second model does not lend its figures')
  t.equal(passing(store, 5, callBy({}, ['big']), at(0)), 0)
  t.equal(passing(store, 100, callBy({}, ['small']), at(0)), 98, 'and was charged')
  t.equal(passing(store, 5, callBy({}, ['tiny', 'big']), at(0)), 0)
  t.equal(passing(store, 5, callBy({}, ['tiny']), at(0)), 3, 'a refusal charges no tier')
})

void t.test('reserve() charges a call of two models of one tier once', async (t) => {
  const store = storeOf({ for: selecting({ models: ['a', 'b'] }), requests: rate(2, 60_000) })
  t.equal(passing(store, 5, callBy({}, ['a', 'b', 'c']), at(0)), 2)
  t.equal(passing(store, 5, callBy({}, ['c']), at(0)), 5, 'the limit is not about it')
})

void t.test('reserve() per global counts everybody together', async (t) => {
  const store = storeOf({ per: 'global', requests: rate(2, 60_000) })
  t.equal(passing(store, 1, callBy(), at(0)), 1)
  t.equal(passing(store, 5, callBy({ tenant: 'umbrella', keyId: 'x' }), at(0)), 1)
})

void t.test('reserve() charges all limits or none', async (t) => {
  const store = storeOf(
    { id: 'wide', per: 'tenant', requests: rate(10, 60_000) },
    { id: 'narrow', requests: rate(2, 60_000) },
    { id: 'slots', concurrent: 5 },
  )
  t.equal(passing(store, 50, callBy(), at(0)), 2)
  const lease = store.reserve(callBy({ keyId: 'key-2' }), at(0))
  t.ok('states' in lease)
  if (!('states' in lease)) return
  t.strictSame(
    lease.states.map(({ id, what, limit, remaining }) => ({ id, what, limit, remaining })),
    [
      { id: 'wide', what: 'requests', limit: 10, remaining: 7 },
      { id: 'narrow', what: 'requests', limit: 2, remaining: 1 },
      { id: 'slots', what: 'concurrent', limit: 5, remaining: 4 },
    ],
  )
})

void t.test('reserve() names the limit with the longest wait', async (t) => {
  const store = storeOf(
    { id: 'minute', requests: rate(1, 60_000) },
    { id: 'day', requests: rate(1, 24 * HOUR_MS, 'day') },
    { id: 'second', requests: rate(1, 1_000) },
  )
  store.reserve(callBy(), at(0))
  const refusal = store.reserve(callBy(), at(0))
  t.equal('kind' in refusal && refusal.kind === 'over' && refusal.state.id, 'day')
})

void t.test('settle() releases a slot exactly once', async (t) => {
  const store = storeOf({ concurrent: 2 })
  const leases = [store.reserve(callBy(), at(0)), store.reserve(callBy(), at(0))]
  t.equal(passing(store, 1, callBy(), at(0)), 0)
  const [first] = leases
  if (first !== undefined && 'settle' in first) {
    first.settle()
    first.settle()
  }
  t.equal(passing(store, 5, callBy(), at(0)), 1)
})

void t.test('reserve() looks at for and at the first override that matches', async (t) => {
  const store = storeOf({
    for: selecting({ operations: ['chat'] }),
    requests: rate(1, 60_000),
    overrides: [
      {
        for: selecting({ labels: { tier: 'gold' } }),
        requests: rate(3, 60_000),
        ...NO_MORE,
      },
      {
        for: selecting({ models: ['m'] }),
        requests: rate(2, 60_000),
        ...NO_MORE,
      },
    ],
  })
  t.equal(passing(store, 5, callBy({ keyId: 'a', labels: { tier: 'gold' } }), at(0)), 3)
  t.equal(passing(store, 5, callBy({ keyId: 'b' }), at(0)), 2)
  t.equal(passing(store, 5, callBy({ keyId: 'b' }, ['n']), at(0)), 1)
  t.equal(passing(store, 5, { ...callBy({ keyId: 'b' }), operation: 'models' }, at(0)), 5)
})

/** The wall clock alone is off by `wallMs`. */
function wallOnly(wallMs: number, ms: number): Instant {
  return { ...at(ms), wallMs: at(ms).wallMs + wallMs }
}

function monotonic(monotonicMs: number): Instant {
  return { ...at(0), monotonicMs }
}

function by(index: number): LimitCall {
  return callBy({ keyId: `key-${index}` })
}

void t.test('reserve() ignores clocks that step', async (t) => {
  const store = storeOf({ requests: rate(2, 60_000) })
  t.equal(passing(store, 5, callBy(), at(0)), 2)
  t.equal(passing(store, 5, callBy(), wallOnly(-HOUR_MS, 1_000)), 0, 'back an hour')
  t.equal(passing(store, 5, callBy(), wallOnly(HOUR_MS, 2_000)), 0, 'forward an hour')
  t.equal(passing(store, 5, callBy(), wallOnly(-HOUR_MS, 66_001)), 2, 'no lock-out')
})

void t.test('reserve() takes a monotonic clock that is not', async (t) => {
  const store = storeOf({ requests: rate(2, 60_000) })
  t.equal(passing(store, 5, callBy(), monotonic(10_000_000)), 2)
  t.equal(passing(store, 5, callBy(), monotonic(1_000)), 0, 'no refill')
  t.equal(passing(store, 5, callBy(), monotonic(68_000)), 2, 'no lock-out')
})

void t.test('reserve() holds a bounded number of buckets', async (t) => {
  const store = new MemoryStore([limitOf({ requests: rate(1, 1_000), concurrent: 1 })], matches, {
    bucketsMax: 100,
  })
  const leases = Array.from({ length: 100 }, (_, index) => store.reserve(by(index), at(0)))
  t.strictSame(store.reserve(by(100), at(0)), { kind: 'full' })
  t.equal(passing(store, 1, by(5), at(10)), 0, 'known callers are still counted')
  t.strictSame(store.reserve(by(100), at(2_000)), { kind: 'full' }, 'slots are never forgotten')
  for (const lease of leases.slice(0, 40)) if ('settle' in lease) lease.settle()
  t.strictSame(store.reserve(by(100), at(2_500)), { kind: 'full' }, 'not looked for at each call')
  t.equal(passing(store, 1, by(100), at(3_001)), 1)
  t.equal(store.size, 61)
})

void t.test('reserve() never makes room with what it is about to charge', async (t) => {
  const limits = [
    limitOf({ id: 'a', requests: rate(1, 1_000) }),
    limitOf({ id: 'b', per: 'user', requests: rate(1, 1_000) }),
  ]
  const store = new MemoryStore(limits, matches, { bucketsMax: 3 })
  t.equal(passing(store, 1, callBy(), at(0)), 1)
  const other = callBy({ keyId: 'key-2', user: 'eve' })
  t.strictSame(store.reserve(other, at(10)), { kind: 'full' })
  t.equal(passing(store, 2, other, at(5_000)), 1)
  t.equal(store.size, 2)
})

void t.test('reconfigure() keeps counts and slots of the same limit', async (t) => {
  const limit = { requests: rate(5, 60_000), concurrent: 4 }
  const store = storeOf(limit)
  const leases = Array.from({ length: 3 }, () => store.reserve(callBy(), at(0)))
  store.reconfigure([limitOf({ ...limit, requests: rate(4, 60_000) })], matches)
  t.equal(passing(store, 5, callBy(), at(0)), 1, 'a new N over the same window')
  store.reconfigure([limitOf({ ...limit, requests: rate(9, 30_000) })], matches)
  t.equal(passing(store, 5, callBy(), at(0)), 0, 'a new window, the same slots')
  for (const lease of leases) if ('settle' in lease) lease.settle()
  t.equal(passing(store, 5, callBy(), at(0)), 3)
  store.reconfigure([limitOf({ ...limit, id: 'other' })], matches)
  t.equal(store.size, 0)
})

void t.test('restore() rebuilds what a former process counted', async (t) => {
  const limits = [
    { id: 'daily', requests: rate(5, 24 * HOUR_MS, 'day') } as const,
    { id: 'hourly', per: 'user', requests: rate(4, HOUR_MS) } as const,
    { id: 'minute', requests: rate(100, 60_000) } as const,
  ]
  const former = storeOf(...limits)
  const times = [-20 * HOUR_MS, -HOUR_MS - 1_000_000, -30 * 60_000, -60_000, -1_000]
  const entries = times.flatMap((ms) => {
    const lease = former.reserve(callBy(), at(ms))
    const states = 'states' in lease ? lease.states : []
    return states.map(({ id, bucket }) => ({
      id,
      bucket,
      what: 'requests' as const,
      amount: 1,
      atWallMs: at(ms).wallMs,
    }))
  })
  // A process that just started: its monotonic clock is younger than what it restores.
  const now = { ...at(0), monotonicMs: 12 }
  const store = storeOf(...limits)
  t.equal(entries.length, 15)
  t.equal(entries.filter((entry) => store.restore(entry, now)).length, 8)
  t.equal(store.size, 2)
  const lease = store.reserve(callBy(), now)
  t.strictSame('states' in lease && lease.states.map(({ id, remaining }) => [id, remaining]), [
    ['daily', 0],
    ['hourly', 0],
    ['minute', 99],
  ])
  t.equal(store.size, 3)
  t.equal(passing(store, 1, callBy(), now), 0)
})

void t.test('a restart neither fills a bucket that takes many windows nor pays debt', async (t) => {
  const limits = [
    { id: 'bucket', requests: rate(1, HOUR_MS), burst: 5 } as const,
    { id: 'daily', requests: null, tokens: rate(1_000, 24 * HOUR_MS, 'day') } as const,
    { id: 'hourly', requests: null, tokens: rate(1_000, HOUR_MS) } as const,
  ]
  const [bucket, daily, hourly] = storeOf(...limits)
    .standing(callBy().principal, at(0))
    .map(({ state }) => state.bucket)
  const former = [
    { id: 'daily', bucket: daily!, what: 'tokens', amount: 4_500, hours: 50 },
    ...[1, 2, 3, 4, 5].map(() => ({
      id: 'bucket',
      bucket: bucket!,
      what: 'requests' as const,
      amount: 1,
      hours: 2.5,
    })),
    { id: 'hourly', bucket: hourly!, what: 'tokens', amount: 4_500, hours: 2.5 },
  ] as const
  const now = { ...at(0), monotonicMs: 12 }
  const store = storeOf(...limits)
  for (const { hours, ...charge } of former) {
    t.ok(store.restore({ ...charge, atWallMs: at(-hours * HOUR_MS).wallMs }, now), charge.id)
  }
  t.strictSame(
    store.standing(callBy().principal, now).map(({ state }) => [state.id, state.remaining]),
    [
      ['bucket', 2],
      ['daily', 0],
      ['hourly', 0],
    ],
  )
})

void t.test('restore() ignores what no limit asks for', async (t) => {
  const store = new MemoryStore([limitOf({ requests: rate(5, HOUR_MS) })], matches, {
    bucketsMax: 1,
  })
  const atWallMs = at(-1_000).wallMs
  t.equal(
    store.restore({ id: 'gone', bucket: 'b', what: 'requests', amount: 1, atWallMs }, at(0)),
    false,
  )
  t.equal(
    store.restore({ id: 'key-rpm', bucket: 'b', what: 'requests', amount: 1, atWallMs }, at(0)),
    true,
  )
  t.equal(
    store.restore({ id: 'key-rpm', bucket: 'c', what: 'requests', amount: 1, atWallMs }, at(0)),
    false,
    'no room',
  )
  t.strictSame(store.reserve(callBy(), at(1)), { kind: 'full' })
  t.equal(
    passing(store, 1, callBy(), at(2 * HOUR_MS)),
    1,
    'what was restored is forgotten when idle',
  )
})

void t.test(
  'reconfigure() makes no calendar anew, however many callers came between',
  async (t) => {
    const made = t.capture(Intl, 'DateTimeFormat', Intl.DateTimeFormat)
    const day = { count: 5, windowMs: 86_400_000, calendar: 'day' } as const
    const limits = (count: number) => [
      limitOf({ id: 'calls', requests: { ...day, count } }),
      limitOf({ id: 'tokens', requests: null, tokens: { ...day, count: count * 1_000 } }),
    ]
    const store = new MemoryStore(limits(5), matches)
    for (let reload = 1; reload <= 20; reload++) {
      t.equal(passing(store, 1, callBy({ keyId: `key-${reload}` }), at(reload)), 1)
      store.reconfigure(limits(5 + reload), matches)
    }
    t.equal(store.size, 40)
    t.equal(made().length, 1)
  },
)
