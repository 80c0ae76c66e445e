import type { CandidateDecision, Decision, PolicyResult, Trail } from '../exchange.ts'
import type { Metrics } from '../metrics.ts'
import type { AnswerVerdict } from '../nouns/answer.ts'
import { differenceOf } from './entry-candidate.ts'

/** Counts a call of a known caller once it has ended; `nowMs` is monotonic. */
export function countCall(metrics: Metrics, trail: Trail, nowMs: number): void {
  const operation = trail.route?.endpoint.operation ?? 'none'
  // A pass that another one follows is no answer.
  if (trail.fallback === null) {
    metrics.requests.inc({ operation, code: trail.refusal?.code ?? 'ok' })
    metrics.requestSeconds.observe((nowMs - trail.startedMs) / 1000, operation)
  } else metrics.modelFallbacks.inc({ upstream: trail.upstream!.name })
  const limit = trail.refusal?.limit
  if (limit !== undefined) metrics.limitRefusals.inc({ limit })
  if (trail.decision !== null && trail.checked === null) countDecision(metrics, trail.decision)
  if (trail.candidate !== null) countCandidate(metrics, trail, trail.candidate)
  if (trail.answer !== null) countAnswer(metrics, trail.answer)
  countTimes(metrics, trail)
  countSpent(metrics, trail)
}

function countDecision(metrics: Metrics, decision: Decision): void {
  const { effect, policy, policies, exceptions } = decision
  const by = policies.find(({ id }) => id === policy)
  const mode = by?.mode ?? 'enforce'
  metrics.decisions.inc({ decision: effect, policy: policy ?? 'none', mode })
  for (const each of policies) countBeside(metrics, each, policy)
  for (const { id } of exceptions ?? []) metrics.exceptionUses.inc({ exception: id })
}

/** What each verdict is called in the metric; what is not here did nothing, and would have done nothing. */
const DECISIONS: Readonly<Partial<Record<PolicyResult['result'], string>>> = {
  allowed: 'allow',
  denied: 'deny',
  failed: 'deny',
  error: 'deny',
  redacted: 'redact',
  set: 'set',
}

/** Policies in shadow or warn, by what they would have done, and what was taken out of the call. */
function countBeside(
  metrics: Metrics,
  { id, mode, result }: PolicyResult,
  decided: string | null,
): void {
  if (mode === 'enforce' && result !== 'redacted') return
  const decision = DECISIONS[result]
  if (decision !== undefined && id !== decided)
    metrics.decisions.inc({ decision, policy: id, mode })
}

/** `/v1/check` counts too: it was asked the same way. */
function countCandidate(metrics: Metrics, trail: Trail, candidate: CandidateDecision): void {
  const decision = trail.checked ?? trail.decision
  if (decision === null) return
  metrics.candidateDecisions.inc(differenceOf(decision, candidate.decision))
}

/** Policies that found something in the answer; the decision on the call is counted by itself. */
function countAnswer(metrics: Metrics, { policies }: AnswerVerdict): void {
  for (const { id, mode, result } of policies) {
    const decision = result === 'redacted' ? 'redact' : 'deny'
    metrics.decisions.inc({ decision, policy: id, mode })
  }
}

function countTimes(metrics: Metrics, trail: Trail): void {
  let oursUs = 0
  for (let index = 0; index < trail.stages.length; index++) {
    const stage = trail.stages[index]!
    const us = trail.stagesUs[index]!
    metrics.stageSeconds.observe(us / 1e6, stage)
    if (stage !== 'forward' && stage !== 'relay') oursUs += us
  }
  if (trail.firstByteMs === 0) return
  metrics.overheadSeconds.observe(oursUs / 1e6)
  const upstreamMs = trail.firstByteMs - trail.startedMs - oursUs / 1000
  metrics.firstByteSeconds.observe(Math.max(0, upstreamMs) / 1000)
}

function countSpent(metrics: Metrics, { usage, spent }: Trail): void {
  const cost = spent?.costNanoUsd ?? 0
  if (cost > 0) metrics.cost.inc({}, cost / 1e9)
  if (usage === null) return
  const { inputTokens, outputTokens } = usage
  if (inputTokens !== null) metrics.tokens.inc({ direction: 'input' }, inputTokens)
  if (outputTokens !== null) metrics.tokens.inc({ direction: 'output' }, outputTokens)
}
