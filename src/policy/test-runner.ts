import type { DescribedRequest, TestConfig } from '../config/snapshot.ts'
import type { Parameter, PolicyResult } from '../exchange.ts'
import type { CompiledPolicies } from './compile.ts'
import { describedAnswer } from './described-answer.ts'
import { describedCall, type Router } from './described-call.ts'
import { type DescribedChanges, describedChanges } from './described-changes.ts'
import { evaluate } from './evaluate.ts'
import type { AskExternal } from './external/external-detector.ts'

/** What one test found. */
export interface TestResult {
  readonly name: string
  /** What differs, a line each; empty when the test passes. */
  readonly differences: readonly string[]
  readonly got: Verdict
  /** The policies that matched, as the audit entry would list them. */
  readonly policies: readonly PolicyResult[]
}

/** What a call would be told. */
export interface Verdict {
  readonly decision: 'allow' | 'deny'
  readonly policy: string | null
  /** What a refused client reads; '' when allowed. */
  readonly reason: string
}

/** Which sides of a policy the tests have seen; it is covered when they have seen both. */
export interface Coverage {
  readonly id: string
  readonly matched: boolean
  readonly unmatched: boolean
}

/** What all tests of a file found. */
export interface TestReport {
  readonly results: readonly TestResult[]
  readonly coverage: readonly Coverage[]
  /** Covered policies, percent, rounded down; 100 when there are no policies. */
  readonly coveredPercent: number
}

/** What a described request does not say. */
export interface TestContext {
  readonly route: Router
  /** Milliseconds since 1970, for requests without `time`. */
  readonly nowMs: number
  /** What the model answers; nothing when absent. */
  readonly answer?: readonly string[]
}

/**
 * Runs tests one after the other, each decided by `evaluate` exactly as a call would be, and counts
 * which policies they cover: a policy needs a test in which it matched (allowed, denied or was not met)
 * and one in which it did not. Never rejects.
 */
export async function runTests(
  compiled: CompiledPolicies,
  tests: readonly TestConfig[],
  context: TestContext,
): Promise<TestReport> {
  const results: TestResult[] = []
  const matched = new Map<string, number>()
  let decided = 0
  for (const test of tests) {
    const { got, policies, changes, answer } = await decideDescribed(compiled, test.request, {
      ...context,
      answer: test.answer ?? [],
    })
    if (policies !== null) decided++
    for (const { id, result } of policies ?? []) {
      if (result !== 'error' && result !== 'skipped') matched.set(id, (matched.get(id) ?? 0) + 1)
    }
    const differences = [
      ...differencesOf(test.expect, got, policies ?? []),
      ...changeDifferences(test.expect, changes, test.request),
      ...answerDifferences(test.expect, answer),
    ]
    results.push({ name: test.name, differences, got, policies: policies ?? [] })
  }
  const coverage = compiled.policies.map(({ id }) => {
    const count = matched.get(id) ?? 0
    return { id, matched: count > 0, unmatched: count < decided }
  })
  return { results, coverage, coveredPercent: percent(coverage) }
}

/** What is made of a described call. */
export interface DecidedRequest {
  readonly got: Verdict
  readonly policies: readonly PolicyResult[] | null
  readonly changes: DescribedChanges
  /** The answer as it goes on. */
  readonly answer: readonly string[]
}

/** Decides one described call; `policies` is null when it would not get as far as the policies. */
export async function decideDescribed(
  compiled: CompiledPolicies,
  request: DescribedRequest,
  { route, nowMs, answer = [] }: TestContext,
): Promise<DecidedRequest> {
  const upstream = route(request)
  if (upstream === null) {
    const what = request.model === '' ? 'this call names no model' : `"${request.model}"`
    const reason = `No upstream serves this model: ${what}`
    const changes = { redacted: null, set: null }
    return { got: { decision: 'deny', policy: null, reason }, policies: null, changes, answer: [] }
  }
  const call = describedCall(request, upstream, nowMs)
  const decision = await evaluate(compiled, { ...call, ask: answersOf(request) })
  const { effect, policy, message } = decision
  const changes = await describedChanges(compiled, decision, request)
  const { refusal, texts, policies: after } = await describedAnswer(compiled, decision, answer)
  const policies = mergedResults(decision.policies, after)
  const got: Verdict =
    refusal === null
      ? { decision: effect, policy, reason: message }
      : { decision: 'deny', policy: refusal.policy, reason: refusal.message }
  return { got, policies, changes, answer: texts }
}

/** What a policy found in the call and in the answer is one result. */
function mergedResults(
  call: readonly PolicyResult[],
  answer: readonly PolicyResult[],
): readonly PolicyResult[] {
  const later = new Map(answer.map((result) => [result.id, result]))
  const merged = call.map((result) => {
    const found = later.get(result.id)
    later.delete(result.id)
    return found === undefined ? result : { ...found, why: `${result.why}, ${found.why}` }
  })
  return [...merged, ...later.values()]
}

/** Services find what the request says they do: nobody is asked. */
function answersOf({ detected }: DescribedRequest): AskExternal {
  return (ids) =>
    Promise.resolve(new Map(ids.map((id) => [id, { found: detected.includes(id) ? 1 : 0 }])))
}

function differencesOf(
  expect: TestConfig['expect'],
  got: Verdict,
  policies: readonly PolicyResult[],
): string[] {
  const differences: string[] = []
  const compare = (what: string, wanted: string | null, found: string | null) => {
    if (wanted === null || wanted === found) return
    differences.push(`${what}: expected ${shown(wanted)}, got ${shown(found)}`)
  }
  compare('decision', expect.decision, got.decision)
  compare('policy', expect.policy, got.policy)
  compare('reason', expect.reason, got.reason)
  const why = policies.find(({ id }) => id === expect.policy)?.why ?? null
  compare('why', expect.why, why)
  return differences
}

/** Where no change is expected none is looked for. */
function changeDifferences(
  expect: TestConfig['expect'],
  { redacted, set }: DescribedChanges,
  { input, maxOutputTokens }: DescribedRequest,
): string[] {
  const differences: string[] = []
  const compare = (what: string, wanted: unknown, found: unknown) => {
    const [one, other] = [JSON.stringify(wanted), JSON.stringify(found)]
    if (one !== other) differences.push(`${what}: expected ${one}, got ${other}`)
  }
  if (expect.redacted != null) compare('redacted', expect.redacted, redacted ?? input)
  for (const [parameter, value] of Object.entries(expect.set ?? {})) {
    const sent = parameter === 'max_output_tokens' ? maxOutputTokens : null
    const goes = set?.get(parameter as Parameter) ?? sent
    if (value !== null) compare(`set ${parameter}`, value, goes)
  }
  return differences
}

/** Where no answer is expected none is looked at. */
function answerDifferences(
  { answer: wanted }: TestConfig['expect'],
  found: readonly string[],
): string[] {
  if (wanted == null) return []
  const [one, other] = [JSON.stringify(wanted), JSON.stringify(found)]
  return one === other ? [] : [`answer: expected ${one}, got ${other}`]
}

function shown(text: string | null): string {
  if (text === null) return 'none'
  return /^[\w.-]+$/.test(text) ? text : JSON.stringify(text)
}

function percent(coverage: readonly Coverage[]): number {
  if (coverage.length === 0) return 100
  const covered = coverage.filter(({ matched, unmatched }) => matched && unmatched).length
  return Math.floor((covered * 100) / coverage.length)
}
