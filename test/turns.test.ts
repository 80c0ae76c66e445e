import t from 'tap'

import { monotonicMs } from '../src/clock.ts'
import { breath, inTurns } from '../src/turns.ts'

/** Steps of about a millisecond. */
function* busy(steps: number): Generator<undefined, number> {
  for (let step = 0; step < steps; step++) {
    const endMs = monotonicMs() + 1
    while (monotonicMs() < endMs);
    yield
  }
  return steps
}

function* failing(): Generator<undefined, number> {
  yield
  throw new Error('no')
}

void t.test(
  'inTurns() gives what each generator returns, and rejects with what it throws',
  async (t) => {
    const results = await Promise.allSettled([
      inTurns(busy(2)),
      inTurns(failing()),
      inTurns(busy(0)),
    ])
    t.strictSame(
      results.map((each) =>
        each.status === 'fulfilled' ? each.value : (each.reason as Error).message,
      ),
      [2, 'no', 0],
    )
  },
)

void t.test('inTurns() lets the loop turn between stretches, however many jobs wait', async (t) => {
  const jobs = Array.from({ length: 40 }, () => inTurns(busy(5)))
  let turns = 0
  let running = true
  const count = () => {
    turns++
    if (running) setImmediate(count)
  }
  setImmediate(count)
  await Promise.all(jobs)
  running = false
  // 200 steps in turns of 10; one queue for each job would take 5 turns of 40.
  t.ok(turns >= 12, `${turns} turns`)
})

void t.test('inTurns() lets a short job end before a long one that came first', async (t) => {
  const order: string[] = []
  await Promise.all([
    inTurns(busy(60)).then(() => order.push('long')),
    inTurns(busy(1)).then(() => order.push('short')),
  ])
  t.strictSame(order, ['short', 'long'])
})

void t.test(
  'breath() goes on in a later turn of the loop, in order, however many wait',
  async (t) => {
    const order: number[] = []
    let isLater = false
    setImmediate(() => (isLater = true))
    const waiting = Array.from({ length: 50 }, async (_, index) => {
      await breath()
      t.ok(isLater)
      order.push(index)
    })
    t.strictSame(order, [])
    await Promise.all(waiting)
    t.strictSame(
      order,
      Array.from({ length: 50 }, (_, index) => index),
    )
  },
)

void t.test('breath() lets all go on together who have waited for long', async (t) => {
  const turns: number[] = []
  let turn = 0
  let running = true
  const count = () => {
    turn++
    if (running) setImmediate(count)
  }
  setImmediate(count)
  const waiting = Array.from({ length: 5 }, async () => {
    await breath()
    turns.push(turn)
  })
  const endMs = monotonicMs() + 10
  while (monotonicMs() < endMs);
  await Promise.all(waiting)
  running = false
  t.equal(new Set(turns).size, 1, turns.join())
})
