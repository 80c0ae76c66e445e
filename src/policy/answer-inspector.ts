import { GovernorError } from '../errors.ts'
import type { PolicyResult } from '../exchange.ts'
import { TokenCounter } from '../nouns/token-estimate.ts'
import { nameOf, OutputChannel } from './output-channel.ts'
import { findPlaces, type Found } from './output-find.ts'
import type { OutputPolicy, OutputRules } from './output-rules.ts'

/** Puts `placeholder` in place of a part of a text, UTF-16 units, end exclusive. */
export interface Cut {
  readonly start: number
  readonly end: number
  readonly placeholder: string
  /** The policy that wants it. */
  readonly policy: string
}

/** Gives equal values equal placeholders, `[EMAIL_1]`, numbered as they first appear. */
export interface Placeholders {
  of(label: string, value: string): string
}

const CLEAN_CHARS_MAX = 64
const CLEAN_MAX = 4096
/** Values told apart when they are counted. */
const VALUES_MAX = 10_000
const NO_CUTS: readonly Cut[] = []

/** What is asked of one answer by the policies that are about its call, and what they found. */
export class AnswerInspector {
  readonly #rules: OutputRules
  readonly #policies: readonly OutputPolicy[]
  readonly #placeholders: Placeholders
  readonly #seen = new Set<string>()
  readonly #values = new Set<string>()
  readonly #counts = new Map<string, number>()
  readonly #results = new Map<string, PolicyResult>()
  readonly #tokens = new TokenCounter()
  #chars = 0
  #refusal: { readonly policy: string; readonly message: string } | null = null

  /** `ids` are those of `Decision.answers`. */
  constructor(rules: OutputRules, ids: readonly string[], placeholders: Placeholders) {
    this.#rules = rules
    this.#policies = ids.flatMap((id) => rules.policies.get(id) ?? [])
    this.#placeholders = placeholders
  }

  /** Whether something here can refuse or change; else an answer is looked at and passes as it is. */
  get enforces(): boolean {
    return this.#policies.some(({ mode }) => mode === 'enforce')
  }

  /** What policies found so far, as the outcome entry keeps it. */
  get results(): readonly PolicyResult[] {
    return [...this.#results.values()]
  }

  /** Who refused the answer, and what is said about it; null while nobody did. */
  get refusal(): { readonly policy: string; readonly message: string } | null {
    return this.#refusal
  }

  /** Values found so far, by detector. */
  get detected(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }

  /** A new text that comes piece by piece, for `settle`. */
  channel(): OutputChannel {
    return new OutputChannel(this.#rules)
  }

  /** The model said this, too: a text, or the next piece of one. Throws POLICY_DENIED. */
  said(text: string): void {
    this.#chars += text.length
    if (this.#rules.countsTokens) this.#tokens.add(text)
    this.#judge([])
  }

  /**
   * Looks at a text that is complete. `readings` are what else it can be read as; what is found there
   * only cannot be cut out. Yields; throws POLICY_DENIED.
   */
  *text(
    text: string,
    readings: (text: string) => readonly string[],
  ): Generator<undefined, readonly Cut[]> {
    const { clean } = this.#rules
    if (text === '' || clean.has(text)) return NO_CUTS
    const found = yield* findPlaces(this.#rules, text)
    const cuts = this.#take(found)
    if (text.includes('\\')) {
      for (const reading of readings(cuts.length === 0 ? text : applyCuts(text, cuts))) {
        const [hidden] = this.#take(yield* findPlaces(this.#rules, reading))
        if (hidden !== undefined) throw this.cannotMask(hidden)
      }
    } else if (found.length === 0 && text.length <= CLEAN_CHARS_MAX) {
      if (clean.size >= CLEAN_MAX) clean.clear()
      clean.add(text)
    }
    return cuts
  }

  /** Looks at what came of a channel. Yields; throws POLICY_DENIED and what `settle` throws. */
  *settle(
    channel: OutputChannel,
    isOver: boolean,
    readings: (text: string) => readonly string[],
  ): Generator<undefined, { readonly releasedTo: number; readonly cuts: readonly Cut[] }> {
    const { releasedTo, found, ahead } = yield* channel.settle(isOver)
    this.#see(ahead)
    const cuts = this.#take(found)
    // Written with JSON escapes, a value is found where it ends: too late to cut it out.
    const escaped = channel.takeEscaped()
    for (const reading of escaped === '' ? [] : readings(escaped)) {
      const places = yield* findPlaces(this.#rules, reading)
      const [hidden] = this.#take(places.filter((place) => this.#isHidden(place, channel)))
      if (hidden !== undefined) throw this.cannotMask(hidden)
    }
    return { releasedTo, cuts }
  }

  /** Not found in the text as it was sent. What ends with a text that goes on may not be over. */
  #isHidden({ key, value }: Found, { known }: OutputChannel): boolean {
    const name = nameOf(key, value)
    return !known.has(name) && !this.#values.has(name)
  }

  /** What is said where a value stands in a place that is never edited. */
  cannotMask({ policy }: Pick<Cut, 'policy'>): GovernorError {
    return this.#refuse(policy, `Policy "${policy}" cannot mask what it found in this answer`)
  }

  #refuse(policy: string, message: string): GovernorError {
    this.#refusal = { policy, message }
    return new GovernorError('POLICY_DENIED', { detail: message, policy })
  }

  #take(found: readonly Found[]): readonly Cut[] {
    if (found.length === 0) return NO_CUTS
    this.#see(found)
    return this.#cuts(found)
  }

  #see(found: readonly Found[]): void {
    if (found.length === 0) return
    for (const { key, value } of found) this.#count(key, value)
    this.#judge(found)
  }

  #count(key: string, value: string): void {
    this.#seen.add(key)
    if (this.#values.size >= VALUES_MAX) return
    const before = this.#values.size
    this.#values.add(nameOf(key, value))
    const id = key.slice(2)
    if (key.startsWith('d:') && this.#values.size > before)
      this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1)
  }

  #judge(found: readonly Found[]): void {
    let denied: OutputPolicy | null = null
    for (const policy of this.#policies) {
      const { id, mode, verb } = policy
      if (verb === 'redact') {
        if (found.some(({ key }) => isKeyOf(policy, key))) this.#note(policy, 'redacted')
      } else if (!this.#results.has(id) && this.#holds(policy)) {
        this.#note(policy, verb === 'require' ? 'failed' : 'denied')
        if (mode === 'enforce') denied ??= policy
      }
    }
    if (denied === null) return
    throw this.#refuse(denied.id, denied.message ?? `Policy "${denied.id}" denies this answer`)
  }

