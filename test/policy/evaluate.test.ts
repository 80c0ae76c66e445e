import { readdirSync, readFileSync } from 'node:fs'

import t from 'tap'
import { parse } from 'yaml'

import { evaluate } from '../../src/policy/evaluate.ts'
import { callOf, compile, type DescribedCall, type LooseFile, type LoosePolicy } from './subject.ts'

interface Case extends LooseFile {
  readonly note: string
  readonly policies: readonly LoosePolicy[]
  readonly request: DescribedCall
  readonly want: {
    readonly effect: string
    readonly policy: string | null
    readonly message: string
    readonly warnings?: readonly string[]
    readonly results?: Record<string, string>
  }
}

for (const file of readdirSync('test/policy/cases').sort()) {
  const cases: readonly Case[] = parse(readFileSync(`test/policy/cases/${file}`, 'utf8'))
  for (const each of cases) {
    void t.test(`evaluate() ${file}: ${each.note}`, async (t) => {
      const compiled = compile(each.policies, each)
      const call = callOf(each.request)
      const decision = await evaluate(compile(each.policies, each), call)
      // The same caller may have made such a call before, with nothing in it.
      const { facts } = callOf({ ...each.request, input: '', input_chars: 0 })
      await evaluate(compiled, { ...call, facts })
      const said = JSON.stringify(decision)
      t.equal(JSON.stringify(await evaluate(compiled, call)), said)
      t.equal(JSON.stringify(await evaluate(compiled, call)), said)
      const { effect, policy, message, warnings, policies } = decision
      const results = Object.fromEntries(policies.map(({ id, result }) => [id, result]))
      t.strictSame(
        { effect, policy, message, warnings, results },
        { warnings: [], results: {}, ...each.want },
      )
    })
  }
}

void t.test('evaluate() says why in fields, never in text', async (t) => {
  const compiled = compile([
    { id: 'open', allow: {} },
    { id: 'codename', for: { operations: ['chat'] }, deny: { input: { words: ['zeus'] } } },
    { id: 'try', mode: 'shadow', require: { roles: ['x'] } },
  ])
  const decision = await evaluate(compiled, callOf({ input: 'zeus' }))
  t.strictSame(decision.policies, [
    { id: 'open', mode: 'enforce', result: 'allowed', why: 'every call' },
    { id: 'codename', mode: 'enforce', result: 'denied', why: 'operations, input.words' },
    { id: 'try', mode: 'shadow', result: 'failed', why: 'roles' },
  ])
})

void t.test('evaluate() answers at once for texts of ordinary size', async (t) => {
  const compiled = compile([{ id: 'open', deny: { input: { matches: 'zeus' } } }])
  t.notOk(evaluate(compiled, callOf({ input: 'a'.repeat(50_000) })) instanceof Promise)
})

void t.test('evaluate() lets the event loop run while it reads long texts', async (t) => {
  const compiled = compile([
    { id: 'open', allow: {} },
    { id: 'mail', deny: { input: { matches: '[\\w.+-]+@[\\w-]+\\.[\\w.-]+' } } },
    { id: 'end', deny: { input: { matches: '[a-z ]+!$' } } },
  ])
  const call = callOf({ input: `${'lorem@ ipsum '.repeat(300_000)}!` })
  let turns = 0
  const count = () => {
    turns++
    timer = setImmediate(count)
  }
  let timer = setImmediate(count)
  const decision = await evaluate(compiled, call)
  clearImmediate(timer)
  t.equal(decision.policy, 'end')
  t.ok(turns >= 4, `the loop ran ${turns} times`)
})

for (const onError of ['deny', 'allow'] as const) {
  void t.test(`evaluate() with on_error ${onError} when texts cannot be read`, async (t) => {
    const compiled = compile(
      [
        { id: 'open', allow: {} },
        { id: 'codename', deny: { input: { matches: 'zeus' } } },
        { id: 'ticket', allow: { input: { matches: 'T-' } } },
      ],
      { defaults: { onError } },
    )
    const { facts, ...call } = callOf({})
    const broken = {
      ...facts,
      texts: {
        pointer: () => '',
        get values(): readonly string[] {
          return [undefined as unknown as string]
        },
      },
    }
    const decision = await evaluate(compiled, { ...call, facts: broken })
    t.equal(decision.effect, onError)
    t.equal(decision.policy, onError === 'deny' ? 'codename' : 'open')
    t.strictSame(
      decision.policies.map(({ id, result }) => [id, result]),
      [
        ['open', 'allowed'],
        ['codename', 'error'],
        ['ticket', 'error'],
      ],
    )
  })
}

