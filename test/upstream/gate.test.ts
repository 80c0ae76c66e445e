import t from 'tap'

import { Gate } from '../../src/upstream/gate.ts'

/** Goal: never more inside than may be, nobody overtaken, no place lost. */

const never = new AbortController().signal

t.test('those who wait are let in one by one, in their order', async (t) => {
  const gate = new Gate({ calls: 2, queue: 10, waitMsMax: 60_000 })
  t.strictSame([gate.enter(), gate.enter(), gate.enter()], [true, true, false])
  const order: number[] = []
  const waits = [1, 2, 3].map(async (each) => {
    await gate.wait(never)
    order.push(each)
  })
  t.equal(gate.waiting, 3)
  gate.leave()
  gate.leave()
  await Promise.all(waits.slice(0, 2))
  t.strictSame(order, [1, 2])
  t.strictSame([gate.inside, gate.waiting], [2, 1])
  gate.leave()
  await waits[2]
  gate.leave()
  gate.leave()
  t.strictSame([gate.inside, gate.waiting], [0, 0])
})

t.test('a queue that is full and a wait that is too long are refused', async (t) => {
  const gate = new Gate({ calls: 1, queue: 1, waitMsMax: 10 })
  gate.enter()
  const first = gate.wait(never)
  await t.rejects(gate.wait(never), { code: 'UPSTREAM_BUSY', message: /1 calls wait/ })
  await t.rejects(first, { code: 'UPSTREAM_BUSY', message: /within 10 ms/ })
  gate.leave()
  t.strictSame([gate.inside, gate.waiting], [0, 0])
})

t.test('a place is not given to a call that has gone', async (t) => {
  const gate = new Gate({ calls: 1, queue: 5, waitMsMax: 60_000 })
  gate.enter()
  const gone = new AbortController()
  const first = gate.wait(gone.signal)
  const second = gate.wait(never)
  gone.abort(new Error('left'))
  // In the same turn: the rejection has not been heard yet.
  gate.leave()
  await t.rejects(first, { message: 'left' })
  await second
  t.strictSame([gate.inside, gate.waiting], [1, 0])
  await t.rejects(gate.wait(gone.signal), { message: 'left' })
})
