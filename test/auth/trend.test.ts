import t from 'tap'

import { Trend } from '../../src/auth/trend.ts'

const MINUTE_MS = 60_000

/** A figure whose highest minute so far was `usual`, at the start of a new one. */
function known(usual: number, floor = 60): Trend {
  const trend = new Trend(floor, 0)
  for (let call = 0; call < usual; call++) trend.add(1, 0, true)
  return trend
}

function minute(trend: Trend, index: number, amount: number): boolean {
  trend.add(amount, index * MINUTE_MS, false)
  return trend.isHigh(index * MINUTE_MS)
}

t.test(
  'Trend is high beyond five times the highest minute, and never below its floor',
  async (t) => {
    const trend = known(100)
    t.equal(minute(trend, 1, 500), false)
    t.equal(minute(trend, 1, 1), true)
    const quiet = known(2)
    t.equal(minute(quiet, 1, 59), false, 'thirty times as much, and little all the same')
    t.equal(minute(quiet, 1, 1), true)
  },
)

t.test('Trend stays high in the minute after, and not in the one after that', async (t) => {
  const trend = known(100)
  t.equal(minute(trend, 1, 520), true)
  t.equal(minute(trend, 2, 1), true)
  t.equal(minute(trend, 3, 1), false)
})

t.test('Trend does not take a flood for usual because it goes on', async (t) => {
  const trend = known(100)
  let minutes = 1
  while (minute(trend, minutes, 1000) && minutes < 1000) minutes += 1
  t.ok(minutes > 60 && minutes < 90, `${minutes} minutes of ten times as much`)
})

t.test('Trend remembers over a quiet week-end, and forgets in months', async (t) => {
  const weekEnd = known(100)
  t.equal(minute(weekEnd, 2 * 24 * 60, 300), false)
  const months = known(100)
  t.equal(minute(months, 60 * 24 * 60, 1), false)
  t.equal(minute(months, 60 * 24 * 60 + 1, 300), true)
})

t.test('Trend grows from nothing, too', async (t) => {
  const trend = new Trend(60, 0)
  let minutes = 1
  while (minute(trend, minutes, 61) && minutes < 100) minutes += 1
  t.ok(minutes < 10, `${minutes} minutes just above the floor`)
})
