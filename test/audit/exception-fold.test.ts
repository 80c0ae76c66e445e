import t from 'tap'

import { ExceptionFold } from '../../src/audit/exception-fold.ts'
import { Trail } from '../../src/exchange.ts'

const T0 = 1_790_000_000_000
const EXCEPTION = {
  id: 'EXC-142',
  policy: 'no-frontier',
  reason: 'DPIA-31',
  approvedBy: 'dpo',
  expiresMs: T0 + 86_400_000,
}

function call(requestId: string, keyId: string, policyDigest = 'd1'): Trail {
  const trail = new Trail(requestId, T0, 0)
  trail.policyDigest = policyDigest
  const principal = { via: 'key', tenant: 'acme', keyId, keyName: '', user: '' } as const
  trail.principal = { ...principal, roles: [], labels: {}, ip: '' }
  return trail
}

const bodies = (entries: readonly { body: string }[]) =>
  entries.map(({ body }) => JSON.parse(body) as Record<string, unknown>)

t.test('used() becomes one entry of an exception in ten seconds', async (t) => {
  const fold = new ExceptionFold()
  for (let i = 0; i < 1000; i++) fold.used(call(`r${i}`, 'k1'), [EXCEPTION], T0 + i)
  t.strictSame(fold.due(T0 + 9_999), [])
  t.strictSame(bodies(fold.due(T0 + 10_000)), [
    {
      kind: 'exception.used',
      time: '2026-09-21T14:13:30.000Z',
      since: '2026-09-21T14:13:20.000Z',
      exception: 'EXC-142',
      policy: 'no-frontier',
      reason: 'DPIA-31',
      approved_by: 'dpo',
      expires: '2026-09-22T14:13:20.000Z',
      count: 1000,
      key_ids: ['k1'],
      first_request_id: 'r0',
      policy_digest: 'd1',
    },
  ])
  t.strictSame(fold.drain(T0 + 30_000), [], 'told once')
})

t.test('used() keeps exceptions and snapshots apart, and not more than sixteen keys', async (t) => {
  const fold = new ExceptionFold()
  const other = { ...EXCEPTION, id: 'EXC-143' }
  for (let i = 0; i < 20; i++) fold.used(call(`r${i}`, `k${i}`), [EXCEPTION, other], T0)
  fold.used(call('r20', '', 'd2'), [EXCEPTION], T0)
  const told = bodies(fold.drain(T0 + 1))
  t.strictSame(
    told.map(({ exception, policy_digest: digest, count }) => [exception, digest, count]),
    [
      ['EXC-142', 'd1', 20],
      ['EXC-143', 'd1', 20],
      ['EXC-142', 'd2', 1],
    ],
  )
  const keyIds = Array.from({ length: 16 }, (_, i) => `k${i}`)
  t.strictSame(told[0]?.['key_ids'], keyIds)
  t.equal(told[0]?.['more_keys'], true)
  t.equal(told[2]?.['key_ids'], undefined, 'a pod has no key')
})

t.test('a clock that goes backwards does not hold an entry back', async (t) => {
  const fold = new ExceptionFold()
  fold.used(call('r', 'k'), [EXCEPTION], T0)
  t.equal(fold.due(T0 - 3_600_000).length, 1)
})
