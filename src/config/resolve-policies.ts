import {
  type Mode,
  type Operation,
  UNINSPECTABLE_KINDS,
  type UninspectableKind,
} from '../exchange.ts'
import { suggestion, type Path } from './problem.ts'
import type { Report } from './report.ts'
import { resolveOutput } from './resolve-output.ts'
import { resolveSet } from './resolve-set.ts'
import { checkPattern, checkWords, located, resolveDetect, type Scope } from './resolve-texts.ts'
import type { FileValue } from './resolve.ts'
import { PATTERNS_MAX } from './schema-texts.ts'
import type { InputSelector, PolicyConfig, Selectors } from './snapshot.ts'
import { quote } from './source.ts'
import type { Name } from './spec.ts'
import { wildcard } from './wildcard.ts'

type PolicyValue = FileValue['policies'][number]
type PolicySelectors = NonNullable<PolicyValue['for']>
type CallSelectors = NonNullable<FileValue['limits'][number]['for']>
type InputValue = NonNullable<PolicySelectors['input']>

const VERBS = ['allow', 'deny', 'require', 'redact', 'set'] as const
/** Verbs that refuse, so that a warning can stand in for them. */
const WARNS: ReadonlySet<string> = new Set(['deny', 'require'])

/** Every policy has one verb, a name of its own, and selectors that can mean something. */
export function resolvePolicies(file: FileValue, scope: Scope): PolicyConfig[] {
  const { report } = scope
  const ids = file.policies.map(({ id }) => id)
  checkUnique(ids, report, (index) => ['policies', index, 'id'])
  const policies = file.policies.map((policy, index) =>
    resolvePolicy(policy, file.defaults.mode, { scope, at: ['policies', index] }),
  )
  checkPatternCount(
    policies,
    file.detectors.filter(({ matches }) => matches !== null).length,
    report,
  )
  return policies
}

function resolvePolicy(
  policy: PolicyValue,
  defaultMode: Mode,
  { scope, at }: { readonly scope: Scope; readonly at: Path },
): PolicyConfig {
  const { report } = scope
  const given = VERBS.filter((verb) => report.source.has([...at, verb]))
  const verb = VERBS.find((each) => policy[each] !== null) ?? 'deny'
  if (given.length === 0)
    report.check(at, false, 'No verb: give it allow, deny, require, redact or set')
  if (given.length > 1) {
    const message = `One verb a policy, not ${given.join(' and ')}: split it in ${given.length}`
    report.check([...at, given[1] ?? verb], false, message)
  }
  const isWarned = policy.mode !== 'warn' || WARNS.has(verb)
  report.check([...at, 'mode'], isWarned, `Mode "warn" is not for ${verb}: use enforce or shadow`)
  const fallback = defaultMode === 'warn' && !WARNS.has(verb) ? 'enforce' : defaultMode
  const about = policy.for === null ? null : resolveSelectors(policy.for, scope, [...at, 'for'])
  return {
    id: policy.id,
    mode: policy.mode ?? fallback,
    message: policy.message,
    for: about,
    verb,
    ...resolveOwn(policy, verb, { scope, at: [...at, verb], about }),
    ...resolveOutput(policy, verb, { scope, at }),
  }
}

/** What the verb holds: selectors, what is masked, or what is set. */
function resolveOwn(
  policy: PolicyValue,
  verb: (typeof VERBS)[number],
  {
    scope,
    at,
    about,
  }: { readonly scope: Scope; readonly at: Path; readonly about: Selectors | null },
): Pick<PolicyConfig, 'selectors' | 'settings' | 'restore'> {
  if (verb === 'redact') {
    const selectors = resolveRedact(policy.redact, scope, at)
    return policy.redact?.restore === true ? { selectors, restore: true } : { selectors }
  }
  if (verb !== 'set') return { selectors: resolveVerb(policy[verb] ?? {}, scope, at) }
  const settings = resolveSet(policy.set, { report: scope.report, at }, about)
  return { selectors: resolveSelectors({}, scope, at), settings }
}

/** An expression in place of selectors is selectors that hold nothing else. */
function resolveVerb(own: Partial<PolicySelectors> | string, scope: Scope, at: Path): Selectors {
  if (typeof own !== 'string') return resolveSelectors(own, scope, at)
  return { ...resolveSelectors({}, scope, at), when: scope.expressions.expression(own, at) }
}

function isEmpty(search: object | null): boolean {
  return search === null || Object.values(search).every((value) => value === null)
}

/** What is masked, as selectors that hold nothing else. */
function resolveRedact(own: PolicyValue['redact'], scope: Scope, at: Path): Selectors {
  const input = own?.input ?? null
  const empty = isEmpty(input) && (own?.output ?? null) === null
  const message = 'Nothing is masked: give it input or output with detect, matches or words'
  scope.report.check(at, !empty, message)
  const restores = own?.restore !== true || input !== null
  scope.report.check([...at, 'restore'], restores, 'Nothing to put back: it is for `input`')
  const here = [...at, 'input']
  const resolved =
    input && resolveSearch({ ...input, max_chars: null, max_tokens: null }, scope, here)
  const service = resolved?.detect?.find((id) => scope.placeless.includes(id))
  const counts = `${quote(service ?? '')} says whether something is there, not where: deny it instead`
  scope.report.check([...here, 'detect'], service === undefined, counts)
  return { ...resolveSelectors({}, scope, at), input: resolved }
}

