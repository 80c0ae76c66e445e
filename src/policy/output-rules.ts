import type { DetectorConfig, OutputSelector, PolicyConfig } from '../config/snapshot.ts'
import type { Mode } from '../exchange.ts'
import { Hold } from './detect/hold.ts'
import { REGISTRY } from './detect/registry.ts'
import type { LookAlikes } from './look-alikes.ts'
import { singleSpaced } from './spaces.ts'
import { acrossLines, compileTextRules, type DetectorUse, type TextRules } from './text-rules.ts'

/** What a policy looks for in the answer, as keys of `Found`; null where a field is absent. */
export interface OutputPolicy {
  readonly id: string
  readonly mode: Mode
  /** A `require` is about `charsMax` and `tokensMax` alone and refuses as a deny of it does. */
  readonly verb: 'deny' | 'require' | 'redact'
  readonly message: string | null
  readonly pattern: string | null
  readonly words: string | null
  /** Keys of detectors, of which one has to find something. */
  readonly detect: readonly string[] | null
  readonly charsMax: number | null
  readonly tokensMax: number | null
  /** Fields given, for `why`. */
  readonly fields: readonly string[]
}

/** The output policies of one snapshot, ready to be asked; made when it is loaded. */
export interface OutputRules {
  readonly texts: TextRules
  readonly policies: ReadonlyMap<string, OutputPolicy>
  /** What a stream is held back by, for all of them. */
  readonly hold: Hold
  /** Whether one of them is about tokens. */
  readonly countsTokens: boolean
  /** Longest match of all, UTF-16 units: what a slice of a long text has to reach beyond its end. */
  readonly windowUnits: number
  /** Keys of detectors that come with Governor, whose values end where they end. */
  readonly sure: ReadonlySet<string>
  /** Short texts in which nothing occurs: ids and names come with every piece of a stream. */
  readonly clean: Set<string>
}

type Output = Pick<PolicyConfig, 'id' | 'mode' | 'message' | 'verb'> & {
  readonly output: OutputSelector
}

/**
 * Compiles and warms what output policies need; null where the file has none. With `lookAlikes` answers
 * are also read as they look. Throws re2js' error on
 * a pattern that is not RE2, which the configuration has refused before.
 */
export function compileOutput(
  policies: readonly PolicyConfig[],
  own: readonly DetectorConfig[],
  lookAlikes: LookAlikes | null = null,
): OutputRules | null {
  const about = policies.flatMap(({ output, ...policy }): Output[] =>
    output === undefined ? [] : [{ ...policy, output }],
  )
  if (about.length === 0) return null
  const patterns: string[] = []
  const lists: (readonly string[])[] = []
  const uses = new Map<string, DetectorUse>()
  let windowUnits = 0
  const use = (id: string): string => {
    const named = own.find((each) => each.id === id)
    const config = named !== undefined && 'matches' in named ? named : undefined
    const pattern = config === undefined ? null : patterns.push(config.matches) - 1
    if (!uses.has(id)) uses.set(id, { id, pattern, confidence: config?.confidence ?? 1 })
    return detectorKey(id)
  }
  const compiled = about.map(({ output, id, mode, message, verb }): OutputPolicy => {
    windowUnits = Math.max(windowUnits, output.windowUnits, ...(output.words ?? []).map(unitsOf))
    return {
      id,
      mode,
      message,
      verb: verb === 'require' || verb === 'redact' ? verb : 'deny',
      pattern:
        output.matches === null
          ? null
          : patternKey(
              patterns.push(verb === 'deny' ? acrossLines(output.matches) : output.matches) - 1,
            ),
      words: output.words === null ? null : wordsKey(lists.push(output.words) - 1),
      detect: output.detect?.map(use) ?? null,
      charsMax: output.charsMax,
      tokensMax: output.tokensMax,
      fields: outputFields({ output }),
    }
  })
  const detectors = [...uses.values()].flatMap(({ id }) => REGISTRY.get(id) ?? [])
  return {
    texts: compileTextRules(patterns, lists, { detectors: [...uses.values()], lookAlikes }),
    policies: new Map(compiled.map((policy) => [policy.id, policy])),
    countsTokens: compiled.some(({ tokensMax }) => tokensMax !== null),
    hold: new Hold(detectors, windowUnits, lookAlikes),
    windowUnits: Math.max(windowUnits, ...detectors.map(({ charsMax }) => charsMax)),
    sure: new Set(detectors.map(({ id }) => detectorKey(id))),
    clean: new Set(),
  }
}

/** Key of what pattern `index` of `OutputRules.texts` finds. */
export function patternKey(index: number): string {
  return `p${index}`
}

/** Key of what list of words `index` finds. */
export function wordsKey(index: number): string {
  return `w${index}`
}

/** Key of what a detector finds. */
export function detectorKey(id: string): string {
  return `d:${id}`
}

/** What white space between two words of a list may take in a stream: a line end and its indentation. */
const SPACES_UNITS = 16

/** A word of 128 characters may read longer than it is written: `ﬃ` is three. */
function unitsOf(word: string): number {
  const spaces = singleSpaced(word).split(' ').length - 1
  return Math.max(word.length, word.normalize('NFKC').length) + spaces * SPACES_UNITS
}

/** The fields given of `output`, in the words of the file. */
export function outputFields({ output }: Pick<PolicyConfig, 'output'>): string[] {
  if (output === undefined) return []
  const { matches, words, detect, charsMax, tokensMax } = output
  return [
    ...(matches === null ? [] : ['output.matches']),
    ...(words === null ? [] : ['output.words']),
    ...(detect === null ? [] : ['output.detect']),
    ...(charsMax === null ? [] : ['output.max_chars']),
    ...(tokensMax === null ? [] : ['output.max_tokens']),
  ]
}
