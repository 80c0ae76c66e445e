import type { PolicyResult } from '../exchange.ts'
import { estimateTokens } from '../nouns/token-estimate.ts'
import type { Applicant, Applicants } from './applicants.ts'
import type { CompiledSelectors } from './compile.ts'
import type { PolicyCall } from './evaluate.ts'
import { expressionFacts, type ExpressionFacts } from './expression-facts.ts'
import type { Expression } from './expression.ts'
import { kindsOf, type Subject } from './selectors.ts'

/** What one policy says of one call; null when it says nothing. */
export interface Finding {
  readonly result: PolicyResult['result']
  readonly why: string
  /** What an error means, where that is not `defaults.onError`. */
  readonly onError?: 'allow' | 'deny'
  /** The policy is to look at the answer. */
  readonly opensAnswer?: true
}

/** Whether a call carries content that a policy on text cannot read and may not pass over. */
export function isOpaque(
  { facts }: PolicyCall,
  isLarge: boolean,
  setting: 'allow' | 'deny',
): boolean {
  return isLarge || (facts.uninspectable.length > 0 && setting === 'deny')
}

/** Whom and what a call is about. */
export function subjectOf({ principal, route, facts, upstream }: PolicyCall): Subject {
  const { pathModel, endpoint } = route
  const models =
    pathModel === null || facts.models.includes(pathModel)
      ? facts.models
      : [...facts.models, pathModel]
  const subject = {
    principal,
    operation: endpoint.operation,
    models,
    upstream: upstream?.name ?? null,
  }
  const unread = facts.uninspectable
  return unread.length === 0 ? subject : { ...subject, uninspectable: kindsOf(unread) }
}

/** What policies ask of one call; each expression is evaluated when it is asked for, once. */
export class Asked {
  readonly subject: Subject
  /** Policies of which everything but the input says that they have a say; what cannot be told may say so. */
  readonly applicants: readonly Applicant[]
  readonly readsText: boolean
  readonly detects: boolean
  /** `applicants` are those of all calls of this caller and kind. */
  readonly isUsual: boolean
  readonly #call: PolicyCall
  readonly #all: Applicants
  #told: Map<Expression, boolean | string> | null = null
  #facts: ExpressionFacts | null = null
  #inputTokens: number | null = null

  constructor(call: PolicyCall, all: Applicants, without: readonly Applicant[] = []) {
    this.#call = call
    this.#all = all
    this.subject = subjectOf(call)
    const found = all.of(this.subject)
    const applicants =
      without.length === 0 ? found : found.filter((each) => !without.includes(each))
    const isPlain = applicants.every(
      ({ policy }) => policy.for.when === null && policy.own.when === null,
    )
    this.applicants = isPlain ? applicants : applicants.filter((each) => this.#maySay(each))
    this.isUsual = isPlain && without.length === 0
    this.readsText = this.applicants.some(({ policy }) => policy.readsText)
    this.detects = this.applicants.some(({ policy }) => policy.detects)
  }

  /** Length of the prompt, UTF-16 units. */
  get inputChars(): number {
    return this.#call.facts.inputChars
  }

  /** Length of the prompt in tokens, as far as can be told before anybody counted. */
  get inputTokens(): number {
    this.#inputTokens ??= this.#call.inputTokens ?? estimateTokens(this.#call.facts)
    return this.#inputTokens
  }

  /** Whether one of the policies is about what a service finds. */
  get asksServices(): boolean {
    return this.applicants.some(({ policy }) => policy.external.length > 0)
  }

  /** The same call, as if some of its policies were not there. */
  without(some: readonly Applicant[]): Asked {
    return new Asked(this.#call, this.#all, some)
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