/** Puts sets in and checks names that must exist. `at` is the selectors' own path. */
export function resolveSelectors(
  given: Partial<PolicySelectors> | CallSelectors,
  scope: Scope,
  at: Path,
): Selectors {
  const names = (key: 'tenants' | 'keys' | 'users' | 'roles' | 'models') =>
    resolveNames(given[key] ?? null, scope, [...at, key])
  const input = 'input' in given ? (given.input ?? null) : null
  const when = 'when' in given ? (given.when ?? null) : null
  return {
    tenants: names('tenants'),
    keys: names('keys'),
    users: names('users'),
    roles: names('roles'),
    labels: given.labels ?? null,
    operations: resolveOperations(given.operations ?? null, scope, [...at, 'operations']),
    models: names('models'),
    upstreams: resolveUpstreamNames(given.upstreams ?? null, scope, [...at, 'upstreams']),
    input: input === null ? null : resolveInput(input, scope, [...at, 'input']),
    uninspectable: kindsOf('uninspectable' in given ? (given.uninspectable ?? null) : null),
    when: when === null ? null : scope.expressions.expression(when, [...at, 'when']),
  }
}

/** `*` is every kind there is. */
function kindsOf(
  given: readonly (UninspectableKind | '*')[] | null,
): readonly UninspectableKind[] | null {
  if (given === null) return null
  return UNINSPECTABLE_KINDS.filter((kind) => given.includes(kind) || given.includes('*'))
}

function resolveNames(given: readonly Name[] | null, scope: Scope, at: Path): string[] | null {
  return given === null ? null : located(given, scope, at).map(({ text }) => text)
}

function resolveOperations(
  given: readonly Name[] | null,
  scope: Scope,
  at: Path,
): Operation[] | null {
  if (given === null) return null
  return located(given, scope, at).flatMap(({ text, at: here }) => {
    const matched = scope.operations.filter((operation) => wildcard(text, operation))
    const message = `Unknown operation ${quote(text)}${suggestion(text, scope.operations)}`
    scope.report.check(here, matched.length > 0, message)
    return matched
  })
}

function resolveUpstreamNames(
  given: readonly Name[] | null,
  scope: Scope,
  at: Path,
): string[] | null {
  if (given === null) return null
  return located(given, scope, at).map(({ text, at: here }) => {
    const known = scope.upstreams.some((name) => wildcard(text, name))
    const message = `Unknown upstream ${quote(text)}${suggestion(text, scope.upstreams)}`
    scope.report.check(here, known, message)
    return text
  })
}

function resolveInput(input: InputValue, scope: Scope, at: Path): InputSelector {
  const empty = Object.values(input).every((value) => value === null)
  const message = 'Nothing is looked for: give it matches, words, detect, max_chars or max_tokens'
  scope.report.check(at, !empty, message)
  return resolveSearch(input, scope, at)
}

function resolveSearch(input: InputValue, scope: Scope, at: Path): InputSelector {
  const { matches, words, max_chars: charsMax, max_tokens: tokensMax, detect } = input
  if (matches !== null) checkPattern(matches, scope.report, [...at, 'matches'])
  checkWords(words ?? [], scope.report, [...at, 'words'])
  const detectors = resolveDetect(detect, scope, [...at, 'detect'])
  return { matches, words, charsMax, tokensMax, detect: detectors }
}

/** Reports every id that is not the first of its name. */
export function checkUnique(
  ids: readonly string[],
  report: Report,
  at: (index: number) => Path,
): void {
  ids.forEach((id, index) => {
    const message = `${quote(id)} is taken already: every one needs its own name`
    report.check(at(index), ids.indexOf(id) === index, message)
  })
}

/** Reports more patterns than a file may hold. */
export function checkPatternCount(
  policies: readonly PolicyConfig[],
  detectors: number,
  report: Report,
): void {
  const at = policies.flatMap((policy, index) =>
    [
      { input: policy.for?.input, path: ['policies', index, 'for', 'input', 'matches'] },
      { input: policy.selectors.input, path: ['policies', index, policy.verb, 'input', 'matches'] },
      { input: policy.output, path: ['policies', index, policy.verb, 'output', 'matches'] },
    ].filter(({ input }) => typeof input?.matches === 'string'),
  )
  const first = at[PATTERNS_MAX - detectors]
  if (first === undefined) return
  const message = `${at.length + detectors} patterns are too many: at most ${PATTERNS_MAX} in a file; join some with |`
  report.check(first.path, false, message)
}
