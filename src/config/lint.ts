import { RE2JS } from 're2js'

import { NEEDS_MODEL } from '../exchange.ts'
import type { Advice } from './advice.ts'
import { lintExceptions } from './lint-exceptions.ts'
import { covers, isModelless, overlaps, type Scoped } from './lint-reach.ts'
import type { Path } from './problem.ts'
import type { FileValue } from './resolve.ts'
import type { PolicyConfig, Selectors, Snapshot } from './snapshot.ts'
import { wildcard } from './wildcard.ts'

/**
 * What is correct and probably not meant: policies that can do nothing, that do more than they seem
 * to, and definitions nobody uses. Every rule would rather miss a case than blame a good file.
 */

/** Every rule, with what it looks for. */
export const LINT_RULES = {
  unreachable: 'A policy that can never match or never decide',
  'too-wide': 'A policy or default that covers every call',
  'unused-set': 'A set that no selector names',
  'unused-alias': 'An alias of a model that no selector is about',
  shadow: 'A policy that is recorded and decides nothing',
  'exception-ended': 'An exception that lifts nothing any more',
  'exception-ending': 'An exception that ends within 30 days',
  'exception-long': 'An exception that lasts longer than a year',
  'no-pattern': 'A name or pattern that was meant as something else',
  'all-of': 'A deny that several searches have to agree on',
  'candidate-answers': 'A candidate with policies on answers, which are not asked',
  'require-models': 'A require on models that also refuses operations without a model',
  'test-model': 'A test of a call that is refused before any policy, because it names no model',
} as const

/** Looks at a file that loads, at `nowMs`, milliseconds since 1970. Pure. */
export function lint(file: FileValue, snapshot: Snapshot, nowMs: number): Advice[] {
  const policies = snapshot.policies.map((policy, index) => {
    return { policy, at: ['policies', index] }
  })
  return [
    ...policies.flatMap((each) => lintPolicy(each, policies, snapshot)),
    ...lintDefaults(snapshot),
    ...lintSets(file),
    ...lintAliases(snapshot),
    ...lintExceptions(snapshot, nowMs),
    ...lintCandidate(snapshot),
    ...lintTests(snapshot),
  ]
}

/** A candidate is asked about calls; what comes back belongs to the file that is live. */
function lintCandidate({ candidate }: Snapshot): Advice[] {
  const ids = (candidate?.policies ?? []).flatMap(({ id, output }) =>
    output === undefined ? [] : [id],
  )
  const [first] = ids
  if (first === undefined) return []
  const others = ids.length > 1 ? ` and ${ids.length - 1} more` : ''
  const message = `Decides calls, not answers: "${first}"${others} of its policies is about answers; try it here in shadow`
  return [{ path: ['candidate'], message, rule: 'candidate-answers' }]
}

interface Placed {
  readonly policy: PolicyConfig
  readonly at: Path
}

function lintPolicy({ policy, at }: Placed, all: readonly Placed[], snapshot: Snapshot): Advice[] {
  const found = [
    ...lintWidth(policy, at),
    ...lintReach({ policy, at }, all),
    ...lintServed(policy, at, snapshot),
    ...lintRequire(policy, at),
    ...lintNames(policy, at),
    ...lintTexts(policy, at),
  ]
  if (policy.mode !== 'shadow') return found
  const message = 'In shadow: it is recorded and decides nothing'
  return [...found, { path: [...at, 'mode'], message, rule: 'shadow' }]
}

// --- too wide ---

function isEmpty(selectors: Selectors | null): boolean {
  return selectors === null || Object.values(selectors).every((value) => value === null)
}

function tooWide(path: Path, message: string): Advice {
  return { path, message, rule: 'too-wide' }
}

function lintWidth(policy: PolicyConfig, at: Path): Advice[] {
  const found = [
    { input: policy.for?.input, path: [...at, 'for', 'input', 'matches'] },
    { input: policy.selectors.input, path: [...at, policy.verb, 'input', 'matches'] },
    { input: policy.output, path: [...at, policy.verb, 'output', 'matches'] },
  ].flatMap(({ input, path }) =>
    typeof input?.matches === 'string' && RE2JS.compile(input.matches).test('')
      ? [tooWide(path, 'Matches every text, an empty one too')]
      : [],
  )
  const says = isEmpty(policy.for) && isEmpty(policy.selectors) && policy.output === undefined
  if (policy.mode !== 'enforce' || policy.verb === 'require' || !says) return found
  const message =
    policy.verb === 'allow'
      ? 'Allows every call of everybody: name operations, models or callers'
      : 'Refuses every call: name operations, models or callers'
  return [...found, tooWide([...at, policy.verb], message)]
}

