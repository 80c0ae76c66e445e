import type {
  Decision,
  Facts,
  PolicyResult,
  Principal,
  Route,
  Upstream,
  Unusual,
  UsedException,
} from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { liftedBy } from './applicants.ts'
import { Asked, type Finding, isOpaque } from './asked.ts'
import type { CompiledPolicies, CompiledPolicy } from './compile.ts'
import { mayDecode } from './decoded.ts'
import type { CompiledException } from './exceptions.ts'
import type { AskExternal } from './external/external-detector.ts'
import { ExternalMatches, externalFound, skipping } from './external/external-matches.ts'
import { ANSWER, judge, judgeAll, type TextResult } from './judge.ts'
import { cannotInspect, denies, described, untold } from './refusal-text.ts'
import { NOTHING, scanTexts, TextsTooLarge } from './scan.ts'
import { keepDecision, usualDecision } from './usual-decision.ts'

/** What a decision is made of. */
export interface PolicyCall {
  readonly principal: Principal
  readonly route: Pick<Route, 'endpoint' | 'pathModel'>
  readonly facts: Facts
  readonly upstream: Upstream | null
  /** When the call arrived, milliseconds since 1970; what `time` is in expressions. */
  readonly wallMs: number
  /** What is unusual about it; absent is nothing. */
  readonly unusual?: readonly Unusual[]
  /** Tokens of its prompt as they were estimated; absent where they can be, from its texts. */
  readonly inputTokens?: number
  /** Asks services about its texts; absent where nobody is asked and nothing is found by them. */
  readonly ask?: AskExternal
}

/** The parts of a decision while policies are walked. */
interface Tally {
  readonly policies: PolicyResult[]
  readonly warnings: string[]
  denied: CompiledPolicy | null
  /** The denial is about a policy that could not be told. */
  isError: boolean
  failed: {
    readonly policy: CompiledPolicy
    readonly field: string
    readonly isError: boolean
  } | null
  allowed: CompiledPolicy | null
  /** An allow names the content that cannot be read. */
  allowsUnread: boolean
  /** Exceptions without which the call would have been refused or changed; null until there is one. */
  exceptions: UsedException[] | null
  /** Ids of policies that look at the answer. */
  answers: string[] | null
}

/** What all policies of a call share. */
interface Circumstances {
  readonly texts: TextResult
  /** Whether there is content that a policy on text cannot read and may not pass over. */
  readonly opaque: boolean
  readonly onError: 'allow' | 'deny'
}

const OPAQUE: Finding = { result: 'error', why: 'content that cannot be read' }
const UNASKED: Finding = { result: 'skipped', why: 'input.detect: not asked' }

/**
 * Decides one call. The order of policies does not matter: any deny denies, then any require that
 * does not hold, then content nobody can read where a text policy applies; else some allow allows, or
 * `defaults.decision` holds. Only which policy is named follows the order of the file. At once for
 * calls of ordinary size; a promise when their texts take more than about a millisecond, with turns of
 * the event loop in between. Never throws, never rejects: an error in a deny or require is
 * `defaults.onError`, and an allow that failed grants nothing. Services are asked, after everything
 * else, only where what they say can matter; then it rejects when `call.ask` does.
 */
export function evaluate(
  compiled: CompiledPolicies,
  call: PolicyCall,
): Decision | Promise<Decision> {
  const asked = new Asked(call, compiled.applicants)
  const { texts } = call.facts
  try {
    const searches = asked.readsText && compiled.texts.prefilter.mayMatch(texts.values, texts.whole)
    const decodes = asked.readsText && mayDecode(texts.values, texts.whole)
    const { detects } = asked
    if (!searches && !detects && !decodes) return undisturbed(compiled, call, asked)
    const scan = scanTexts(compiled.texts, texts.values, { detects, searches, decodes })
    const { done, value } = scan.next()
    if (done === true) return concluded(compiled, call, asked, value)
    return inTurns(scan)
      .catch(failure)
      .then((result) => concluded(compiled, call, asked, result))
  } catch (error) {
    return decide(compiled, call, asked, failure(error))
  }
}

/** Decides a call in whose texts nothing is, or that no policy reads. */
function undisturbed(
  compiled: CompiledPolicies,
  call: PolicyCall,
  asked: Asked,
): Decision | Promise<Decision> {
  const usual = usualDecision(asked, call.facts)
  if (usual !== null) return usual
  const decision = asked.readsText
    ? concluded(compiled, call, asked, NOTHING)
    : decide(compiled, call, asked, 'unread')
  return keepDecision(asked, call.facts, decision)
}

/** Ids of policies that look at the answer to such a call, whatever is decided of the call itself. */
export function answerPolicies(compiled: CompiledPolicies, call: PolicyCall): readonly string[] {
  const asked = new Asked(call, compiled.applicants)
  return tallied(call, asked, { texts: NOTHING, opaque: false, onError: 'deny' }).answers ?? []
}

/** Decides, with services where policies that can have a say depend on them. */
function concluded(
  compiled: CompiledPolicies,
  call: PolicyCall,
  asked: Asked,
  texts: TextResult,
): Decision | Promise<Decision> {
  const { ask } = call
  if (ask === undefined || typeof texts !== 'object') return decide(compiled, call, asked, texts)
  if (!asked.asksServices) return decide(compiled, call, asked, texts)
  const found = externalFound(compiled.texts.detectors, asked.applicants, texts)
  const open = asked.applicants.filter((applicant) => {
    // No text is sent to a service for a policy that is lifted.
    const isAsked =
      applicant.policy.external.length > 0 && liftedBy(applicant, call.wallMs) === null
    if (!isAsked) return false
    const without = judge(applicant, asked, texts)?.result
    // What it finds is to be masked, whatever else is.
    if (applicant.policy.verb === 'redact') return true
    return without !== judge(applicant, asked, found)?.result
  })
  if (open.length === 0) return decide(compiled, call, asked, texts)
  const rest = decide(compiled, call, asked.without(open), texts)
  const grants = open.some(({ policy }) => policy.verb === 'allow')
  if (rest.effect === 'deny' && (rest.policy !== null || !grants)) return skipping(rest, open)
  const ids = new Set(open.flatMap(({ policy }) => policy.external))
  return ask([...ids]).then((answers) => {
    const matches = new ExternalMatches(texts, compiled.texts.detectors, answers)
    return decide(compiled, call, asked, matches)
  })
}

