import t from 'tap'

import { type ErrorCode, GovernorError } from '../src/errors.ts'
import { type Decision, type Principal, Trail } from '../src/exchange.ts'
import { handle, type Stages } from '../src/pipeline.ts'

type Verbs = Stages<object, object>
type Verb = keyof Verbs

/** Stages that write their own name down, so a test reads as the order things happened in. */
function scripted(failAt?: Verb, error?: unknown, effect: 'allow' | 'deny' = 'allow') {
  const calls: string[] = []
  const trail = new Trail('id', 0, 0)
  const step =
    (name: Verb, value: unknown = {}) =>
    () => {
      calls.push(name)
      if (name === failAt) throw error
      return value
    }
  const later = (name: Verb, value?: unknown) => {
    const run = step(name, value)
    return async () => run()
  }
  const stages = {
    begin: () => trail,
    match: step('match'),
    authenticate: later('authenticate'),
    admit: step('admit'),
    read: later('read'),
    inspect: later('inspect'),
    route: step('route'),
    decide: later('decide', { effect, policy: 'p1', message: 'no' }),
    reserve: later('reserve'),
    rewrite: step('rewrite', Buffer.alloc(0)),
    record: async () => {
      calls.push('record')
      trail.decisionQueued = true
      if (failAt === 'record') throw error
      trail.recorded = true
    },
    forward: later('forward'),
    fallback: later('fallback'),
    relay: later('relay'),
    respond: (_request: object, _trail: Trail, refusal: GovernorError) =>
      void calls.push(`${refusal.status} ${refusal.code}`),
    settle: () => void calls.push('settle'),
  } as unknown as Verbs
  return { stages, calls, trail }
}

const TO_DECIDE = 'match authenticate admit read inspect route decide'
const TO_RECORD = `${TO_DECIDE} reserve rewrite record`

t.test('handle() walks every stage in order', async (t) => {
  const { stages, calls, trail } = scripted()
  await handle(stages, {})
  t.equal(calls.join(' '), `${TO_RECORD} forward relay settle`)
  t.strictSame(trail.stages, `${TO_DECIDE} reserve record forward relay`.split(' '))
})

for (const [stage, code, want] of [
  ['match', 'ROUTE_UNKNOWN', 'match 404 ROUTE_UNKNOWN settle'],
  ['authenticate', 'AUTH_KEY_MISSING', 'match authenticate 401 AUTH_KEY_MISSING settle'],
  // From here on the caller is known: its refusal is recorded before it is said.
  ['admit', 'LIMIT_EXCEEDED', 'match authenticate admit record 429 LIMIT_EXCEEDED settle'],
  ['reserve', 'LIMIT_EXCEEDED', `${TO_DECIDE} reserve record 429 LIMIT_EXCEEDED settle`],
  ['record', 'AUDIT_UNAVAILABLE', `${TO_RECORD} 503 AUDIT_UNAVAILABLE settle`],
  ['forward', 'UPSTREAM_TIMEOUT', `${TO_RECORD} forward 504 UPSTREAM_TIMEOUT settle`],
] satisfies [Verb, ErrorCode, string][]) {
  t.test(`handle() stops at ${stage} when it refuses with ${code}`, async (t) => {
    const { stages, calls } = scripted(stage, new GovernorError(code))
    await handle(stages, {})
    t.equal(calls.join(' '), want)
  })
}

t.test('handle() reports a bug as INTERNAL and never forwards', async (t) => {
  const { stages, calls } = scripted('decide', new TypeError('bug'))
  await handle(stages, {})
  t.equal(calls.join(' '), `${TO_DECIDE} record 500 INTERNAL settle`)
})

t.test('handle() records a deny before the client hears of it, and charges nothing', async (t) => {
  const { stages, calls } = scripted(undefined, undefined, 'deny')
  await handle(stages, {})
  t.equal(calls.join(' '), `${TO_DECIDE} record 403 POLICY_DENIED settle`)
})

t.test('handle() answers 503 when a refusal cannot be recorded', async (t) => {
  const { stages, calls } = scripted('record', new GovernorError('AUDIT_UNAVAILABLE'), 'deny')
  await handle(stages, {})
  t.equal(calls.join(' '), `${TO_DECIDE} record 503 AUDIT_UNAVAILABLE settle`)
})

t.test(
  'handle() decides, reserves and records anew for a fallback, and settles what it ends with',
  async (t) => {
    const { stages, calls, trail } = scripted()
    const next = new Trail('id', 0, 0)
    const answers = [null, {}]
    const settled: Trail[] = []
    await handle(
      {
        ...stages,
        forward: async () => {
          calls.push('forward')
          return answers.shift() ?? null
        },
        fallback: async (_request, former) => {
          calls.push('fallback')
          t.equal(former, trail)
          return next
        },
        settle: (_request, last) => void settled.push(last),
      },
      {},
    )
    const again = 'route decide reserve rewrite record forward'
    t.equal(calls.join(' '), `${TO_RECORD} forward fallback ${again} relay`)
    t.strictSame(settled, [next])
  },
)

t.test('handle() tells why the first model failed when the fallback is refused', async (t) => {
  const { stages, calls } = scripted()
  const next = new Trail('id', 0, 0)
  next.principal = {} as Principal
  const splice = { start: 0, end: 0, text: '' }
  const failure = new GovernorError('UPSTREAM_TIMEOUT')
  next.follows = { attempt: 2, model: 'b', splice, rest: [], failure }
  const effects = ['allow', 'deny']
  const recorded: (string | undefined)[] = []
  await handle(
    {
      ...stages,
      decide: () => ({ effect: effects.shift(), policy: 'p', message: 'no' }) as Decision,
      forward: async () => null,
      fallback: async () => next,
      record: async ({ refusal }) => void recorded.push(refusal?.code),
    },
    {},
  )
  t.strictSame(recorded, [undefined, 'POLICY_DENIED'])
  t.equal(calls.at(-2), '504 UPSTREAM_TIMEOUT')
})
