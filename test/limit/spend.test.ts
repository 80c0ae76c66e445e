import t from 'tap'

import { Calendar } from '../../src/limit/calendar.ts'
import { SpendPeriod, SpendWindow } from '../../src/limit/spend.ts'
import { Random } from '../dialect/random.ts'

const MINUTE = 60_000
const HOUR = 3_600_000

t.test('SpendWindow admits no more than N in any T, at the edge of a minute too', async (t) => {
  const window = new SpendWindow(MINUTE)
  window.charge(100, 100, 59_000)
  t.equal(window.used(100, 61_000), 100)
  t.equal(window.used(100, 118_999), 100)
  t.equal(window.waitFor(99, 100, 61_000), 58_000)
  t.equal(window.used(100, 119_000), 0)
})

t.test('SpendWindow takes T for each N of debt', async (t) => {
  const window = new SpendWindow(MINUTE)
  window.charge(350, 100, 0)
  t.equal(window.waitFor(0, 100, 0), 4 * MINUTE)
  t.equal(window.waitFor(99, 100, 0), 4 * MINUTE, 'never told a time that is too early')
  t.strictSame(
    [0, 1, 2, 3, 4].map((minute) => window.used(100, minute * MINUTE)),
    [350, 250, 150, 50, 0],
  )
})

t.test('SpendWindow never admits above N, and never waits past what it told', async (t) => {
  const random = new Random(7)
  const [N, T] = [1_000, 10_000]
  for (let round = 0; round < 50; round++) {
    const window = new SpendWindow(T)
    const charged: { at: number; amount: number }[] = []
    let now = 0
    for (let step = 0; step < 200; step++) {
      now += random.below(900)
      const need = 1 + random.below(400)
      const waitMs = window.waitFor(N - need, N, now)
      if (waitMs > 0) {
        t.ok(window.used(N, now) + need > N)
        continue
      }
      window.charge(need, N, now)
      charged.push({ at: now, amount: need })
      const inWindow = charged
        .filter(({ at }) => at > now - T)
        .reduce((sum, { amount }) => sum + amount, 0)
      if (inWindow > N) t.fail(`${inWindow} in a window of ${N}`)
    }
    const waitMs = window.waitFor(0, N, now)
    t.equal(window.used(N, now + waitMs), 0)
  }
})

t.test('SpendWindow pays off any debt after any time, at once', async (t) => {
  const window = new SpendWindow(1_000)
  window.charge(1e12, 1, 0)
  const used = window.used(1, 86_400_000)
  t.ok(used <= 1e12 - 86_399 && used >= 1e12 - 86_401, `${used}`)
  t.equal(window.used(1, 2e15), 0)
})

t.test('SpendWindow keeps what was charged when time goes backwards', async (t) => {
  const window = new SpendWindow(MINUTE)
  window.charge(60, 100, 50_000)
  window.charge(40, 100, 10_000)
  t.equal(window.used(100, 109_999), 100)
})

t.test('SpendPeriod begins anew with the day of the zone, less what is owed', async (t) => {
  const berlin = new SpendPeriod(new Calendar('day', 'Europe/Berlin'))
  const noon = Date.UTC(2026, 10, 24, 11)
  berlin.charge(250, 100, noon)
  t.equal(berlin.used(100, noon + 11 * HOUR), 250)
  t.equal(berlin.used(100, noon + 12 * HOUR), 150)
  t.equal(berlin.waitFor(99, 100, noon + 12 * HOUR), 24 * HOUR)
  t.equal(berlin.used(100, noon + 36 * HOUR), 50)
  t.equal(berlin.used(100, noon + 24 * 90 * HOUR), 0)
})

t.test('SpendPeriod gives nothing back when the clock does', async (t) => {
  const day = new SpendPeriod(new Calendar('day', 'UTC'))
  const noon = Date.UTC(2026, 10, 24, 12)
  day.charge(80, 100, noon)
  t.equal(day.used(100, noon + 24 * HOUR), 0)
  t.equal(day.used(100, noon), 80)
})
