import type { Dialect, Endpoint, Route } from '../exchange.ts'

/** Identifiers between single slashes: no server reads such a path in two ways, but for its case. */
const PLAIN = /^(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,127})+$/
const BODIES: Readonly<Record<string, Endpoint['body']>> = {
  GET: 'none',
  DELETE: 'none',
  PATCH: 'json',
  POST: 'json',
  PUT: 'json',
}

/**
 * The route of a call to an endpoint that is in no table, JSON or without a body; null for one that may
 * not pass even where such calls may, as it could be a known endpoint in another spelling.
 */
export function unknownRoute(
  method: string,
  path: string,
  dialect: Dialect,
): Omit<Route, 'mount'> | null {
  const body = BODIES[method]
  if (body === undefined || !PLAIN.test(path)) return null
  const folded = path.toLowerCase()
  if (folded !== path && dialect.lookup(method, folded).kind !== 'unknown') return null
  return {
    endpoint: { operation: 'other', api: 'other', body, query: [], generates: body === 'json' },
    dialect,
    path,
    pathModel: null,
  }
}
