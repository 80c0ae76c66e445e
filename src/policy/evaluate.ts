import type { Snapshot } from '../config/snapshot.ts'
import type {
  Decision,
  Facts,
  PolicyResult,
  Principal,
  Route,
  Upstream,
  UsedException,
} from '../exchange.ts'
import { inTurns } from '../turns.ts'
import type { Applicant, Applicants } from './applicants.ts'
import type { CompiledPolicies, CompiledPolicy, CompiledSelectors } from './compile.ts'
import { type CompiledException, holding } from './exceptions.ts'
import { expressionFacts, type ExpressionFacts } from './expression-facts.ts'
import { type Expression } from './expression.ts'
import { NOTHING, scanTexts, type TextMatches, TextsTooLarge } from './scan.ts'
import type { Subject } from './selectors.ts'

/** What a decision is made of. */
export interface PolicyCall {
  readonly principal: Principal
  readonly route: Pick<Route, 'endpoint' | 'pathModel'>
  readonly facts: Facts
  readonly upstream: Upstream | null
  /** When the call arrived, milliseconds since 1970; what `time` is in expressions. */
  readonly wallMs: number
}

/** What the texts held; `failed` when they could not be read to the end, `large` when they grow too far. */
type TextResult = TextMatches | 'unread' | 'failed' | 'large'

/** What one policy says of one call; null when it says nothing. */
interface Finding {
  readonly result: PolicyResult['result']
  readonly why: string
}

/** The parts of a decision while policies are walked. */
interface Tally {
  readonly policies: PolicyResult[]
  readonly warnings: string[]
  denied: CompiledPolicy | null
  failed: { readonly policy: CompiledPolicy; readonly field: string } | null
  allowed: CompiledPolicy | null
  /** Exceptions without which the call would have been refused or changed; null until there is one. */
  exceptions: UsedException[] | null
}

/** What all policies of a call share. */
interface Circumstances {
  readonly texts: TextResult
  /** Whether there is content that a policy on text cannot read and may not pass over. */
  readonly opaque: boolean
  readonly onError: 'allow' | 'deny'
}

const TOO_LARGE = 'A policy on text applies and these texts are too large once they are normalised'
const FAILED: Finding = { result: 'error', why: 'the texts could not be matched' }
const OPAQUE: Finding = { result: 'error', why: 'content that cannot be read' }

/**
 * Decides one call. The order of policies does not matter: any deny denies, then any require that
 * does not hold, then content nobody can read where a text policy applies; else some allow allows, or
 * `defaults.decision` holds. Only which policy is named follows the order of the file. At once for
 * calls of ordinary size; a promise when their texts take more than about a millisecond, with turns of
 * the event loop in between. Never throws, never rejects: an error in a deny or require is
 * `defaults.onError`, and an allow that failed grants nothing.
 */
export function evaluate(
  compiled: CompiledPolicies,
  call: PolicyCall,
): Decision | Promise<Decision> {
  const asked = new Asked(call, compiled.applicants)
  if (!asked.readsText) return decide(compiled, call, asked, 'unread')
  const { texts } = call.facts
  try {
    const searches = compiled.texts.prefilter.mayMatch(texts.values, texts.whole)
    if (!searches && !asked.detects) return decide(compiled, call, asked, NOTHING)
    const scan = scanTexts(compiled.texts, texts.values, asked.detects, searches)
    const { done, value } = scan.next()
    if (done === true) return decide(compiled, call, asked, value)
    return inTurns(scan)
      .catch(failure)
      .then((result) => decide(compiled, call, asked, result))
  } catch (error) {
    return decide(compiled, call, asked, failure(error))
  }
}

function failure(error: unknown): 'failed' | 'large' {
  return error instanceof TextsTooLarge ? 'large' : 'failed'
}

function subjectOf({ principal, route, facts, upstream }: PolicyCall): Subject {
  const { pathModel, endpoint } = route
  const models =
    pathModel === null || facts.models.includes(pathModel)
      ? facts.models
      : [...facts.models, pathModel]
  return { principal, operation: endpoint.operation, models, upstream: upstream?.name ?? null }
}

/** What policies ask of one call; each expression is evaluated when it is asked for, once. */
class Asked {
  readonly subject: Subject
  /** Policies of which everything but the input says that they have a say; what cannot be told may say so. */
  readonly applicants: readonly Applicant[]
  readonly readsText: boolean
  readonly detects: boolean
  readonly #call: PolicyCall
  #told: Map<Expression, boolean | string> | null = null
  #facts: ExpressionFacts | null = null