void t.test('evaluate() denies when reading breaks off in the middle', async (t) => {
  const compiled = compile([{ id: 'codename', deny: { input: { matches: 'zeus' } } }])
  const values = ['a'.repeat(100_000), undefined as unknown as string]
  const { facts, ...call } = callOf({})
  const broken = { ...facts, texts: { pointer: () => '', values } }
  t.equal((await evaluate(compiled, { ...call, facts: broken })).policy, 'codename')
})

void t.test(
  'evaluate() denies texts that grow beyond measure, whatever on_error says',
  async (t) => {
    const compiled = compile(
      [
        { id: 'open', allow: {} },
        { id: 'codename', deny: { input: { matches: 'zeus' } } },
      ],
      { defaults: { onError: 'allow', uninspectable: 'allow' } },
    )
    const { effect, message } = await evaluate(
      compiled,
      callOf({ input: '\ufdfa'.repeat(1_200_000) }),
    )
    t.equal(effect, 'deny')
    t.match(message, /too large once they are normalised/)
  },
)

void t.test('evaluate() does not mix what it remembers of callers and calls', async (t) => {
  const compiled = compile([
    { id: 'open', allow: { models: ['a*'] } },
    { id: 'chats', require: { operations: ['chat'] } },
    { id: 'night', deny: { when: 'request.stream' } },
    { id: 'elsewhere', deny: { upstreams: ['far'] } },
  ])
  const call = callOf({ model: 'a1' })
  const { principal } = call
  const effect = async (described: DescribedCall) =>
    (await evaluate(compiled, { ...callOf(described), principal })).effect
  for (let round = 0; round < 2; round++) {
    t.equal(await effect({ model: 'a1' }), 'allow')
    t.equal(await effect({ model: 'b1' }), 'deny')
    t.equal(await effect({ models: ['a1', 'b1'] }), 'deny')
    t.equal(await effect({ models: ['a1\nb1'] }), 'allow')
    t.equal(await effect({ model: 'a1', operation: 'embeddings' }), 'deny')
    t.equal(await effect({ model: 'a1', stream: true }), 'deny')
    t.equal(await effect({ model: 'a1', upstream: 'far' }), 'deny')
  }
  for (let each = 0; each < 200; each++) t.equal(await effect({ model: `a${each}` }), 'allow')
})

void t.test('evaluate() cuts and cleans what it repeats of a caller', async (t) => {
  const decision = await evaluate(compile([]), callOf({ model: `m\u0000é${'x'.repeat(500)}` }))
  t.equal(decision.message, `No policy allows operation chat with model m??${'x'.repeat(97)}`)
})

void t.test('evaluate() names a deny of models where there is no model', async (t) => {
  const compiled = compile([{ id: 'stop', deny: { models: ['*'] } }])
  const decision = await evaluate(compiled, callOf({ model: null }))
  t.equal(decision.message, 'Policy "stop" denies a call without a model')
})

void t.test(
  'evaluate() decides calls alike once, and looks at what makes one of them different',
  async (t) => {
    const compiled = compile([
      { id: 'open', allow: {} },
      { id: 'codename', deny: { input: { words: ['zeus'] } } },
      { id: 'short', mode: 'warn', deny: { input: { max_chars: 100 } } },
    ])
    const call = callOf({ input: 'hello' })
    const other = (described: DescribedCall) => ({ ...call, facts: callOf(described).facts })
    const first = await evaluate(compiled, call)
    t.equal(await evaluate(compiled, other({ input: 'good morning' })), first)
    t.equal((await evaluate(compiled, other({ input: 'zeus' }))).policy, 'codename')
    const long = await evaluate(compiled, other({ input: 'hello', input_chars: 101 }))
    t.strictSame(long.warnings, ['short'])
    const image = { kind: 'image', pointer: '/messages/0' } as const
    t.equal((await evaluate(compiled, other({ uninspectable: [image] }))).effect, 'deny')
    t.not(await evaluate(compiled, other({ model: 'another', input: 'hello' })), first)
    t.equal(await evaluate(compiled, call), first)
    t.throws(() => Object.assign(first, { effect: 'deny' }), TypeError)
  },
)