function lintDefaults({ defaults }: Snapshot): Advice[] {
  if (defaults.decision === 'deny') return []
  const message = 'What no policy is about passes: `deny`, and an allow for what may, is safer'
  return [{ path: ['defaults', 'decision'], message, rule: 'too-wide' }]
}

// --- unreachable ---

/** Fields of which a call has exactly one value, so that `for` and the verb must have one in common. */
const SINGLE = ['tenants', 'users', 'operations', 'upstreams'] as const

function lintReach({ policy, at }: Placed, all: readonly Placed[]): Advice[] {
  const { verb } = policy
  if (verb !== 'allow' && verb !== 'deny') return []
  const advice = (message: string): Advice[] => [{ path: at, message, rule: 'unreachable' }]
  const apart = SINGLE.find((field) => !overlaps(policy.for?.[field], policy.selectors[field]))
  if (apart !== undefined) {
    return advice(`Never matches: \`for\` and \`${verb}\` have no ${apart} in common`)
  }
  if (policy.mode !== 'enforce' || policy.output !== undefined) return []
  const others = all
    .map((each, index) => ({ ...each, index }))
    .filter((each) => each.policy !== policy && each.policy.mode === 'enforce')
    .filter((each) => each.policy.output === undefined)
  const refused = others.find((each) => each.policy.verb === 'deny' && covers(each.policy, policy))
  if (verb === 'allow' && refused !== undefined) {
    return advice(`Never allows: "${refused.policy.id}" refuses everything it is about`)
  }
  const mine = all.findIndex((each) => each.policy === policy)
  const same = others.find(
    (each) => each.policy.verb === verb && covers(each.policy, policy) && hides(each, policy, mine),
  )
  if (same === undefined) return []
  const does = verb === 'allow' ? 'allows' : 'refuses'
  return advice(`Adds nothing: "${same.policy.id}" ${does} all of it already`)
}

/** A narrow deny before a wide one gives its own message; of two that are equal, the later is at fault. */
function hides(
  other: { readonly policy: PolicyConfig; readonly index: number },
  policy: PolicyConfig,
  index: number,
): boolean {
  if (other.index < index) return true
  return policy.verb === 'allow' && !covers(policy, other.policy)
}

function lower(names: readonly string[]): string[] {
  return names.map((name) => name.toLowerCase())
}

function lintServed(policy: PolicyConfig, at: Path, snapshot: Snapshot): Advice[] {
  const { verb, selectors } = policy
  const models = selectors.models
  // A model may be served by another of its names; then nothing is known.
  const isPlain = models?.every((model) => !/[/:]/.test(model)) === true
  if (verb !== 'allow' || models === null || !isPlain) return []
  if (Object.keys(snapshot.aliases).length > 0) return []
  const served = snapshot.upstreams.flatMap((upstream) => upstream.models)
  if (overlaps(lower(models), lower(served))) return []
  const message = 'Never allows: no upstream serves any of these models'
  return [{ path: [...at, verb, 'models'], message, rule: 'unreachable' }]
}

// --- require on models ---

function lintRequire({ verb, selectors, for: narrowed }: PolicyConfig, at: Path): Advice[] {
  if (verb !== 'require' || selectors.models === null) return []
  const operations = narrowed?.operations ?? null
  const isAboutModels = narrowed?.models != null
  const isNarrow = operations !== null && !operations.some(isModelless)
  if (isAboutModels || isNarrow) return []
  const message =
    'Also refuses operations that name no model, like `models`: add `for: { operations: [chat] }`'
  return [{ path: [...at, verb, 'models'], message, rule: 'require-models' }]
}

// --- texts ---

/** `/zeus/i`, as other languages write a pattern. */
const SLASHED = /^\/.+\/[a-z]*$/

function lintTexts(policy: PolicyConfig, at: Path): Advice[] {
  const { verb } = policy
  return [
    { asked: policy.for?.input, path: [...at, 'for', 'input'] },
    { asked: policy.selectors.input, path: [...at, verb, 'input'] },
    { asked: policy.output, path: [...at, verb, 'output'] },
  ].flatMap(({ asked, path }) => {
    const { matches = null, words = null, detect = null } = asked ?? {}
    const found: Advice[] = []
    if (typeof matches === 'string' && SLASHED.test(matches)) {
      const message = 'The slashes are part of the pattern; for /…/i write (?i)…'
      found.push({ path: [...path, 'matches'], message, rule: 'no-pattern' })
    }
    const given = Object.entries({ detect, matches, words }).filter(([, value]) => value !== null)
    if (verb === 'deny' && given.length > 1) {
      const names = given.map(([name]) => `\`${name}\``).join(' and ')
      const message = `Refuses only where ${names} all find something: for any of them write a policy each`
      found.push({ path, message, rule: 'all-of' })
    }
    return found
  })
}

