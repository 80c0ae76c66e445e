import { GovernorError } from '../errors.ts'
import type { Asked } from './call.ts'
import { ADMIN_ROOT, ADMIN_ROUTES, type AdminRoute } from './routes.ts'
import { type Schema, violation } from './schema.ts'

/** Raw targets of the admin API against its table: nothing is normalised, nothing unknown passes. */

/** A route, and the segments of its path as they were sent. */
export interface MatchedRoute {
  readonly route: AdminRoute
  readonly segments: Readonly<Record<string, string>>
}

interface Compiled {
  readonly route: AdminRoute
  readonly parts: readonly string[]
}

const COMPILED: readonly Compiled[] = ADMIN_ROUTES.map((route) => {
  return { route, parts: `${ADMIN_ROOT}${route.path}`.split('/') }
})

/** Finds the route. Throws ADMIN_UNKNOWN (404) and METHOD_NOT_ALLOWED (405). */
export function matchRoute(method: string, path: string): MatchedRoute {
  const sent = path.split('/')
  const there = COMPILED.filter(({ parts }) => isAt(parts, sent))
  const found = there.find(({ route }) => route.method === method)
  if (found !== undefined) {
    const names = found.parts.map((part, index) => [part, sent[index]!] as const)
    const segments = names.filter(([part]) => part.startsWith('{'))
    return {
      route: found.route,
      segments: Object.fromEntries(segments.map(([part, value]) => [part.slice(1, -1), value])),
    }
  }
  if (there.length === 0) {
    const roots = new Set(ADMIN_ROUTES.map((route) => route.path.split('/')[1]!))
    throw new GovernorError('ADMIN_UNKNOWN', {
      detail: `below ${ADMIN_ROOT} there are ${[...roots].join(', ')}`,
    })
  }
  const allow = there.map(({ route }) => route.method).join(', ')
  throw new GovernorError('METHOD_NOT_ALLOWED', { headers: { allow } })
}

function isAt(parts: readonly string[], sent: readonly string[]): boolean {
  return (
    parts.length === sent.length &&
    parts.every(
      (part, index) => part === sent[index] || (part.startsWith('{') && sent[index] !== ''),
    )
  )
}

/**
 * Segments and query as the route's schemas say. Throws QUERY_UNKNOWN (400) for a parameter it has not or
 * that is there twice, FIELD_INVALID (400) for a value.
 */
export function readAsked({ route, segments }: MatchedRoute, query: string): Asked {
  const asked: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(segments)) {
    asked[name] = checked(name, value, route.params[name]!)
  }
  if (!isUtf8(query)) {
    throw new GovernorError('FIELD_INVALID', { detail: 'the query has a "%" that encodes no text' })
  }
  for (const [name, value] of new URLSearchParams(query)) {
    const schema = Object.hasOwn(route.query, name) ? route.query[name] : undefined
    if (schema === undefined || Object.hasOwn(asked, name)) {
      const known = Object.keys(route.query).join(', ')
      throw new GovernorError('QUERY_UNKNOWN', {
        detail: schema === undefined ? 'it has no such name' : 'it is there twice',
        hint: known === '' ? 'There are none here' : `There are: ${known}`,
        param: name.slice(0, 64).toWellFormed(),
      })
    }
    asked[name] = checked(name, value, schema)
  }
  return asked
}

/** URLSearchParams puts U+FFFD where a percent encoding (RFC 3986 §2.1) holds no UTF-8. */
function isUtf8(query: string): boolean {
  try {
    decodeURIComponent(query)
    return true
  } catch {
    return false
  }
}

function checked(name: string, text: string, schema: Schema): string | number {
  const isNumber = schema.type === 'integer' && /^\d{1,15}$/.test(text)
  const value = isNumber ? Number(text) : text
  const wrong = violation(schema, value)
  if (wrong === null) return value
  throw new GovernorError('FIELD_INVALID', {
    detail: `"${name}": expected ${wrong.expected}`,
    param: name,
  })
}
