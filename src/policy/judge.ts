import type { Applicant } from './applicants.ts'
import type { Asked, Finding } from './asked.ts'
import type { CompiledPolicy, CompiledSelectors } from './compile.ts'
import { ExternalMatches } from './external/external-matches.ts'
import type { TextMatches } from './scan.ts'

/** What one policy says of one call. */

/** What the texts held; `failed` when they could not be read to the end, `large` when they grow too far. */
export type TextResult = TextMatches | 'unread' | 'failed' | 'large'

const FAILED: Finding = { result: 'error', why: 'the texts could not be matched' }
/** Nothing was found in the call itself. Where an exception lifts it, nobody knows what would have been. */
export const ANSWER: Finding = { result: 'redacted', why: 'output', opensAnswer: true }

const CHANGING: ReadonlySet<CompiledPolicy['verb']> = new Set(['redact', 'set'])
/** Where a service failed, what it would have said matters only to policies that would say otherwise. */
export function judgeAll(applicant: Applicant, asked: Asked, texts: TextResult): Finding | null {
  const finding = judge(applicant, asked, texts)
  const { external } = applicant.policy
  if (external.length === 0 || !(texts instanceof ExternalMatches)) return finding
  const failed = texts.failureOf(external)
  if (failed === null) return finding
  const supposed = judge(applicant, asked, texts.supposing())
  if (supposed?.result === finding?.result) return finding
  return { result: 'error', why: `input.detect: ${failed.failed}`, onError: failed.onError }
}

/** What a `require` says, of which the first `field` beside its expression that fails is known. */
function unmet(own: CompiledSelectors, field: string | null, asked: Asked): Finding | null {
  if (field !== null) return { result: 'failed', why: field }
  const holds = asked.holds(own)
  return holds === false ? { result: 'failed', why: 'expression' } : asked.error(own)
}

/** An expression that cannot be told is an error only where everything else matches. */
export function judge(
  { policy, unmet: field }: Applicant,
  asked: Asked,
  texts: TextResult,
): Finding | null {
  if (texts === 'failed' && policy.readsText) return FAILED
  const { for: narrowed, own, verb } = policy
  if (inputFails(narrowed, asked, texts, false) !== null) return null
  if (verb === 'require') {
    const failing = field ?? inputFails(own, asked, texts, false)
    return heldOver(policy, asked.error(narrowed) ?? unmet(own, failing, asked))
  }
  if (CHANGING.has(verb)) return heldOver(policy, changing(policy, texts, asked))
  if (inputFails(own, asked, texts, verb === 'deny') !== null) return null
  const error = asked.error(narrowed) ?? asked.error(own)
  return policy.looksAtAnswer ? heldOver(policy, error) : (error ?? matched(policy, texts))
}

function matched(policy: CompiledPolicy, texts: TextResult): Finding {
  const result = policy.verb === 'allow' ? 'allowed' : 'denied'
  return { result, why: whyOf(policy, texts) }
}

/** Of a policy on the answer everything else holds: it is asked again when there is one. */
function heldOver({ looksAtAnswer }: CompiledPolicy, finding: Finding | null): Finding | null {
  if (!looksAtAnswer) return finding
  if (finding === null) return ANSWER
  return finding.result === 'redacted' ? { ...finding, opensAnswer: true } : finding
}

/** Names of what a `set` is about; whether it changes them is told when the call is edited. */
function parametersOf({ settings }: CompiledPolicy): string {
  return settings.map(({ parameter }) => parameter).join(', ')
}

/** What a verb says that changes the call: of a `redact` each field is looked for by itself. */
function changing(policy: CompiledPolicy, texts: TextResult, asked: Asked): Finding | null {
  if (policy.verb === 'set') {
    return asked.error(policy.for) ?? { result: 'set', why: parametersOf(policy) }
  }
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

/** The first part of `input` that does not match. A deny is about what exceeds, all else about what is within. */
function inputFails(
  selectors: CompiledSelectors,
  asked: Asked,
  texts: TextResult,
  exceeding: boolean,
): string | null {
  const { charsMax, tokensMax } = selectors
  if (charsMax !== null && asked.inputChars > charsMax !== exceeding) return 'input.max_chars'
  if (tokensMax !== null && asked.inputTokens > tokensMax !== exceeding) return 'input.max_tokens'
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
