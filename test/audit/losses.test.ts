import t from 'tap'

import { Losses } from '../../src/audit/losses.ts'

const AT = Date.parse('2026-11-21T12:00:00.000Z')

t.test('an entry says once how much is missing, from when to when', async (t) => {
  const losses = new Losses()
  t.equal(losses.take(AT), null, 'nothing is')
  losses.decision(AT)
  losses.entries(1, AT + 500)
  losses.decision(AT + 2000)
  losses.entries(0, AT + 9000)
  t.equal(losses.total, 3)
  const entry = losses.take(AT + 5000)!
  t.strictSame([entry.kind, entry.occurredAtUs], ['admin', (AT + 5000) * 1000])
  t.strictSame(JSON.parse(entry.body), {
    kind: 'admin',
    time: '2026-11-21T12:00:05.000Z',
    action: 'audit.lost',
    about: {
      entries: 3,
      calls: 2,
      since: '2026-11-21T12:00:00.000Z',
      until: '2026-11-21T12:00:02.000Z',
    },
  })
  t.equal(losses.take(AT + 6000), null)
  t.equal(losses.total, 3, 'the metric goes on')
})

t.test('what landed late is not missing', async (t) => {
  const losses = new Losses()
  losses.decision(AT)
  losses.decision(AT)
  losses.entries(1, AT)
  losses.landed(2)
  t.match(losses.pending, { entries: 1, calls: 1 })
  losses.landed(1)
  t.equal(losses.pending, null)
  losses.landed(1)
  t.equal(losses.total, 0)
})

t.test('a clock that is set back makes no negative time', async (t) => {
  const losses = new Losses()
  losses.decision(AT)
  losses.decision(AT - 60_000)
  t.match(losses.pending, {
    since: '2026-11-21T11:59:00.000Z',
    until: '2026-11-21T12:00:00.000Z',
  })
})
