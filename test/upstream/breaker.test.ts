import t from 'tap'

import { Breaker, type Ticket } from '../../src/upstream/breaker.ts'

/** Goal: an upstream that fails is left alone, asked by one call at a time, and ever less often when it flaps. */

function opened(openMs = 100, atMs = 0): Breaker {
  const breaker = new Breaker({ failures: 3, openMs })
  for (let count = 0; count < 3; count++) breaker.failed(breaker.pass(atMs)!, atMs)
  return breaker
}

/** One probe that ends at once. */
function probe(breaker: Breaker, atMs: number, how: 'succeeded' | 'failed'): Ticket | null {
  const ticket = breaker.pass(atMs)
  if (ticket !== null) breaker[how](ticket, atMs)
  return ticket
}

t.test('it opens on failures in a row, not on failures', async (t) => {
  const breaker = new Breaker({ failures: 3, openMs: 100 })
  for (let round = 0; round < 10; round++) {
    breaker.failed('call', round)
    breaker.failed('call', round)
    breaker.succeeded('call', round)
  }
  t.equal(breaker.state(10), 0)
  for (let count = 0; count < 3; count++) breaker.failed('call', 20)
  t.equal(breaker.state(20), 1)
  t.equal(breaker.pass(119), null)
  t.equal(breaker.waitMs(90), 30)
})

t.test('half-open it lets one probe through, whose success closes it', async (t) => {
  const breaker = opened()
  t.equal(breaker.passable(100), true)
  t.equal(breaker.state(100), 0.5)
  t.equal(breaker.pass(100), 'probe')
  t.equal(breaker.pass(100), null, 'one at a time')
  t.equal(breaker.state(100), 0.5)
  breaker.succeeded('probe', 110)
  t.equal(breaker.state(110), 0)
  t.equal(breaker.pass(110), 'call')
})

t.test('a probe whose client left lets the next one try', async (t) => {
  const breaker = opened()
  t.equal(breaker.pass(100), 'probe')
  breaker.abandoned('probe')
  t.equal(breaker.pass(100), 'probe')
})

t.test('what began before it opened changes nothing', async (t) => {
  const breaker = opened()
  breaker.failed('call', 90)
  breaker.succeeded('call', 95)
  breaker.abandoned('call')
  t.equal(breaker.state(99), 1)
  t.equal(breaker.pass(100), 'probe')
  breaker.succeeded('call', 100)
  t.equal(breaker.state(100), 0.5, 'the probe alone decides')
})

t.test('each time it fails again soon it stays open twice as long, up to 16 times', async (t) => {
  const breaker = opened()
  let nowMs = 100
  const lengths: number[] = []
  for (let round = 0; round < 6; round++) {
    t.equal(probe(breaker, nowMs, 'failed'), 'probe')
    lengths.push(breaker.waitMs(nowMs))
    nowMs += breaker.waitMs(nowMs)
  }
  t.strictSame(lengths, [200, 400, 800, 1600, 1600, 1600])
})

t.test('one that flaps is damped, one that held out is not', async (t) => {
  const breaker = opened()
  probe(breaker, 100, 'succeeded')
  for (let count = 0; count < 3; count++) breaker.failed('call', 150)
  t.equal(breaker.waitMs(150), 200, 'soon after it recovered')
  probe(breaker, 350, 'succeeded')
  for (let count = 0; count < 3; count++) breaker.failed('call', 10_000)
  t.equal(breaker.waitMs(10_000), 100, 'long after')
})
