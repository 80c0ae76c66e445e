import { isOperation, OPERATIONS } from '../exchange.ts'
import { suggestion, type Path } from './problem.ts'
import type { Report } from './report.ts'
import { checkUnique } from './resolve-policies.ts'
import type { FileValue } from './resolve.ts'
import type { DescribedRequest, TestConfig } from './snapshot.ts'
import { quote } from './source.ts'

type TestValue = FileValue['tests'][number]
type PolicyValue = FileValue['policies'][number]

/** Every test has a name of its own, asks for what exists, and expects what can be. */
export function resolveTests(
  { tests, policies, detectors, operations }: FileValue,
  report: Report,
): TestConfig[] {
  const names = tests.map(({ name }) => name)
  checkUnique(names, report, (index) => ['tests', index, 'name'])
  const known = new Map(policies.map((policy) => [policy.id, policy]))
  const services = detectors.filter(({ matches }) => matches === null).map(({ id }) => id)
  return tests.map(({ name, request, expect, answer }, index) => {
    const at = ['tests', index]
    const missing = 'Needs `answer` beside `request`: what does the model say?'
    report.check([...at, 'expect', 'answer'], expect.answer === null || answer !== null, missing)
    checkExpectation(expect, known, { report, at: [...at, 'expect'] })
    checkDetected(request.detected, services, { report, at: [...at, 'request', 'detected'] })
    const resolved = resolveRequest(request, operations, { report, at: [...at, 'request'] })
    return { name, request: resolved, expect, answer }
  })
}

function resolveRequest(
  request: TestValue['request'],
  own: readonly string[],
  { report, at }: { readonly report: Report; readonly at: Path },
): DescribedRequest {
  const { operation, time, max_output_tokens: maxOutputTokens, ...rest } = request
  const message = `Unknown operation ${quote(operation)}${suggestion(operation, [...OPERATIONS, ...own])}`
  report.check([...at, 'operation'], isOperation(operation, own), message)
  const timeMs = time === null ? null : Date.parse(time)
  const shown = report.source.shown([...at, 'time'])
  report.check(
    [...at, 'time'],
    timeMs === null || !Number.isNaN(timeMs),
    `${shown} is a time no calendar has`,
  )
  return {
    tenant: rest.tenant ?? '',
    user: rest.user ?? '',
    key: rest.key ?? '',
    roles: rest.roles,
    labels: rest.labels,
    unusual: rest.unusual,
    operation: isOperation(operation, own) ? operation : 'chat',
    model: rest.model ?? '',
    input: rest.input,
    stream: rest.stream,
    maxOutputTokens,
    tools: rest.tools,
    uninspectable: rest.uninspectable,
    detected: rest.detected,
    timeMs,
  }
}

/** What other detectors find is seen in the input. */
function checkDetected(
  detected: readonly string[],
  services: readonly string[],
  { report, at }: { readonly report: Report; readonly at: Path },
): void {
  detected.forEach((id, index) => {
    const message = `${quote(id)} is no detector that is asked over HTTP${suggestion(id, services)}`
    report.check([...at, index], services.includes(id), message)
  })
}

function checkExpectation(
  expect: TestValue['expect'],
  known: ReadonlyMap<string, PolicyValue>,
  { report, at }: { readonly report: Report; readonly at: Path },
): void {
  const { decision, policy, reason, why } = expect
  const noReason = reason === null || decision === 'deny'
  report.check([...at, 'reason'], noReason, 'An allowed call is given no reason: remove it')
  for (const key of ['redacted', 'set', 'answer'] as const) {
    const goes = decision === 'allow' || expect[key] === null
    report.check([...at, key], goes, 'A refused call does not go on: remove it')
  }
  const whose = why === null || policy !== null
  report.check([...at, 'why'], whose, 'Needs `policy` beside it: whose fields are meant?')
  if (policy === null) return
  const here = [...at, 'policy']
  const found = known.get(policy)
  const unknown = `Unknown policy ${quote(policy)}${suggestion(policy, [...known.keys()])}`
  report.check(here, found !== undefined, unknown)
  if (found !== undefined) checkDecider(found, decision, { report, at: here })
}

/** Whether the policy can have decided so. */
function checkDecider(
  found: PolicyValue,
  decision: 'allow' | 'deny',
  { report, at: here }: { readonly report: Report; readonly at: Path },
): void {
  const policy = quote(found.id)
  const changes = found.redact !== null || found.set !== null
  const told = `Policy ${policy} changes calls and decides nothing: expect \`redacted\` or \`set\``
  report.check(here, !changes, told)
  if (changes) return
  const allows = found.allow !== null
  const refuses = found.deny !== null || found.require !== null
  const message = allows
    ? `Policy ${policy} is an allow and never refuses: expect another, or decision: allow`
    : `Policy ${policy} never allows: expect another, or decision: deny`
  report.check(here, decision === 'deny' ? refuses || !allows : !refuses, message)
}
