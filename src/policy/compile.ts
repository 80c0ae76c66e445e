import type {
  DetectorConfig,
  InputSelector,
  PolicyConfig,
  Selectors,
  SettingConfig,
  Snapshot,
} from '../config/snapshot.ts'
import type { Mode } from '../exchange.ts'
import { Applicants } from './applicants.ts'
import { compileExceptions, type CompiledException } from './exceptions.ts'
import { type Expression, Expressions } from './expression.ts'
import { LookAlikes } from './look-alikes.ts'
import { compileAliases, ModelNames } from './model-names.ts'
import { compileOutput, outputFields, type OutputRules } from './output-rules.ts'
import { compileSelectors, NO_SELECTORS, type SelectorTest } from './selectors.ts'
import { acrossLines, compileTextRules, type DetectorUse, type TextRules } from './text-rules.ts'
import { WordFinder } from './word-finder.ts'

/** The policies of one snapshot, ready to be asked; nothing is compiled during a call. */
export interface CompiledPolicies {
  readonly policies: readonly CompiledPolicy[]
  readonly applicants: Applicants
  readonly texts: TextRules
  /** Whether any of them changes calls. */
  readonly changes: boolean
  /** What is looked for in answers; null where no policy is about them. */
  readonly output: OutputRules | null
  readonly defaults: Pick<Snapshot['defaults'], 'decision' | 'onError' | 'uninspectable'>
}

/** One policy; `for` and the verb's own selectors apart. */
export interface CompiledPolicy {
  readonly id: string
  readonly mode: Mode
  readonly verb: PolicyConfig['verb']
  readonly message: string | null
  readonly for: CompiledSelectors
  readonly own: CompiledSelectors
  /** Looks at the texts of a call. */
  readonly readsText: boolean
  /** Refuses by what texts hold or how long they are, so that a content nobody can read matters. */
  readonly guardsText: boolean
  /** An allow that names kinds of content, which then need not be read. */
  readonly allowsUnread: boolean
  /** Has detectors look at them. */
  readonly detects: boolean
  /** Exceptions that lift it, in the order of the file. */
  readonly exceptions: readonly CompiledException[]
  /** What a `set` puts and clamps; empty for every other verb. */
  readonly settings: readonly SettingConfig[]
  /** Of a `redact`: puts values back into the answer. */
  readonly restores: boolean
  /** Finds where the words of a `redact` stand; null where it has none. */
  readonly wordFinder: WordFinder | null
  /** Ids of those among them that are services. */
  readonly external: readonly string[]
  /** Looks at the answer of the calls it is about. */
  readonly looksAtAnswer: boolean
  /** Fields of `for` and of the verb, for `why`. */
  readonly fields: string
}

/** Selectors; indexes are those of `CompiledPolicies.texts`, null where the field is absent. */
export interface CompiledSelectors {
  readonly test: SelectorTest
  readonly pattern: number | null
  readonly words: number | null
  readonly charsMax: number | null
  readonly tokensMax: number | null
  /** Indexes of detectors, of which one has to find something. */
  readonly detect: readonly number[] | null
  /** `when`, or the expression a `require` consists of. */
  readonly when: Expression | null
}

const NO_INPUT: InputSelector = {
  matches: null,
  words: null,
  charsMax: null,
  tokensMax: null,
  detect: null,
}

/**
 * Compiles and warms everything `evaluate` needs: a few milliseconds a pattern, so at load only.
 * Equal patterns are compiled once. Throws re2js' error on a pattern that is not RE2 and
 * ExpressionError, which the configuration has refused before.
 */