  constructor(call: PolicyCall, all: Applicants) {
    this.#call = call
    this.subject = subjectOf(call)
    const applicants = all.of(this.subject)
    const isPlain = applicants.every(
      ({ policy }) => policy.for.when === null && policy.own.when === null,
    )
    this.applicants = isPlain ? applicants : applicants.filter((each) => this.#maySay(each))
    this.readsText = this.applicants.some(({ policy }) => policy.readsText)
    this.detects = this.applicants.some(({ policy }) => policy.detects)
  }

  #maySay({ policy }: Applicant): boolean {
    if (this.holds(policy.for) === false) return false
    return policy.verb === 'require' || this.holds(policy.own) !== false
  }

  /** A string says why it cannot be told; no expression holds. */
  holds({ when }: CompiledSelectors): boolean | string {
    if (when === null) return true
    const known = this.#told?.get(when)
    if (known !== undefined) return known
    this.#facts ??= expressionFacts(this.#call)
    const told = when.holds(this.#facts)
    this.#told ??= new Map()
    this.#told.set(when, told)
    return told
  }

  /** The finding of a policy whose expression cannot be told. */
  error(selectors: CompiledSelectors): Finding | null {
    const told = this.holds(selectors)
    return typeof told === 'string' ? { result: 'error', why: `expression: ${told}` } : null
  }
}

function decide(
  { defaults }: CompiledPolicies,
  call: PolicyCall,
  asked: Asked,
  texts: TextResult,
): Decision {
  const { subject } = asked
  const opaque = isOpaque(call.facts, texts, defaults.uninspectable)
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
  })
  if (denied !== null) return decision('deny', denied, denies(denied, subject))
  if (failed !== null) {
    const message = `Policy "${failed.policy.id}" is not met: ${failed.field}`
    return decision('deny', failed.policy, message)
  }
  const unread = opaque ? cannotInspect(call, asked, texts) : null
  if (unread !== null) return decision('deny', null, unread)
  if (allowed !== null) return { ...decision('allow', allowed, ''), message: '' }
  if (defaults.decision === 'allow') return decision('allow', null, '')
  return decision('deny', null, `No policy allows ${described(subject)}`)
}

/** Asks every policy that may have a say. */
function tallied(
  { facts, wallMs }: PolicyCall,
  asked: Asked,
  { texts, opaque, onError }: Circumstances,
): Tally {
  const tally: Tally = {
    policies: [],
    warnings: [],
    denied: null,
    failed: null,
    allowed: null,
    exceptions: null,
  }
  for (const applicant of asked.applicants) {
    const { policy } = applicant
    const finding = judge(applicant, facts.inputChars, asked, texts)
    const exception = liftedBy(applicant, wallMs)
    if (exception !== null) {
      const lifted = finding ?? (opaque && policy.guardsText ? OPAQUE : null)
      if (lifted !== null) except(tally, policy, lifted, exception)
    } else if (finding !== null) count(tally, policy, finding, onError)
  }
  return tally
}

