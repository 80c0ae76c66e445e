import { estimateTokens } from '../nouns/token-estimate.ts'
import { subjectOf } from './asked.ts'
import type { CompiledPolicies, CompiledPolicy, CompiledSelectors } from './compile.ts'
import type { PolicyCall } from './evaluate.ts'
import type { CompiledException } from './exceptions.ts'
import { conclude, type Opaque } from './explain-verdict.ts'
import { expressionFacts, type ExpressionFacts } from './expression-facts.ts'
import type { TextMatches } from './scan.ts'
import type { Subject } from './selectors.ts'
import type { TextRules } from './text-rules.ts'

/**
 * What `evaluate` does not say: why a policy did not match, and what can still be told of a call whose
 * texts are gone. Every condition is yes, no or unknown; a no beats an unknown. Not on the path of a
 * call, so it may look at every field of every policy.
 */

/**
 * `skipped`: `for` is about other calls. `error`: an expression could not be evaluated. For `require`,
 * `matched` is not met and `not matched` holds.
 */
export type Finding = 'matched' | 'not matched' | 'skipped' | 'unknown' | 'error'

/** What one policy makes of a call. */
export interface ExplainedPolicy {
  readonly policy: CompiledPolicy
  readonly finding: Finding
  /** The field that did not match, is not met, is unknown or failed; '' when all matched. */
  readonly field: string
  /** What a `redact` found could not be masked, so that it refused. */
  readonly isUnmasked?: true
  /** Id of the exception that lifts it where it would refuse; null when none does. */
  readonly exception: string | null
}

/** What all of them make of it. */
export interface Explanation {
  readonly effect: 'allow' | 'deny' | 'unknown'
  /** Who decides, as in a `Decision`; null when nobody does. */
  readonly policy: string | null
  /** False when a policy that is unknown could be the one that is named. */
  readonly named: boolean
  /** Where `effect` is unknown, the first policy in the way. */
  readonly unknown: string | null
  /** Ids of policies in mode warn that would have refused. */
  readonly warnings: readonly string[]
  readonly policies: readonly ExplainedPolicy[]
}

/** What is known of a call beside `PolicyCall`. */
export interface Knowledge {
  /** What the texts held; null when they are gone. */
  readonly texts: TextMatches | null
  /** Detectors known to have found something where the texts are gone; others may have, too. */
  readonly detected: ReadonlySet<string>
  /** Fields that are known in part only, in the words of the file. */
  readonly partial: ReadonlySet<string>
  /** Whether a policy of the same rule matched when the call was made; null when nobody can say. */
  readonly matched: (policy: CompiledPolicy) => boolean | null
  /** Whether a `redact` of the same rule refused the call because it could not mask it. */
  readonly unmasked?: (policy: CompiledPolicy) => boolean
}

/** Everything is known: a call that is described, not remembered. */
export function knowing(texts: TextMatches): Knowledge {
  return { texts, detected: new Set(), partial: new Set(), matched: () => null }
}

/** Yes has no field; every other names its own. */
interface Answer {
  readonly is: 'yes' | 'no' | 'unknown' | 'error'
  readonly field: string
}

const YES: Answer = { is: 'yes', field: '' }

/** Explains one call. Never throws. */
export function explain(
  { policies, defaults, texts }: CompiledPolicies,
  call: PolicyCall,
  knowledge: Knowledge,
): Explanation {
  const view = new View(call, knowledge, texts)
  const explained = policies.map((policy) => {
    return excepted(recalled(judge(policy, view), view), view)
  })
  const opaque =
    defaults.uninspectable === 'allow' || call.facts.uninspectable.length === 0
      ? 'no'
      : allowedUnread(explained, opaqueness(policies, view))
  return conclude(explained, opaque, defaults)
}

/** One call, and what is known of it. */
class View {
  readonly subject: Subject
  /** When the call was made, milliseconds since 1970. */
  readonly wallMs: number
  readonly knowledge: Knowledge
  readonly #call: PolicyCall
  readonly #rules: TextRules
  #facts: ExpressionFacts | null = null

  constructor(call: PolicyCall, knowledge: Knowledge, rules: TextRules) {
    this.#rules = rules
    this.subject = subjectOf(call)
    this.wallMs = call.wallMs
    this.knowledge = knowledge
    this.#call = call
  }

  get inputChars(): number {
    return this.#call.facts.inputChars
  }

  /** Null of a recorded call whose entry does not say it, and whose text is gone. */
  get inputTokens(): number | null {
    const { inputTokens, facts } = this.#call
    if (inputTokens !== undefined) return inputTokens
    return this.knowledge.texts === null ? null : estimateTokens(facts)
  }

