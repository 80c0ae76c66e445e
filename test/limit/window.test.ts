import t from 'tap'

import { SlidingWindow, TokenBucket } from '../../src/limit/window.ts'

/** Numbers in [0, 1), the same for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}

void t.test('SlidingWindow is never looser than exact and at most a tenth stricter', async (t) => {
  const random = randomFrom(42)
  for (let round = 0; round < 300; round++) {
    const windowMs = [7, 100, 1_000, 60_000, 3_600_000][round % 5] ?? 100
    const limit = 1 + Math.floor(random() * 20)
    const window = new SlidingWindow(windowMs)
    const admitted: number[] = []
    let nowMs = random() * 1e9
    for (let i = 0; i < 300; i++) {
      nowMs += random() < 0.7 ? (random() * windowMs) / limit : 0
      const { remaining, waitMs } = window.standing(limit, nowMs)
      const since = (age: number) => admitted.filter((each) => each >= nowMs - age).length
      if ((waitMs === 0) !== remaining > 0) t.fail(`${remaining} free, ${waitMs} ms to wait`)
      if (waitMs > 0) {
        const strictest = since(11 * Math.ceil(windowMs / 10))
        if (strictest < limit) t.fail(`refused with ${strictest} of ${limit} in 1.1 windows`)
        const later = window.standing(limit, nowMs)
        if (later.waitMs !== waitMs) t.fail('asking changed the answer')
        continue
      }
      window.charge(nowMs)
      admitted.push(nowMs)
      if (since(windowMs) > limit) t.fail(`${since(windowMs)} of ${limit} in one window`)
    }
  }
})

void t.test('SlidingWindow tells the wait exactly', async (t) => {
  const random = randomFrom(4)
  for (let round = 0; round < 500; round++) {
    const window = new SlidingWindow(1_000)
    let nowMs = Math.floor(random() * 1e6)
    for (let i = 0; i < 5; i++) {
      nowMs += Math.floor(random() * 150)
      window.charge(nowMs)
    }
    const { waitMs } = window.standing(5, nowMs)
    if (window.standing(5, nowMs + waitMs - 1).remaining > 0)
      t.fail('free before the wait was over')
    if (window.standing(5, nowMs + waitMs).remaining < 1) t.fail('none free after the wait')
  }
})

void t.test('SlidingWindow never asks for more patience than its window', async (t) => {
  const random = randomFrom(6)
  const window = new SlidingWindow(60_000)
  for (let i = 0, nowMs = 1e6; i < 2_000; i++, nowMs += Math.floor(random() * 3_000)) {
    const { waitMs } = window.standing(10, nowMs)
    if (waitMs > 60_000) t.fail(`${waitMs} ms`)
    if (waitMs === 0) window.charge(nowMs)
  }
})

void t.test('SlidingWindow takes time that went back as no time', async (t) => {
  const window = new SlidingWindow(1_000)
  window.charge(10_000)
  window.charge(5_000)
  t.strictSame(window.standing(2, 5_000).remaining, 0)
  t.strictSame(window.standing(2, 11_100).remaining, 2)
})

void t.test('SlidingWindow with N of 0 never lets one pass', async (t) => {
  t.strictSame(new SlidingWindow(1_000).standing(0, 5_000), {
    remaining: 0,
    resetMs: 0,
    waitMs: Infinity,
  })
})

void t.test('TokenBucket admits a burst and then its rate, to the call', async (t) => {
  const random = randomFrom(8)
  for (let round = 0; round < 200; round++) {
    const count = 1 + Math.floor(random() * 50)
    const windowMs = 1 + Math.floor(random() * 100_000)
    const burst = 1 + Math.floor(random() * 20)
    const bucket = new TokenBucket({ count, windowMs }, burst)
    const startMs = Math.floor(random() * 1e9)
    let [nowMs, admitted] = [startMs, 0]
    for (let i = 0; i < 200; i++) {
      nowMs += Math.floor((random() * 2 * windowMs) / count)
      const { remaining, waitMs } = bucket.standing(count, nowMs)
      if ((waitMs === 0) !== remaining > 0) t.fail(`${remaining} free, ${waitMs} ms to wait`)
      if (waitMs > 0) {
        const early = bucket.standing(count, nowMs + waitMs - 1).remaining
        if (early > 0) t.fail(`${early} free before the wait was over`)
        if (bucket.standing(count, nowMs + waitMs).remaining < 1) t.fail('none free after the wait')
        nowMs += waitMs
      }
      bucket.charge(nowMs)
      admitted++
      const ceiling = burst + Math.floor(((nowMs - startMs) * count) / windowMs)
      if (admitted > ceiling) t.fail(`${admitted} of ${ceiling}`)
    }
  }
})

void t.test('TokenBucket under steady demand loses nothing to rounding', async (t) => {
  const bucket = new TokenBucket({ count: 7, windowMs: 1_000 }, 3)
  let admitted = 0
  for (let ms = 1; ms <= 100_000; ms++) {
    if (bucket.standing(7, ms).waitMs > 0) continue
    bucket.charge(ms)
    admitted++
  }
  // Full at the first millisecond, then 99.999 s of refill.
  t.equal(admitted, 3 + Math.floor(99.999 * 7))
})

void t.test('TokenBucket without refill waits for ever', async (t) => {
  const bucket = new TokenBucket({ count: 0, windowMs: 1_000 }, 1)
  bucket.charge(5)
  t.strictSame(bucket.standing(0, 10), { remaining: 0, resetMs: Infinity, waitMs: Infinity })
  t.equal(bucket.idle(1e9), false)
})
