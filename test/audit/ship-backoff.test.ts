import t from 'tap'

import { backoffMs } from '../../src/audit/ship-backoff.ts'

t.test('backoffMs() doubles from 250 ms up to 10 s, less a random half', async (t) => {
  const whole = Array.from({ length: 9 }, (_, index) => backoffMs(index + 1, 0))
  t.strictSame(whole, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000])
  t.equal(backoffMs(4, 1), 1000)
  t.equal(backoffMs(1_000_000, 0.5), 7500)
})
