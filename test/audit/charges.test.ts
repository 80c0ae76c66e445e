import t from 'tap'

import { type Charge, Charges } from '../../src/audit/charges.ts'

const AT = 1_000_000

function said(what: string, more: object): object {
  return { id: 'l', what, bucket: 'b', ...more }
}

function entry(kind: 'decision' | 'outcome', requestId: string, body: object) {
  return { kind, requestId, body: JSON.stringify({ kind, ...body }), occurredAtUs: AT * 1000 }
}

function charging(...charged: readonly object[]): object {
  return { limits: { charged } }
}

function read(...entries: readonly ReturnType<typeof entry>[]): [string, number][] {
  const found: Charge[] = []
  const charges = new Charges((charge) => void found.push(charge))
  for (const each of entries) charges.read(each)
  charges.end()
  return found.map(({ what, amount }) => [what, amount])
}

const DECISION = {
  forward: true,
  ...charging(said('requests', {}), said('tokens', { reserved: 50 })),
}

t.test('Charges tells requests from decisions and tokens from outcomes', async (t) => {
  const found = read(
    entry('decision', '1', DECISION),
    entry('outcome', '1', charging(said('tokens', { amount: 7 }))),
  )
  t.strictSame(found, [
    ['requests', 1],
    ['tokens', 7],
  ])
})

t.test('Charges takes a call without an end for what it had reserved', async (t) => {
  const wanted = [
    ['requests', 1],
    ['tokens', 50],
  ]
  const decision = entry('decision', '1', DECISION)
  t.strictSame(read(decision), wanted)
  t.strictSame(read(decision, entry('outcome', '1', { outcome: 'interrupted' })), wanted)
})

t.test('Charges takes nothing for a call that was free or only described', async (t) => {
  const decision = entry('decision', '1', DECISION)
  t.strictSame(read(decision, entry('outcome', '1', { outcome: 'upstream_failed' })), [
    ['requests', 1],
  ])
  const { forward: _, ...check } = DECISION
  t.strictSame(read(entry('decision', '1', check)), [['requests', 1]])
})

t.test('Charges counts entries that are damaged', async (t) => {
  const charges = new Charges(() => t.fail('charged'))
  for (const amount of [-1, 1.5, '7', 1e300]) {
    charges.read(entry('outcome', '1', charging(said('tokens', { amount }))))
  }
  t.equal(charges.damagedEntries, 4)
})