export function compilePolicies(
  snapshot: Pick<Snapshot, 'policies' | 'defaults' | 'aliases'> &
    Partial<Pick<Snapshot, 'detectors' | 'exceptions' | 'lookAlikes'>>,
): CompiledPolicies {
  const names = new ModelNames(compileAliases(snapshot.aliases))
  const patterns = new Map<string, number>()
  const wordLists: (readonly string[])[] = []
  const detectors = new Map<string, number>()
  const expressions = new Expressions()

  const input = (selector: InputSelector | null, refuses: boolean) => {
    const { matches, words, charsMax, tokensMax, detect } = selector ?? NO_INPUT
    const pattern = refuses && matches !== null ? acrossLines(matches) : matches
    return {
      pattern: pattern === null ? null : indexOf(patterns, pattern),
      words: words === null ? null : wordLists.push(words) - 1,
      charsMax,
      tokensMax,
      detect: detect?.map((id) => indexOf(detectors, id)) ?? null,
    }
  }
  const selectors = (from: Selectors, verb: PolicyConfig['verb'], own: boolean) => ({
    test: compileSelectors(from, names, {
      quantifier: verb === 'allow' || (verb === 'require' && own) ? 'every' : 'any',
      modellessPasses: verb === 'allow',
    }),
    // What a pattern narrows a policy to, as what it refuses, is rather too much than too little.
    ...input(from.input, verb === 'deny' || (!own && verb !== 'allow')),
    when: from.when === null ? null : expressions.compile(from.when),
  })
  const lookAlikes = snapshot.lookAlikes === 'latin' ? new LookAlikes() : null
  const exceptions = compileExceptions(snapshot.exceptions ?? [], names)
  const policies = snapshot.policies.map((policy) => {
    const narrowed = selectors(policy.for ?? NO_SELECTORS, policy.verb, false)
    const own = selectors(policy.selectors, policy.verb, true)
    return {
      ...compiledPolicy(policy, narrowed, own),
      exceptions: exceptions(policy.id),
      external: externalOf(policy, snapshot.detectors ?? []),
      wordFinder: wordFinderOf(policy, lookAlikes),
    }
  })
  return {
    policies,
    applicants: new Applicants(policies),
    changes: policies.some(({ verb }) => verb === 'redact' || verb === 'set'),
    texts: compileTexts({ patterns, wordLists, detectors }, snapshot.detectors ?? [], lookAlikes),
    output: compileOutput(snapshot.policies, snapshot.detectors ?? [], lookAlikes),
    defaults: snapshot.defaults,
  }
}

/** Detectors of the file's own are patterns among the others. */
function compileTexts(
  {
    patterns,
    wordLists,
    detectors,
  }: {
    readonly patterns: Map<string, number>
    readonly wordLists: readonly (readonly string[])[]
    readonly detectors: ReadonlyMap<string, number>
  },
  own: readonly DetectorConfig[],
  lookAlikes: LookAlikes | null,
): TextRules {
  const uses = [...detectors.keys()].map((id): DetectorUse => {
    const config = own.find((each) => each.id === id)
    if (config === undefined) return { id, pattern: null, confidence: 1 }
    if (!('matches' in config)) return { id, pattern: null, confidence: 1, isExternal: true }
    const { matches, confidence } = config
    return { id, pattern: indexOf(patterns, matches), confidence }
  })
  return compileTextRules([...patterns.keys()], wordLists, { detectors: uses, lookAlikes })
}

function wordFinderOf(
  { verb, selectors }: PolicyConfig,
  lookAlikes: LookAlikes | null,
): WordFinder | null {
  const words = verb === 'redact' ? (selectors.input?.words ?? null) : null
  return words === null ? null : new WordFinder(words, lookAlikes)
}

/** The services a policy names. */
function externalOf(policy: PolicyConfig, own: readonly DetectorConfig[]): readonly string[] {
  const named = [policy.for, policy.selectors].flatMap((each) => each?.input?.detect ?? [])
  return [...new Set(named)].filter((id) =>
    own.some((each) => each.id === id && !('matches' in each)),
  )
}

function indexOf(map: Map<string, number>, key: string): number {
  const index = map.get(key) ?? map.size
  map.set(key, index)
  return index
}

function compiledPolicy(
  policy: PolicyConfig,
  narrowed: CompiledSelectors,
  own: CompiledSelectors,
): Omit<CompiledPolicy, 'exceptions' | 'external' | 'wordFinder'> {
  const fields = [...new Set([...fieldsOf(narrowed), ...fieldsOf(own), ...outputFields(policy)])]
  const readsText = [narrowed, own].some(
    ({ pattern, words, detect }) => pattern !== null || words !== null || detect !== null,
  )
  // What cannot be read cannot be counted either.
  const counts = [narrowed, own].some(
    ({ charsMax, tokensMax }) => charsMax !== null || tokensMax !== null,
  )
  return {
    id: policy.id,
    mode: policy.mode,
    verb: policy.verb,
    message: policy.message,
    for: narrowed,
    own,
    readsText,
    guardsText: (readsText || counts) && policy.mode === 'enforce' && policy.verb !== 'allow',
    allowsUnread: policy.verb === 'allow' && fields.includes('uninspectable'),
    detects: narrowed.detect !== null || own.detect !== null,
    settings: policy.settings ?? [],
    restores: policy.restore === true,
    looksAtAnswer: policy.output !== undefined,
    fields: fields.length === 0 ? 'every call' : fields.join(', '),
  }
}

function fieldsOf(selectors: CompiledSelectors): readonly string[] {
  const { test, pattern, words, charsMax, tokensMax, detect, when } = selectors
  const fields = [...test.fields]
  if (when !== null) fields.push('expression')
  if (pattern !== null) fields.push('input.matches')
  if (words !== null) fields.push('input.words')
  if (detect !== null) fields.push('input.detect')
  if (charsMax !== null) fields.push('input.max_chars')
  if (tokensMax !== null) fields.push('input.max_tokens')
  return fields
}