  /** Whether one of these detectors is known to have found something. */
  detected(indexes: readonly number[]): boolean {
    return indexes.some((index) => {
      return this.knowledge.detected.has(this.#rules.detectors[index]?.id ?? '')
    })
  }

  expression({ when }: CompiledSelectors): Answer {
    if (when === null) return YES
    // Which fields it reads is not asked: one that is known in part could be among them.
    if (this.knowledge.partial.size > 0) return { is: 'unknown', field: 'expression' }
    this.#facts ??= expressionFacts(this.#call)
    const told = when.holds(this.#facts)
    if (told === true) return YES
    return told === false
      ? { is: 'no', field: 'expression' }
      : { is: 'error', field: `expression: ${told}` }
  }
}

/** Of a policy about answers, where the call itself says no more. */
const ANSWER_DECIDES = 'output: decided by the answer'

/** Before exceptions were looked at. */
type Judged = Omit<ExplainedPolicy, 'exception'>

function judge(policy: CompiledPolicy, view: View): Judged {
  const scope = part(policy.for, view, false)
  if (scope.is === 'no') return { policy, finding: 'skipped', field: `for.${scope.field}` }
  const own =
    policy.verb === 'redact'
      ? maskedFields(policy.own, view)
      : part(policy.own, view, policy.verb === 'deny')
  if (policy.looksAtAnswer && policy.verb === 'deny' && own.is === 'yes') {
    return { policy, finding: 'not matched', field: ANSWER_DECIDES }
  }
  const matches = policy.verb === 'require' ? opposite(own) : own.is
  const found = weigh(scope.is, matches, policy.verb)
  const isScope = found !== 'not matched' && scope.is !== 'yes' && scope.is === found
  return { policy, finding: found, field: isScope ? `for.${scope.field}` : own.field }
}

/** What `for` and the verb say together; a no of either beats everything else. */
function weigh(scope: Answer['is'], own: Answer['is'], verb: CompiledPolicy['verb']): Finding {
  // A require whose `for` fails is an error whatever it demands, as in `evaluate`.
  if (scope === 'error' && verb === 'require') return 'error'
  if (own === 'no') return 'not matched'
  if (scope === 'unknown' || own === 'unknown') return 'unknown'
  return scope === 'error' || own === 'error' ? 'error' : 'matched'
}

function opposite({ is }: Answer): Answer['is'] {
  if (is === 'yes') return 'no'
  return is === 'no' ? 'yes' : is
}

/** The same rule was asked about the same call before, when the texts were there. */
function recalled(explained: Judged, view: View): Judged {
  const { policy, finding } = explained
  const found = finding === 'unknown' || finding === 'matched'
  if (found && view.knowledge.unmasked?.(policy) === true) {
    return { ...explained, finding: 'matched', isUnmasked: true }
  }
  if (finding !== 'unknown') return explained
  const matched = view.knowledge.matched(explained.policy)
  if (matched === null) return explained
  return { ...explained, finding: matched ? 'matched' : 'not matched' }
}

/** Names the exception that lifts a policy; a finding that one may lift is unknown. */
function excepted(judged: Judged, view: View): ExplainedPolicy {
  const { policy, finding, field } = judged
  const opens = finding === 'not matched' && field === ANSWER_DECIDES
  const saysNothing = !opens && (finding === 'not matched' || finding === 'skipped')
  const lifted = saysNothing ? 'no' : liftedBy(policy, view)
  if (lifted === 'unknown')
    return { policy, finding: 'unknown', field: 'exceptions', exception: null }
  return { ...judged, exception: lifted === 'no' ? null : lifted.id }
}

/** The exception that holds for a call, as in `evaluate`. */
function liftedBy(
  { exceptions, mode }: CompiledPolicy,
  view: View,
): CompiledException | 'no' | 'unknown' {
  if (exceptions.length === 0 || mode === 'shadow') return 'no'
  const holding = exceptions.filter(({ expiresMs }) => view.wallMs < expiresMs)
  const answers = holding.map((each) => callFields(each, view).is)
  const found = holding[answers.indexOf('yes')]
  return found ?? (answers.includes('unknown') ? 'unknown' : 'no')
}

/** The first no; else the first unknown; else an error; else yes. */
function part(selectors: CompiledSelectors, view: View, exceeding: boolean): Answer {
  const call = callFields(selectors, view)
  if (call.is === 'no') return call
  const input = inputFields(selectors, view, exceeding)
  if (input.is === 'no') return input
  const expression = view.expression(selectors)
  if (expression.is === 'no') return expression
  const answers = [call, input, expression]
  return answers.find(({ is }) => is === 'unknown') ?? expression
}

function callFields(
  { test }: Pick<CompiledSelectors, 'test'>,
  { subject, knowledge }: View,
): Answer {
  const { partial } = knowledge
  if (partial.size === 0) {
    const field = test.fails(subject)
    return field === null ? YES : { is: 'no', field }
  }
  let unknown = YES
  for (const [field, matches] of test.tests) {
    if (partial.has(field)) unknown = unknown.is === 'yes' ? { is: 'unknown', field } : unknown
    else if (!matches(subject)) return { is: 'no', field }
  }
  return unknown
}

function inputFields(selectors: CompiledSelectors, view: View, exceeding: boolean): Answer {
  const { charsMax, tokensMax, detect } = selectors
  const { texts } = view.knowledge
  if (charsMax !== null && view.inputChars > charsMax !== exceeding) {
    return { is: 'no', field: 'input.max_chars' }
  }
  if (tokensMax !== null) {
    const { inputTokens } = view
    if (inputTokens === null) return { is: 'unknown', field: 'input.max_tokens' }
    if (inputTokens > tokensMax !== exceeding) return { is: 'no', field: 'input.max_tokens' }
  }
  const field = texts === null ? lookedFor(selectors) : notFound(selectors, texts)
  if (field === null) return YES
  if (texts !== null) return { is: 'no', field }
  const found = field === 'input.detect' && detect !== null && view.detected(detect)
  return found ? YES : { is: 'unknown', field }
}

/** What a `redact` looks for, each field by itself: one that found something is enough. */
function maskedFields(selectors: CompiledSelectors, view: View): Answer {
  const { pattern, words, detect } = selectors
  const { texts } = view.knowledge
  const field = lookedFor(selectors)
  if (field === null) return { is: 'no', field: ANSWER_DECIDES }
  if (texts === null) {
    return detect !== null && view.detected(detect) ? YES : { is: 'unknown', field }
  }
  const found =
    (pattern !== null && texts.pattern(pattern)) ||
    (words !== null && texts.words(words)) ||
    (detect !== null && texts.detectedAny(detect))
  return found ? YES : { is: 'no', field }
}

/** The first field that looks at texts. */
function lookedFor({ pattern, words, detect }: CompiledSelectors): string | null {
  if (pattern !== null) return 'input.matches'
  if (words !== null) return 'input.words'
  return detect === null ? null : 'input.detect'
}

function notFound(
  { pattern, words, detect }: CompiledSelectors,
  texts: TextMatches,
): string | null {
  if (pattern !== null && !texts.pattern(pattern)) return 'input.matches'
  if (words !== null && !texts.words(words)) return 'input.words'
  return detect === null || texts.detectedAny(detect) ? null : 'input.detect'
}

/** Whether content that nobody can read meets a policy on text, by everything but that text. */
function opaqueness(policies: readonly CompiledPolicy[], view: View): Opaque {
  let answer: Opaque = 'no'
  for (const policy of policies) {
    const { guardsText, verb } = policy
    const lifted = guardsText ? liftedBy(policy, view) : 'no'
    if (!guardsText || typeof lifted === 'object') continue
    const parts = verb === 'require' ? [policy.for] : [policy.for, policy.own]
    const answers = parts.flatMap((each) => [callFields(each, view).is, view.expression(each).is])
    // What cannot be told may apply.
    const applies = answers.every((is) => is === 'yes' || is === 'error')
    if (applies && lifted === 'no') return 'yes'
    if (!answers.includes('no')) answer = 'unknown'
  }
  return answer
}

/** An allow that names the content lets it pass; one that is unknown may. */
function allowedUnread(policies: readonly ExplainedPolicy[], opaque: Opaque): Opaque {
  const allows = policies.filter(({ policy }) => policy.allowsUnread && policy.mode !== 'shadow')
  if (allows.some(({ finding }) => finding === 'matched')) return 'no'
  return opaque === 'yes' && allows.some(({ finding }) => finding === 'unknown')
    ? 'unknown'
    : opaque
}

/** Says in words why a policy was found so; the fields, never the text. */
export function whyText({ exception, ...explained }: ExplainedPolicy): string {
  const why = findingText(explained)
  return exception === null ? why : `lifted by ${exception}: ${why}`
}

function findingText({ policy, finding, field, isUnmasked }: Judged): string {
  if (isUnmasked === true) return 'could not be masked'
  if (finding === 'error') return `could not be evaluated: ${field}`
  if (finding === 'skipped') return `not about this call: ${field}`
  if (policy.verb === 'require') {
    if (finding === 'matched') return `not met: ${field}`
    if (finding === 'not matched') return 'it holds'
  }
  if (finding === 'matched') return policy.fields
  if (finding === 'not matched') return field
  return `${field}: was not recorded`
}
