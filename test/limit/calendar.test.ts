import t from 'tap'

import { Calendar, CalendarCounter, type PeriodKind } from '../../src/limit/calendar.ts'

for (const { name, kind, zone, at, want } of [
  {
    name: 'a day',
    kind: 'day',
    zone: 'UTC',
    at: '2026-11-24T12:00Z',
    want: ['2026-11-24T00:00Z', '2026-11-25T00:00Z'],
  },
  {
    name: 'a day elsewhere',
    kind: 'day',
    zone: 'Asia/Kolkata',
    at: '2026-11-24T20:00Z',
    want: ['2026-11-24T18:30Z', '2026-11-25T18:30Z'],
  },
  {
    name: 'a day of 23 hours',
    kind: 'day',
    zone: 'Europe/Berlin',
    at: '2026-03-29T12:00Z',
    want: ['2026-03-28T23:00Z', '2026-03-29T22:00Z'],
  },
  {
    name: 'a day of 25 hours',
    kind: 'day',
    zone: 'Europe/Berlin',
    at: '2026-10-25T12:00Z',
    want: ['2026-10-24T22:00Z', '2026-10-25T23:00Z'],
  },
  {
    name: 'a day that begins at one',
    kind: 'day',
    zone: 'Africa/Cairo',
    at: '2024-04-26T12:00Z',
    want: ['2024-04-25T22:00Z', '2024-04-26T21:00Z'],
  },
  {
    name: 'a day that ends twice',
    kind: 'day',
    zone: 'Africa/Cairo',
    at: '2024-10-31T12:00Z',
    want: ['2024-10-30T21:00Z', '2024-10-31T22:00Z'],
  },
  {
    name: 'a day with two midnights',
    kind: 'day',
    zone: 'America/Havana',
    at: '2024-11-03T12:00Z',
    want: ['2024-11-03T04:00Z', '2024-11-04T05:00Z'],
  },
  {
    name: 'a week from Monday',
    kind: 'week',
    zone: 'UTC',
    at: '2026-11-29T23:59Z',
    want: ['2026-11-23T00:00Z', '2026-11-30T00:00Z'],
  },
  {
    name: 'a week on Monday',
    kind: 'week',
    zone: 'America/New_York',
    at: '2026-11-02T05:00Z',
    want: ['2026-11-02T05:00Z', '2026-11-09T05:00Z'],
  },
  {
    name: 'a month',
    kind: 'month',
    zone: 'Europe/Berlin',
    at: '2026-03-15T12:00Z',
    want: ['2026-02-28T23:00Z', '2026-03-31T22:00Z'],
  },
  {
    name: 'December',
    kind: 'month',
    zone: 'UTC',
    at: '2026-12-31T23:59Z',
    want: ['2026-12-01T00:00Z', '2027-01-01T00:00Z'],
  },
] as const) {
  void t.test(`period() of ${name}`, async (t) => {
    const { startMs, endMs } = new Calendar(kind, zone).period(Date.parse(at))
    t.strictSame([iso(startMs), iso(endMs)], want)
  })
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(':00.000Z', 'Z')
}

void t.test('period() leaves no gap and no overlap in any zone', async (t) => {
  const kinds: readonly PeriodKind[] = ['day', 'week', 'month']
  for (const zone of [
    'UTC',
    'Europe/Berlin',
    'Africa/Cairo',
    'America/Havana',
    'Australia/Lord_Howe',
    'Asia/Kathmandu',
    'Pacific/Apia',
  ]) {
    for (const kind of kinds) {
      const calendar = new Calendar(kind, zone)
      let atMs = Date.UTC(2024, 0, 1)
      for (let i = 0; i < 400; i++) {
        const { startMs, endMs } = calendar.period(atMs)
        if (!(startMs <= atMs && atMs < endMs)) t.fail(`${zone} ${kind} ${atMs}`)
        const before = new Calendar(kind, zone).period(endMs - 1)
        if (before.startMs !== startMs) t.fail(`${zone} ${kind} ends ${endMs}`)
        atMs = endMs
        if (calendar.period(atMs).startMs !== endMs) t.fail(`${zone} ${kind} begins ${endMs}`)
        if (kind !== 'day') i += 6
      }
    }
  }
})

void t.test('Calendar throws on a zone that is not known', async (t) => {
  t.throws(() => new Calendar('day', 'Mars/Olympus'), { name: 'RangeError' })
})

void t.test('CalendarCounter counts in a period and begins anew in the next', async (t) => {
  const counter = new CalendarCounter(new Calendar('day', 'UTC'))
  const noonMs = Date.UTC(2026, 10, 24, 12)
  counter.charge(noonMs)
  t.strictSame(counter.standing(1, noonMs), {
    remaining: 0,
    resetMs: 43_200_000,
    waitMs: 43_200_000,
  })
  t.strictSame(counter.standing(1, noonMs + 43_200_000), { remaining: 1, resetMs: 0, waitMs: 0 })
})

void t.test('CalendarCounter gives nothing back to a clock that returns', async (t) => {
  const counter = new CalendarCounter(new Calendar('day', 'UTC'))
  const lateMs = Date.UTC(2026, 10, 24, 23, 30)
  for (let i = 0; i < 5; i++) counter.charge(lateMs)
  t.equal(counter.standing(5, lateMs + 3_600_000).remaining, 5, 'the next day')
  counter.charge(lateMs + 3_600_000)
  t.strictSame(counter.standing(5, lateMs), {
    remaining: 0,
    resetMs: 1_800_000,
    waitMs: 1_800_000,
  })
})