function failure(error: unknown): 'failed' | 'large' {
  return error instanceof TextsTooLarge ? 'large' : 'failed'
}

function decide(
  { defaults }: CompiledPolicies,
  call: PolicyCall,
  asked: Asked,
  texts: TextResult,
): Decision {
  const { subject } = asked
  const opaque = isOpaque(call, texts === 'large', defaults.uninspectable)
  const tally = tallied(call, asked, { texts, opaque, onError: defaults.onError })
  const { denied, failed, allowed, exceptions } = tally
  const decision = (
    effect: Decision['effect'],
    policy: CompiledPolicy | null,
    message: string,
  ) => ({
    effect,
    policy: policy?.id ?? null,
    message: policy?.message ?? message,
    policies: tally.policies,
    warnings: tally.warnings,
    ...detectedIn(texts),
    ...(exceptions !== null && { exceptions }),
    ...(effect === 'allow' && tally.answers !== null && { answers: tally.answers }),
  })
  if (denied !== null && tally.isError)
    return { ...decision('deny', denied, ''), message: untold(denied) }
  if (denied !== null) return decision('deny', denied, denies(denied, subject))
  if (failed !== null) {
    const { policy, field, isError } = failed
    if (isError) return { ...decision('deny', policy, ''), message: untold(policy) }
    return decision('deny', policy, `Policy "${policy.id}" is not met: ${field}`)
  }
  const isAllowed = tally.allowsUnread && texts !== 'large'
  const unread = opaque && !isAllowed ? cannotInspect(call, asked, texts === 'large') : null
  if (unread !== null) return decision('deny', null, unread)
  if (allowed !== null) return { ...decision('allow', allowed, ''), message: '' }
  if (defaults.decision === 'allow') return decision('allow', null, '')
  return decision('deny', null, `No policy allows ${described(subject)}`)
}

/** Asks every policy that may have a say. */
function tallied(
  { wallMs }: PolicyCall,
  asked: Asked,
  { texts, opaque, onError }: Circumstances,
): Tally {
  const tally: Tally = {
    policies: [],
    warnings: [],
    denied: null,
    isError: false,
    failed: null,
    allowed: null,
    allowsUnread: false,
    exceptions: null,
    answers: null,
  }
  for (const applicant of asked.applicants) {
    const { policy } = applicant
    const finding = judgeAll(applicant, asked, texts)
    const exception = liftedBy(applicant, wallMs)
    if (exception !== null) {
      const lifted = finding ?? liftedUnseen(policy, opaque)
      if (lifted !== null) except(tally, policy, lifted, exception)
    } else if (finding !== null) {
      if (finding.opensAnswer === true) (tally.answers ??= []).push(policy.id)
      if (finding !== ANSWER) count(tally, policy, finding, onError)
    }
  }
  return tally
}

/** What is lifted of a policy that says nothing, because it was not asked or could not be. */
function liftedUnseen({ guardsText, external }: CompiledPolicy, opaque: boolean): Finding | null {
  if (opaque && guardsText) return OPAQUE
  return external.length > 0 ? UNASKED : null
}

function except(
  tally: Tally,
  { id, mode }: CompiledPolicy,
  { why }: Finding,
  exception: CompiledException,
): void {
  tally.policies.push({ id, mode, result: 'excepted', why, exception: exception.id })
  tally.exceptions ??= []
  if (!tally.exceptions.includes(exception)) tally.exceptions.push(exception)
}

/** What changes a call decides nothing about it. */
const CHANGES: ReadonlySet<PolicyResult['result']> = new Set(['redacted', 'set'])

/** Warn is for refusals: an allow in that mode allows. */
function count(
  tally: Tally,
  policy: CompiledPolicy,
  finding: Finding,
  onError: 'allow' | 'deny',
): void {
  const { result, why } = finding
  const { id, mode, verb } = policy
  tally.policies.push({ id, mode, result, why })
  if (mode === 'shadow' || CHANGES.has(result)) return
  if (verb === 'allow') {
    if (result === 'allowed') grant(tally, policy)
    return
  }
  if (result === 'error' && (finding.onError ?? onError) === 'allow') return
  if (mode === 'warn') tally.warnings.push(id)
  else if (verb === 'deny') deny(tally, policy, finding)
  else tally.failed ??= { policy, field: why, isError: finding.onError !== undefined }
}

function grant(tally: Tally, policy: CompiledPolicy): void {
  tally.allowed ??= policy
  tally.allowsUnread ||= policy.allowsUnread
}

/** A policy that matched is named before one that could not be told. */
function deny(tally: Tally, policy: CompiledPolicy, { onError }: Finding): void {
  const isError = onError !== undefined
  if (tally.denied !== null && (isError || !tally.isError)) return
  tally.denied = policy
  tally.isError = isError
}

function detectedIn(texts: TextResult): Pick<Decision, 'detected'> {
  if (typeof texts !== 'object' || texts === NOTHING) return {}
  const { counts } = texts.detections
  return Object.keys(counts).length === 0 ? {} : { detected: counts }
}
