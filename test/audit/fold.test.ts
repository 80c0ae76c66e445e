import t from 'tap'

import { Fold } from '../../src/audit/fold.ts'

const T0 = 1_790_000_000_000
const bodies = (entries: readonly { body: string }[]) =>
  entries.map(({ body }) => JSON.parse(body) as Record<string, unknown>)

t.test('unauthenticated() becomes one entry in ten seconds', async (t) => {
  const fold = new Fold()
  for (let i = 0; i < 1000; i++)
    fold.unauthenticated('AUTH_KEY_INVALID', `10.0.0.${i % 40}`, T0 + i)
  fold.unauthenticated('AUTH_KEY_MISSING', '10.0.0.1', T0 + 5000)
  t.strictSame(fold.due(T0 + 9999), [])
  const [body] = bodies(fold.due(T0 + 10_000))
  t.strictSame(body, {
    kind: 'unauthenticated',
    time: '2026-09-21T14:13:30.000Z',
    since: '2026-09-21T14:13:20.000Z',
    codes: { AUTH_KEY_INVALID: 1000, AUTH_KEY_MISSING: 1 },
    peers: Array.from({ length: 16 }, (_, i) => `10.0.0.${i}`),
    more_peers: true,
  })
  t.strictSame(fold.due(T0 + 30_000), [])
  t.strictSame(fold.drain(T0 + 30_000), [])
})

t.test('refusal() records twenty a second of one key and folds the rest', async (t) => {
  const fold = new Fold()
  const answers = Array.from({ length: 50 }, (_, i) => fold.refusal('k1', 'POLICY_DENIED', T0 + i))
  t.strictSame(
    answers,
    Array.from({ length: 50 }, (_, i) => (i < 20 ? 'record' : 'folded')),
  )
  t.equal(fold.refusal('k2', 'POLICY_DENIED', T0 + 60), 'record', 'another key is another count')
  t.strictSame(fold.due(T0 + 619), [])
  t.strictSame(bodies(fold.due(T0 + 1000)), [
    {
      kind: 'decision',
      time: '2026-09-21T14:13:21.000Z',
      since: '2026-09-21T14:13:20.020Z',
      key_id: 'k1',
      decision: 'deny',
      codes: { POLICY_DENIED: 30 },
      repeated: 30,
    },
  ])
  t.equal(fold.refusal('k1', 'POLICY_DENIED', T0 + 1001), 'record')
})

t.test('due() tells a folded refusal after 0.6 s, and the second goes on', async (t) => {
  const fold = new Fold()
  const refuse = (ms: number) => fold.refusal('k1', 'POLICY_DENIED', T0 + ms)
  for (let i = 0; i < 25; i++) refuse(300)
  t.strictSame(fold.due(T0 + 899), [])
  t.strictSame(
    bodies(fold.due(T0 + 900)).map((body) => body['repeated']),
    [5],
  )
  t.equal(refuse(950), 'folded', 'twenty of this second are recorded already')
  t.strictSame(
    bodies(fold.due(T0 + 1300)).map((body) => body['repeated']),
    [1],
  )
  t.equal(refuse(1301), 'record')
})

t.test('refusal() counts a slow key anew each second', async (t) => {
  const fold = new Fold()
  for (let i = 0; i < 200; i++) {
    t.equal(fold.refusal('k1', 'LIMIT_EXCEEDED', T0 + i * 60), 'record')
  }
  t.strictSame(fold.drain(T0 + 20_000), [])
})

t.test('refusal() never forgets a folded one, whatever the number of keys', async (t) => {
  const fold = new Fold()
  let folded = 0
  for (let i = 0; i < 5000; i++) {
    if (fold.refusal(`k${i}`, 'POLICY_DENIED', T0) === 'folded') folded++
  }
  const told = bodies(fold.drain(T0 + 1))
  t.equal(told.length, 1)
  t.equal(told[0]?.['key_id'], '*')
  t.equal(told[0]?.['repeated'], folded)
  t.equal(folded, 5000 - 1024 - 20)
})

t.test('a clock that went backwards ends the windows', async (t) => {
  const fold = new Fold()
  for (let i = 0; i < 30; i++) fold.refusal('k1', 'POLICY_DENIED', T0)
  fold.unauthenticated('AUTH_KEY_MISSING', 'x', T0)
  t.equal(fold.due(T0 - 3_600_000).length, 2)
  t.equal(fold.refusal('k1', 'POLICY_DENIED', T0 - 3_600_000), 'record')
})