  #holds({ pattern, words, detect, charsMax, tokensMax }: OutputPolicy): boolean {
    return (
      (pattern === null || this.#seen.has(pattern)) &&
      (words === null || this.#seen.has(words)) &&
      (detect === null || detect.some((key) => this.#seen.has(key))) &&
      (charsMax === null || this.#chars > charsMax) &&
      (tokensMax === null || this.#tokens.tokens > tokensMax)
    )
  }

  #note(policy: OutputPolicy, result: PolicyResult['result']): void {
    const { id, mode } = policy
    this.#results.set(id, { id, mode, result, why: this.#whyOf(policy) })
  }

  #whyOf({ fields, detect, pattern, words, verb }: OutputPolicy): string {
    const ids = (detect ?? []).filter((key) => this.#seen.has(key)).map((key) => key.slice(2))
    const said: readonly (string | false)[] = fields.map((field) => {
      if (field === 'output.detect') return ids.length > 0 && `${field}: ${ids.join(' ')}`
      const key = field === 'output.matches' ? pattern : words
      const isUnseen = verb === 'redact' && key !== null && !this.#seen.has(key)
      return !isUnseen && field
    })
    return said.filter((field) => field !== false).join(', ')
  }

  /** Places that overlap are one; the first of the file's policies that wants it names it. */
  #cuts(found: readonly Found[]): readonly Cut[] {
    const cuts: Cut[] = []
    let last: { start: number; end: number; value: string; label: string; policy: string } | null =
      null
    const close = () => {
      if (last === null) return
      const { start, end, value, label, policy } = last
      cuts.push({ start, end, policy, placeholder: this.#placeholders.of(label, value) })
    }
    for (const { start, end, key, value } of found) {
      const wanted = end > start ? this.#redactor(key) : undefined
      if (wanted === undefined) continue
      if (last !== null && start < last.end) {
        if (end > last.end) {
          last.value += value.slice(last.end - start)
          last.end = end
        }
        continue
      }
      close()
      last = { start, end, value, label: labelOf(key), policy: wanted.id }
    }
    close()
    return cuts
  }

  #redactor(key: string): OutputPolicy | undefined {
    return this.#policies.find(
      (policy) => policy.verb === 'redact' && policy.mode === 'enforce' && isKeyOf(policy, key),
    )
  }
}

function isKeyOf({ pattern, words, detect }: OutputPolicy, key: string): boolean {
  return key === pattern || key === words || detect?.includes(key) === true
}

/** What a value is called in its placeholder. */
function labelOf(key: string): string {
  if (key.startsWith('w')) return 'WORD'
  return key.startsWith('d:') ? key.slice(2).toUpperCase().replaceAll('-', '_') : 'MATCH'
}

/** The text with each cut made; cuts are in order and do not overlap. */
export function applyCuts(text: string, cuts: readonly Cut[]): string {
  let made = ''
  let from = 0
  for (const { start, end, placeholder } of cuts) {
    made += text.slice(from, start) + placeholder
    from = end
  }
  return made + text.slice(from)
}