// --- names ---

/** What has a meaning in a regular expression and hardly in a name; a list in one text. */
const REGEX = /\.\*|^\^|\$$|^\/.*\/[a-z]*$|[|\\()]|\[.*\]/
const QUOTES = /^[\u2018-\u201f\u00ab\u00bb]|[\u2018-\u201f\u00ab\u00bb]$/

function lintNames(policy: PolicyConfig, at: Path): Advice[] {
  const parts = [
    { selectors: policy.for, path: [...at, 'for'] },
    { selectors: policy.selectors, path: [...at, policy.verb] },
  ]
  return parts.flatMap(({ selectors, path }) =>
    (['tenants', 'keys', 'users', 'roles', 'models'] as const).flatMap((field) => {
      const found = selectors?.[field]?.map(nameAdvice).find((message) => message !== null)
      return found === undefined
        ? []
        : [{ path: [...path, field], message: found, rule: 'no-pattern' }]
    }),
  )
}

function nameAdvice(name: string): string | null {
  const shown = JSON.stringify(name)
  if (QUOTES.test(name)) return `The quotes of ${shown} are typographic, and part of the name`
  if (/[,\s]/.test(name)) return `${shown} is one name: write a list, [a, b]`
  return REGEX.test(name)
    ? `${shown} looks like a regular expression: in names only * has a meaning`
    : null
}

// --- unused ---

function lintSets({ sets, policies, limits, exceptions }: FileValue): Advice[] {
  const used = new Set<string>()
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    if (Array.isArray(value)) {
      for (const item of value) if (isSetName(item)) used.add(item.set)
    }
    for (const inner of Object.values(value)) visit(inner)
  }
  visit([policies, limits, exceptions])
  return Object.keys(sets)
    .filter((name) => !used.has(name))
    .map((name) => {
      return { path: ['sets', name], message: 'No selector names this set', rule: 'unused-set' }
    })
}

function isSetName(value: unknown): value is { readonly set: string } {
  return typeof (value as { readonly set?: unknown } | null)?.set === 'string'
}

function lintAliases({ aliases, policies, limits, upstreams, exceptions }: Snapshot): Advice[] {
  const scoped: readonly (Scoped | null)[] = [
    ...policies.flatMap((policy) => [policy.for, policy.selectors]),
    ...limits.flatMap((limit) => [limit.for, ...limit.overrides.map((each) => each.for)]),
    ...upstreams,
    ...exceptions.map((each) => each.for),
  ]
  const patterns = scoped
    .flatMap((each) => each?.models ?? [])
    .filter((pattern) => pattern !== '*')
    .map((pattern) => pattern.toLowerCase())
  const isNamed = (model: string) =>
    patterns.some((pattern) => wildcard(pattern, model.toLowerCase()))
  return Object.entries(aliases)
    .filter(([alias, target]) => !isNamed(alias) && !isNamed(target))
    .map(([alias, target]) => {
      const message = `No selector is about ${JSON.stringify(target)}, nor about its alias`
      return { path: ['aliases', alias], message, rule: 'unused-alias' }
    })
}

// --- tests ---

/** A test may leave out what no policy asks for; a model that policies ask for is no such thing. */
function lintTests({ policies, tests }: Snapshot): Advice[] {
  if (!policies.some((policy) => namesModels(policy.for) || namesModels(policy.selectors)))
    return []
  const bare = tests.flatMap(({ request: { model, operation } }, index) => {
    return model === '' && NEEDS_MODEL.has(operation) ? [{ operation, index }] : []
  })
  const [first] = bare
  if (first === undefined) return []
  const others = bare.length > 1 ? `; so do ${bare.length - 1} more` : ''
  const message = `Names no model, and policies are about models: a client's ${first.operation} without one is answered 400 before them${others}`
  return [{ path: ['tests', first.index, 'request'], message, rule: 'test-model' }]
}

function namesModels(scoped: Scoped | null): boolean {
  return scoped?.models?.some((each) => each !== '*') === true
}
