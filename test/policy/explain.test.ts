import { readdirSync, readFileSync } from 'node:fs'

import t from 'tap'
import { parse } from 'yaml'

import { evaluate, type PolicyCall } from '../../src/policy/evaluate.ts'
import { explain, knowing, whyText, type Knowledge } from '../../src/policy/explain.ts'
import { scanTexts } from '../../src/policy/scan.ts'
import { callOf, compile, type DescribedCall, type LooseFile, type LoosePolicy } from './subject.ts'

interface Case extends LooseFile {
  readonly note: string
  readonly policies: readonly LoosePolicy[]
  readonly request: DescribedCall
}

/** Why an exception was used by content alone; each policy by itself has nothing to say of it. */
const UNREAD = 'content that cannot be read'
const FORGOTTEN: Knowledge = {
  texts: null,
  detected: new Set(),
  partial: new Set(),
  matched: () => null,
}

function textsOf(compiled: ReturnType<typeof compile>, call: PolicyCall) {
  const scan = scanTexts(compiled.texts, call.facts.texts.values)
  for (;;) {
    const { done, value } = scan.next()
    if (done === true) return value
  }
}

function told(policies: readonly LoosePolicy[], request: DescribedCall, knowledge = FORGOTTEN) {
  const { effect, policy, named, unknown, ...rest } = explain(
    compile(policies),
    callOf(request),
    knowledge,
  )
  const findings = rest.policies.map((each) => `${each.finding}: ${whyText(each)}`)
  return { effect, policy, named, unknown, findings }
}

for (const file of readdirSync('test/policy/cases').sort()) {
  const cases: readonly Case[] = parse(readFileSync(`test/policy/cases/${file}`, 'utf8'))
  for (const each of cases) {
    t.test(`explain() agrees with evaluate() on ${file}: ${each.note}`, async (t) => {
      const compiled = compile(each.policies, each)
      const call = callOf(each.request)
      const decision = await evaluate(compiled, call)
      const all = explain(compiled, call, knowing(textsOf(compiled, call)))
      t.strictSame([all.effect, all.policy, all.named], [decision.effect, decision.policy, true])
      t.strictSame(all.warnings, decision.warnings)
      t.strictSame(
        all.policies
          .filter(({ finding }) => finding === 'matched' || finding === 'error')
          .map(({ policy }) => policy.id),
        decision.policies.filter(({ why }) => why !== UNREAD).map(({ id }) => id),
      )
      // What is said without the texts may be unknown; it is never wrong.
      const some = explain(compiled, call, FORGOTTEN)
      if (some.effect !== 'unknown') t.equal(some.effect, decision.effect)
      if (some.named && some.effect !== 'unknown') t.equal(some.policy, decision.policy)
    })
  }
}

const OPEN = { id: 'open', allow: {} }
const CODENAME = { id: 'codename', deny: { roles: ['intern'], input: { matches: 'zeus' } } }

t.test('explain() says why a policy did not match', async (t) => {
  const policies = [
    { id: 'small', allow: { models: ['gpt-4o*'] } },
    { id: 'research', for: { models: ['o3*'] }, require: { roles: ['research'] } },
    { id: 'lead', require: { roles: ['lead'] } },
    { id: 'dev', require: { roles: ['developer'] } },
  ]
  t.strictSame(told(policies, { model: 'gpt-5' }), {
    effect: 'deny',
    policy: 'lead',
    named: true,
    unknown: null,
    findings: [
      'not matched: models',
      'skipped: not about this call: for.models',
      'matched: not met: roles',
      'not matched: it holds',
    ],
  })
})

t.test('explain() does not know what the texts held, unless another field says no', async (t) => {
  t.match(told([OPEN, CODENAME], { roles: ['intern'] }), {
    effect: 'unknown',
    unknown: 'codename',
    findings: ['matched: every call', 'unknown: input.matches: was not recorded'],
  })
  t.match(told([OPEN, CODENAME], { roles: ['lead'] }), { effect: 'allow', policy: 'open' })
})

t.test('explain() knows a refusal that no text could change', async (t) => {
  const intern = { roles: ['intern'] }
  t.match(told([CODENAME], intern), { effect: 'deny', policy: null, named: false })
  const stop = { id: 'stop', deny: { roles: ['intern'] } }
  t.match(told([stop, CODENAME], intern), { effect: 'deny', policy: 'stop', named: true })
  t.match(told([CODENAME, stop], intern), { effect: 'deny', policy: 'stop', named: false })
})

t.test('explain() does not know an allow that depends on a text', async (t) => {
  const ticket = { id: 'ticket', allow: { input: { words: ['ticket'] } } }
  t.match(told([ticket], {}), { effect: 'unknown', unknown: 'ticket' })
  t.match(told([OPEN, ticket], {}), { effect: 'allow', policy: 'open', named: true })
  t.match(told([ticket, OPEN], {}), { effect: 'allow', policy: 'open', named: false })
})

t.test('explain() ignores what is unknown in shadow and warn', async (t) => {
  for (const mode of ['shadow', 'warn'] as const) {
    const said = told([OPEN, { ...CODENAME, mode }], { roles: ['intern'] })
    t.match(said, { effect: 'allow', policy: 'open', named: true })
  }
})

t.test('explain() does not trust a field that is known in part', async (t) => {
  const knowledge = { ...FORGOTTEN, partial: new Set(['roles']) }
  const policies = [
    OPEN,
    { id: 'research', for: { models: ['o3*'] }, require: { roles: ['research'] } },
  ]
  t.match(told(policies, { model: 'o3' }, knowledge), { effect: 'unknown', unknown: 'research' })
  t.match(told(policies, { model: 'gpt-4o' }, knowledge), { effect: 'allow' })
})

t.test('explain() knows what a detector had found, and not what it had not', async (t) => {
  const policies = [OPEN, { id: 'mail', deny: { input: { detect: ['email', 'iban'] } } }]
  const found = { ...FORGOTTEN, detected: new Set(['email']) }
  t.match(told(policies, {}, found), { effect: 'deny', policy: 'mail' })
  t.match(told(policies, {}), { effect: 'unknown', unknown: 'mail' })
})

t.test('explain() takes over what the same rule found before', async (t) => {
  for (const [matched, effect] of [
    [true, 'deny'],
    [false, 'allow'],
    [null, 'unknown'],
  ] as const) {
    const knowledge = { ...FORGOTTEN, matched: () => matched }
    t.equal(told([OPEN, CODENAME], { roles: ['intern'] }, knowledge).effect, effect)
  }
})

t.test(
  'explain() does not know about content nobody can read where it lacks a field',
  async (t) => {
    const image = [{ kind: 'image', pointer: '' }] as const
    const request = { roles: ['intern'], uninspectable: image }
    t.match(told([OPEN, CODENAME], request), { effect: 'deny', policy: null })
    const knowledge = { ...FORGOTTEN, partial: new Set(['roles']), matched: () => false }
    t.match(told([OPEN, CODENAME], request, knowledge), { effect: 'unknown', unknown: null })
  },
)
