import type { Selectors } from '../config/snapshot.ts'
import {
  type Facts,
  type Operation,
  type Principal,
  UNINSPECTABLE_KINDS,
  type UninspectableKind,
} from '../exchange.ts'
import { compileAliases, ModelNames, strictMatcher, wideMatcher } from './model-names.ts'
import { compileNames, type NameTest } from './wildcard.ts'

/** Whom and what selectors look at. */
export interface Subject {
  readonly principal: Principal
  readonly operation: Operation
  /** Every model the call names, in body or path, as sent. */
  readonly models: readonly string[]
  /** Name of the upstream; null when none was chosen. */
  readonly upstream: string | null
  /** Kinds of content in the call that cannot be read; absent is none. */
  readonly uninspectable?: readonly UninspectableKind[]
}

/** Each kind once, in one order, so that equal calls look equal. */
export function kindsOf(unread: Facts['uninspectable']): readonly UninspectableKind[] {
  return UNINSPECTABLE_KINDS.filter((kind) => unread.some((each) => each.kind === kind))
}

/** How many of the models of a call must match: `any` to deny or narrow, `every` to let pass. */
export type Quantifier = 'any' | 'every'

/** How `models` is read. */
export interface SelectorOptions {
  readonly quantifier: Quantifier
  /** An operation that names no model satisfies it, as in `allow`. */
  readonly modellessPasses: boolean
}

/** What can be told without looking inside: not `input`, not `when`. */
export type CallSelectors = Omit<Selectors, 'input' | 'when'>

/** Selectors without their `input` and `when`, ready to be asked. */
export interface SelectorTest {
  /** Fields given, in the words of the file; a failed test names its field. */
  readonly fields: readonly string[]
  /** The first field that does not match; null when all do. */
  fails(subject: Subject): string | null
  /** Every field's own test, in the order of `fields`. */
  readonly tests: readonly (readonly [string, FieldTest])[]
}

/** Selectors that say nothing, so that every call matches them. */
export const NO_SELECTORS: Selectors = {
  tenants: null,
  keys: null,
  users: null,
  roles: null,
  labels: null,
  operations: null,
  models: null,
  upstreams: null,
  uninspectable: null,
  input: null,
  when: null,
}

/** Whether one field matches. */
export type FieldTest = (subject: Subject) => boolean

/** Operations whose requests name no model because none is asked to do anything. */
const MODELLESS: ReadonlySet<Operation> = new Set([
  'models',
  'files.read',
  'files.write',
  'files.delete',
  'stored.read',
  'stored.write',
  'stored.delete',
  'admin',
])

/**
 * Compiles all fields but `input` and `when`.
 */
export function compileSelectors(
  selectors: CallSelectors,
  names: ModelNames,
  options: SelectorOptions,
): SelectorTest {
  const tests: (readonly [string, FieldTest])[] = []
  const field = (name: string, list: readonly string[] | null, test: (is: NameTest) => FieldTest) =>
    list === null ? 0 : tests.push([name, test(compileNames(list))])

  // An endpoint nobody knows may do what any operation does: it is refused as any, let pass as none.
  const isAnything = options.quantifier === 'any'
  field(
    'operations',
    selectors.operations,
    (is) =>
      ({ operation }) =>
        is(operation) || (isAnything && operation === 'other'),
  )
  field(
    'tenants',
    selectors.tenants,
    (is) =>
      ({ principal }) =>
        is(principal.tenant),
  )
  field(
    'users',
    selectors.users,
    (is) =>
      ({ principal }) =>
        is(principal.user),
  )
  field(
    'roles',
    selectors.roles,
    (is) =>
      ({ principal }) =>
        principal.roles.some(is),
  )
  field('keys', selectors.keys, (is) => {
    // A pod without a key is not among any keys, `*` included.
    return ({ principal }) =>
      principal.keyId !== '' && (is(principal.keyId) || is(principal.keyName))
  })
  field(
    'upstreams',
    selectors.upstreams,
    (is) =>
      ({ upstream }) =>
        upstream !== null && is(upstream),
  )
  if (selectors.labels !== null) tests.push(['labels', compileLabels(selectors.labels)])
  if (selectors.models !== null) {
    tests.push(['models', compileModels(selectors.models, names, options)])
  }
  if (selectors.uninspectable !== null) {
    tests.push(['uninspectable', compileKinds(selectors.uninspectable, options)])
  }
  return { fields: tests.map(([name]) => name), fails: firstFailing(tests), tests }
}

function firstFailing(tests: readonly (readonly [string, FieldTest])[]): SelectorTest['fails'] {
  return (subject) => {
    for (const [name, test] of tests) if (!test(subject)) return name
    return null
  }
}

/** What a call does not carry is not in the way of an allow, and no deny is about it. */
function compileKinds(
  kinds: readonly UninspectableKind[],
  { quantifier }: SelectorOptions,
): FieldTest {
  const isKnown = (kind: UninspectableKind) => kinds.includes(kind)
  return ({ uninspectable = [] }) =>
    quantifier === 'any' ? uninspectable.some(isKnown) : uninspectable.every(isKnown)
}

function compileLabels(labels: Readonly<Record<string, string>>): FieldTest {
  const tests = Object.entries(labels).map(
    ([name, value]) => [name, compileNames([value])] as const,
  )
  return ({ principal }) =>
    tests.every(([name, is]) => {
      const value = Object.hasOwn(principal.labels, name) ? principal.labels[name] : undefined
      return value !== undefined && is(value)
    })
}

function compileModels(
  patterns: readonly string[],
  names: ModelNames,
  options: SelectorOptions,
): FieldTest {
  const { quantifier, modellessPasses } = options
  const matcher = quantifier === 'any' ? wideMatcher : strictMatcher
  const matches = matcher(patterns, names)
  const takesAny = patterns.includes('*')
  return ({ operation, models }) => {
    if (models.length === 0) return MODELLESS.has(operation) ? modellessPasses : takesAny
    return quantifier === 'any' ? models.some(matches) : models.every(matches)
  }
}

/**
 * A function that tells whether selectors match, for neighbours that have selectors of their own, like
 * limits. `input` and `when` are not looked at; one model that matches is enough. Each selectors object is
 * compiled when first seen.
 */
export function selectorMatcher(
  aliases: Readonly<Record<string, string>>,
): (selectors: Selectors, subject: Subject) => boolean {
  const names = new ModelNames(compileAliases(aliases))
  const compiled = new WeakMap<Selectors, SelectorTest>()
  return (selectors, subject) => {
    let test = compiled.get(selectors)
    if (test === undefined) {
      test = compileSelectors(selectors, names, { quantifier: 'any', modellessPasses: false })
      compiled.set(selectors, test)
    }
    return test.fails(subject) === null
  }
}
