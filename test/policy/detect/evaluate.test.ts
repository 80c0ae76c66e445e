import t from 'tap'

import { decisionBody } from '../../../src/audit/entry.ts'
import { Trail } from '../../../src/exchange.ts'
import { compilePolicies } from '../../../src/policy/compile.ts'
import { evaluate } from '../../../src/policy/evaluate.ts'
import { callOf, policyOf, SAFE, type LoosePolicy } from '../subject.ts'

const OWN = [
  { id: 'employee_no', matches: 'E-\\d{6}', confidence: 0.7 },
  { id: 'ticket', matches: 'T-\\d+', confidence: 1 },
]

function compile(policies: readonly LoosePolicy[]) {
  return compilePolicies({
    policies: [{ id: 'open', allow: {} }, ...policies].map(policyOf),
    defaults: SAFE,
    aliases: {},
    detectors: OWN,
  })
}

void t.test('evaluate() names the detectors that decided, never what they found', async (t) => {
  const compiled = compile([
    { id: 'pii', deny: { input: { detect: ['phone', 'email', 'us_ssn'] } } },
    { id: 'staff', mode: 'shadow', deny: { input: { detect: ['ticket', 'employee_no'] } } },
  ])
  const input = ['mail a@example.com, b@example.com; ssn 123-45-6789', 'for E-204466']
  const { effect, policy, message, policies, detected } = await evaluate(
    compiled,
    callOf({ input }),
  )
  t.strictSame(
    { effect, policy, message, detected },
    {
      effect: 'deny',
      policy: 'pii',
      message: 'Policy "pii" denies this input',
      detected: { email: 2, us_ssn: 1, employee_no: 1 },
    },
  )
  t.strictSame(policies.slice(1), [
    { id: 'pii', mode: 'enforce', result: 'denied', why: 'input.detect: email us_ssn' },
    { id: 'staff', mode: 'shadow', result: 'denied', why: 'input.detect: employee_no (0.7)' },
  ])
})

void t.test('evaluate() takes detectors in allow, require and for', async (t) => {
  const compiled = compile([
    { id: 'ticket', require: { input: { detect: ['ticket'] } } },
    { id: 'keys', for: { input: { detect: ['iban'] } }, require: { roles: ['bank'] } },
  ])
  const said = async (input: string) => {
    const { effect, policy, message } = await evaluate(compiled, callOf({ input }))
    return [effect, policy, message]
  }
  t.strictSame(await said('for T-77'), ['allow', 'open', ''])
  t.strictSame(await said('for nobody'), [
    'deny',
    'ticket',
    'Policy "ticket" is not met: input.detect',
  ])
  t.strictSame(await said('T-1: DE89370400440532013000'), [
    'deny',
    'keys',
    'Policy "keys" is not met: roles',
  ])
})

void t.test('evaluate() runs no detector where no policy that uses one applies', async (t) => {
  const compiled = compile([
    { id: 'pii', for: { roles: ['guest'] }, deny: { input: { detect: ['email'] } } },
    { id: 'word', deny: { input: { words: ['zeus'] } } },
  ])
  const decision = await evaluate(compiled, callOf({ input: 'a@example.com' }))
  t.equal(decision.effect, 'allow')
  t.notOk('detected' in decision)
})

void t.test('evaluate() finds values in a text of a megabyte, in turns of the loop', async (t) => {
  const compiled = compile([{ id: 'cards', deny: { input: { detect: ['credit_card'] } } }])
  const answer = evaluate(
    compiled,
    callOf({ input: `${'lorem '.repeat(170_000)} 4111 1111 1111 1111` }),
  )
  t.ok(answer instanceof Promise)
  t.equal((await answer).policy, 'cards')
})

void t.test('decisionBody() keeps what was found as counts, in less than 2 KiB', async (t) => {
  const compiled = compile([{ id: 'all', deny: { input: { detect: ['email', 'employee_no'] } } }])
  const call = callOf({ input: 'a@example.com E-123456' })
  const trail = new Trail('id', 0, 0)
  trail.facts = call.facts
  trail.decision = await evaluate(compiled, call)
  const body = decisionBody(trail, { policyDigest: 'x', forward: false })
  t.match(JSON.parse(body), { facts: { detected: { email: 1, employee_no: 1 } } })
  t.notMatch(body, /example\.com|123456/)
  t.ok(body.length < 2048)
})