/** What is in shadow decides nothing that could be lifted. */
function liftedBy({ policy, exceptions }: Applicant, wallMs: number): CompiledException | null {
  return exceptions === null || policy.mode === 'shadow' ? null : holding(exceptions, wallMs)
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

/** Warn is for refusals: an allow in that mode allows. */
function count(
  tally: Tally,
  policy: CompiledPolicy,
  { result, why }: Finding,
  onError: 'allow' | 'deny',
): void {
  const { id, mode, verb } = policy
  tally.policies.push({ id, mode, result, why })
  if (mode === 'shadow' || result === 'redacted') return
  if (verb === 'allow') {
    if (result === 'allowed') tally.allowed ??= policy
    return
  }
  if (result === 'error' && onError === 'allow') return
  if (mode === 'warn') tally.warnings.push(id)
  else if (verb === 'deny') tally.denied ??= policy
  else tally.failed ??= { policy, field: why }
}

/** What a `require` says, of which the first `field` beside its expression that fails is known. */
function unmet(own: CompiledSelectors, field: string | null, asked: Asked): Finding | null {
  if (field !== null) return { result: 'failed', why: field }
  const holds = asked.holds(own)
  return holds === false ? { result: 'failed', why: 'expression' } : asked.error(own)
}

/** An expression that cannot be told is an error only where everything else matches. */
function judge(
  { policy, unmet: field }: Applicant,
  inputChars: number,
  asked: Asked,
  texts: TextResult,
): Finding | null {
  if (texts === 'failed' && policy.readsText) return FAILED
  const { for: narrowed, own, verb } = policy
  if (inputFails(narrowed, inputChars, texts, false) !== null) return null
  if (verb === 'require') {
    const failing = field ?? inputFails(own, inputChars, texts, false)
    return asked.error(narrowed) ?? unmet(own, failing, asked)
  }
  if (verb === 'redact') return masked(policy, texts, asked)
  if (inputFails(own, inputChars, texts, verb === 'deny') !== null) return null
  const result = verb === 'allow' ? 'allowed' : 'denied'
  return asked.error(narrowed) ?? asked.error(own) ?? { result, why: whyOf(policy, texts) }
}

/** What a `redact` says: each of its fields is looked for by itself. */
function masked(policy: CompiledPolicy, texts: TextResult, asked: Asked): Finding | null {
  const why = typeof texts === 'object' ? foundIn(policy.own, texts) : ''
  if (why === '') return null
  return asked.error(policy.for) ?? { result: 'redacted', why }
}

/** The fields of a `redact` that found something; '' when none did. */
function foundIn({ pattern, words, detect }: CompiledSelectors, texts: TextMatches): string {
  const fields: string[] = []
  if (pattern !== null && texts.pattern(pattern)) fields.push('input.matches')
  if (words !== null && texts.words(words)) fields.push('input.words')
  const detected = texts.detections.among(detect ?? [])
  if (detected.length > 0) fields.push(`input.detect: ${[...new Set(detected)].join(' ')}`)
  return fields.join(', ')
}

/** The fields that matched; of detectors, which of them found something. */
function whyOf({ fields, detects, for: narrowed, own }: CompiledPolicy, texts: TextResult): string {
  if (!detects || typeof texts !== 'object') return fields
  const among = texts.detections.among([...(narrowed.detect ?? []), ...(own.detect ?? [])])
  return fields.replace('input.detect', `input.detect: ${[...new Set(among)].join(' ')}`)
}

function detectedIn(texts: TextResult): Pick<Decision, 'detected'> {
  if (typeof texts !== 'object' || texts === NOTHING) return {}
  const { counts } = texts.detections
  return Object.keys(counts).length === 0 ? {} : { detected: counts }
}

/** The first part of `input` that does not match. A deny is about what exceeds, all else about what is within. */
function inputFails(
  selectors: CompiledSelectors,
  inputChars: number,
  texts: TextResult,
  exceeding: boolean,
): string | null {
  const { charsMax } = selectors
  if (charsMax !== null && inputChars > charsMax !== exceeding) return 'input.max_chars'
  return notFound(selectors, typeof texts === 'object' ? texts : null)
}

/** The first field about texts of which nothing was found; all of them when they were not read. */
function notFound(
  { pattern, words, detect }: CompiledSelectors,
  texts: TextMatches | null,
): string | null {
  if (pattern !== null && texts?.pattern(pattern) !== true) return 'input.matches'
  if (words !== null && texts?.words(words) !== true) return 'input.words'
  if (detect !== null && texts?.detectedAny(detect) !== true) return 'input.detect'
  return null
}

/** Longest part of a caller's own text in a message. */
const QUOTED_MAX = 100

/** Names what was refused by the field that did; never the text that matched. */
function denies({ id, own, for: narrowed, readsText }: CompiledPolicy, subject: Subject): string {
  const fields = [...narrowed.test.fields, ...own.test.fields]
  if (readsText) return `Policy "${id}" denies this input`
  if (fields.includes('models')) return `Policy "${id}" denies ${modelsOf(subject)}`
  if (fields.includes('operations')) return `Policy "${id}" denies operation ${subject.operation}`
  return `Policy "${id}" denies this call`
}

function described(subject: Subject): string {
  const operation = `operation ${subject.operation}`
  return subject.models.length === 0 ? operation : `${operation} with ${modelsOf(subject)}`
}

function modelsOf({ models }: Subject): string {
  return models.length === 0 ? 'a call without a model' : `model ${models.map(quoted).join(', ')}`
}

/** Whether a policy on text would meet what it cannot read. */
function isOpaque(
  { uninspectable }: Facts,
  texts: TextResult,
  setting: Snapshot['defaults']['uninspectable'],
): boolean {
  return texts === 'large' || (uninspectable.length > 0 && setting === 'deny')
}

/** What nobody can read where a policy on text applies, in words; null when no such policy does. */
function cannotInspect(
  { facts, wallMs }: PolicyCall,
  asked: Asked,
  texts: TextResult,
): string | null {
  const guards = (each: Applicant) => each.policy.guardsText && liftedBy(each, wallMs) === null
  if (!asked.applicants.some(guards)) return null
  if (texts === 'large') return TOO_LARGE
  const [first] = facts.uninspectable
  const what = `${first?.kind ?? 'content'} at ${quoted(first?.pointer ?? '')}`
  return `A policy on text applies and this content cannot be read: ${what}`
}

/** Text of a caller in our message: plain ASCII, cut. */
function quoted(text: string): string {
  return text.slice(0, QUOTED_MAX).replace(/[^\x20-\x7e]/g, '?')
}
