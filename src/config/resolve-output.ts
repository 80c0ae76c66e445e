import { longestMatchUnits } from './pattern-length.ts'
import type { Path } from './problem.ts'
import { checkPattern, checkWords, resolveDetect, type Scope } from './resolve-texts.ts'
import type { FileValue } from './resolve.ts'
import { WINDOW_MAX } from './schema-texts.ts'
import type { OutputSelector, PolicyConfig } from './snapshot.ts'
import { quote } from './source.ts'

/** `WINDOW_MAX`, in UTF-16 units. */
const WINDOW_UNITS_MAX = 64 * 1024

type PolicyValue = FileValue['policies'][number]
type OutputValue = NonNullable<NonNullable<PolicyValue['deny']>['output']>

interface Place {
  readonly scope: Scope
  readonly at: Path
}

/**
 * What a policy looks for in the answer; nothing where it does not. `for` and `allow` are decided before there
 * is an answer, and what a `require` would have to find is known only at the end of a stream.
 */
export function resolveOutput(
  policy: PolicyValue,
  verb: PolicyConfig['verb'],
  { scope, at }: Place,
): Pick<PolicyConfig, 'output'> {
  const early = 'An answer comes after this is decided: put `output` into deny or redact'
  scope.report.check([...at, 'for', 'output'], (policy.for?.output ?? null) === null, early)
  const given = givenOf(policy, verb)
  if (given === null) return {}
  const here = [...at, verb, 'output']
  scope.report.check(here, verb !== 'allow', early)
  if (verb === 'require') checkRequired(given, { scope, at: here })
  return { output: resolveFields(given, { scope, at: here }) }
}

function givenOf(policy: PolicyValue, verb: PolicyConfig['verb']): OutputValue | null {
  if (verb === 'redact') {
    const masked = policy.redact?.output ?? null
    return masked === null ? null : { ...masked, max_chars: null, max_tokens: null }
  }
  const own = verb === 'set' ? null : policy[verb]
  return own === null || typeof own === 'string' ? null : own.output
}

function checkRequired({ matches, words, detect }: OutputValue, { scope, at }: Place): void {
  const isLength = matches === null && words === null && detect === null
  const message =
    'An answer is passed on as it comes, so all it can be required is to stay within max_chars and max_tokens: use deny for what it must not hold'
  scope.report.check(at, isLength, message)
}

function resolveFields(given: OutputValue, { scope, at }: Place): OutputSelector {
  const { matches, words, max_chars: charsMax, max_tokens: tokensMax, detect, window } = given
  const { report } = scope
  const empty = [matches, words, charsMax, tokensMax, detect].every((field) => field === null)
  const fields = at.includes('redact')
    ? 'matches, words or detect'
    : 'matches, words, detect, max_chars or max_tokens'
  report.check(at, !empty, `Nothing is looked for: give it ${fields}`)
  checkWords(words ?? [], report, [...at, 'words'])
  const detectors = resolveDetect(detect, scope, [...at, 'detect'])
  const service = detectors?.find((id) => scope.services.includes(id))
  const slow = `${quote(service ?? '')} is asked over HTTP, and an answer does not wait for that: look for it in \`input\``
  report.check([...at, 'detect'], service === undefined, slow)
  const patterns = patternsOf(matches, detectors, { scope, at })
  const unused = 'Nothing here has a window: words and detectors that come with Governor need none'
  report.check(
    [...at, 'window'],
    window === null || matches !== null || patterns.length > 0,
    unused,
  )
  const windows = patterns.map((each) => windowOf(each.pattern, window, { scope, at: each.at }))
  return {
    matches,
    window,
    words,
    charsMax,
    tokensMax,
    detect: detectors,
    windowUnits: Math.max(0, ...windows),
  }
}

/** Every pattern that a stream is held back for, with the place that brought it. */
function patternsOf(
  matches: string | null,
  detectors: readonly string[] | null,
  { scope, at }: Place,
): { readonly pattern: string; readonly at: Path }[] {
  const here = [...at, 'matches']
  const compiles = matches !== null && checkPattern(matches, scope.report, here)
  const own = (detectors ?? []).flatMap((id) => {
    const pattern = scope.patterns.get(id)
    return pattern === undefined ? [] : [{ pattern, at: [...at, 'detect'] }]
  })
  return compiles ? [{ pattern: matches, at: here }, ...own] : own
}

/** How far a stream is held back for a pattern: as far as was said, else as far as it can match. */
function windowOf(pattern: string, window: number | null, { scope, at }: Place): number {
  if (window !== null) return window
  const longest = longestMatchUnits(pattern)
  const message =
    'A stream is held back for as long as a match can be, and this pattern has no longest one: bound it, like {1,64}, or say `window: 2KiB`'
  scope.report.check(at, longest !== null, message)
  const far = `This pattern may match ${longest} characters, more than ${WINDOW_MAX}: bound it, or say \`window\``
  scope.report.check(at, (longest ?? 0) <= WINDOW_UNITS_MAX, far)
  return longest ?? 0
}
