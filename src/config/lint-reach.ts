import type { Operation } from '../exchange.ts'
import type { PolicyConfig, Selectors } from './snapshot.ts'
import { wildcard } from './wildcard.ts'

/** Which calls selectors can be about, told from the selectors alone; in doubt, no. */

/** Anything that names models. */
export type Scoped = Pick<Selectors, 'models'>

const MODELLESS = /^(models|files\..*|stored\..*|admin)$/

/** Whether an operation names no model, because none is asked to do anything. */
export function isModelless(operation: Operation): boolean {
  return MODELLESS.test(operation)
}

const LISTS = ['tenants', 'keys', 'users', 'roles', 'operations', 'upstreams'] as const

/**
 * Whether every call that `inner` is about is one that `outer` matches. Both are an allow or a deny, in
 * which `for` and the verb mean the same.
 */
export function covers(outer: PolicyConfig, inner: PolicyConfig): boolean {
  const narrow = parts(inner)
  const lets = outer.verb === 'allow' && !namesUnread(outer) && namesUnread(inner)
  // Only an allow that names content nobody can read lets it pass a policy on text.
  if (lets) return false
  return parts(outer).every((wide) => {
    const lists = LISTS.every(
      (field) => wide[field] === null || narrow.some((each) => isWithin(each[field], wide[field])),
    )
    return (
      lists &&
      coversModels(wide.models, outer, inner) &&
      coversLabels(wide.labels, narrow) &&
      coversExactly(wide, narrow)
    )
  })
}

function namesUnread(policy: PolicyConfig): boolean {
  return parts(policy).some(({ uninspectable }) => uninspectable !== null)
}

function parts({ for: narrowed, selectors }: PolicyConfig): readonly Selectors[] {
  return narrowed === null ? [selectors] : [narrowed, selectors]
}

/** A pattern is within another one when that matches it letter by letter, its `*` included. */
function isWithin(inner: readonly string[] | null, outer: readonly string[] | null): boolean {
  if (outer === null) return true
  return inner !== null && inner.every((name) => outer.some((pattern) => wildcard(pattern, name)))
}

/** A deny on models does not see a call without one, where an allow on models lets it pass. */
function coversModels(
  models: readonly string[] | null,
  outer: PolicyConfig,
  inner: PolicyConfig,
): boolean {
  if (models === null) return true
  const lower = models.map((model) => model.toLowerCase())
  const narrow = parts(inner)
  const within = narrow.some((each) =>
    isWithin(each.models?.map((model) => model.toLowerCase()) ?? null, lower),
  )
  if (!within || outer.verb === inner.verb) return within
  return narrow.some(({ operations }) => operations?.every((each) => !isModelless(each)) === true)
}

function coversLabels(labels: Selectors['labels'], narrow: readonly Selectors[]): boolean {
  return Object.entries(labels ?? {}).every(([name, pattern]) =>
    narrow.some((each) => {
      const value = each.labels?.[name]
      return value !== undefined && wildcard(pattern, value)
    }),
  )
}

const COMPARED: ReadonlySet<string> = new Set([...LISTS, 'models', 'labels'])

/** What is not a list covers only what says the same. */
function coversExactly(wide: Selectors, narrow: readonly Selectors[]): boolean {
  return Object.entries(wide).every(([field, value]) => {
    if (value === null || COMPARED.has(field)) return true
    const text = JSON.stringify(value)
    return narrow.some((each) => JSON.stringify(each[field as keyof Selectors]) === text)
  })
}

/** Whether two lists of patterns can have a name in common; a list that is absent has every name. */
export function overlaps(
  one: readonly string[] | null | undefined,
  other: readonly string[] | null | undefined,
): boolean {
  if (one == null || other == null) return true
  return one.some((left) => other.some((right) => meet(left, right)))
}

function meet(one: string, other: string): boolean {
  if (!one.includes('*')) return wildcard(other, one)
  if (!other.includes('*')) return wildcard(one, other)
  const [head, tail] = ends(one)
  const [otherHead, otherTail] = ends(other)
  const begins = head.startsWith(otherHead) || otherHead.startsWith(head)
  return begins && (tail.endsWith(otherTail) || otherTail.endsWith(tail))
}

function ends(pattern: string): readonly [string, string] {
  return [pattern.slice(0, pattern.indexOf('*')), pattern.slice(pattern.lastIndexOf('*') + 1)]
}
