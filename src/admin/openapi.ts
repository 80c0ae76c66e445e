import { type ErrorCode, ERRORS } from '../errors.ts'
import { PERMISSIONS, rolesWith } from './roles.ts'
import { PROBLEMS } from './routes-config.ts'
import { ADMIN_ROOT, ADMIN_ROUTES, type AdminRoute } from './routes.ts'
import type { Schema } from './schema.ts'
import { closed, orNull, TEXT } from './shapes.ts'

/** What every route may answer with, whoever asks for what. */
export const COMMON_ERRORS: readonly ErrorCode[] = [
  'QUERY_UNKNOWN',
  'FIELD_INVALID',
  'HEADER_INVALID',
  'AUTH_KEY_MISSING',
  'AUTH_KEY_INVALID',
  'ADMIN_FORBIDDEN',
  'HOST_UNKNOWN',
  'AUTH_BUSY',
  'LIMIT_EXCEEDED',
  'INTERNAL',
  'AUTH_UNAVAILABLE',
  'OVERLOADED',
]
/** And those that take a body. */
export const BODY_ERRORS: readonly ErrorCode[] = [
  'BODY_INVALID',
  'BODY_TOO_LARGE',
  'CONTENT_TYPE_UNSUPPORTED',
]

/** Every error of the admin API has this shape. */
export const ERROR_SHAPE: Schema = closed(
  {
    error: closed({
      code: { type: 'string', description: 'one of the table under Errors in the README' },
      message: TEXT,
      param: orNull({ type: 'string', description: 'the field or parameter at fault' }),
      request_id: TEXT,
    }),
    problems: { ...PROBLEMS, description: 'of a refused reload' },
  },
  ['problems'],
)

/** The admin API as OpenAPI 3.1, from the tables that the router reads. */
export function openApi(): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of ADMIN_ROUTES) {
    const path = `${ADMIN_ROOT}${route.path}`
    const operations = (paths[path] ??= {})
    operations[route.method.toLowerCase()] = operationOf(route)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Governor admin API',
      version: '1',
      description:
        'On `listen.admin` only. The caller is a Governor key with an admin role; what it may see ends at its tenant unless it has the role `fleet`.',
      license: { name: 'See LICENSE', url: 'https://spdx.org/licenses/' },
    },
    servers: [{ url: 'http://127.0.0.1:4142' }],
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', bearerFormat: '<key_id>.<secret>' },
      },
      schemas: { Error: ERROR_SHAPE },
    },
  }
}

function operationOf(route: AdminRoute): object {
  const { id, summary, permission, wholeFleet, params, query, body, status } = route
  const roles = rolesWith(permission)
  const whole = wholeFleet ? ` and \`${PERMISSIONS.at(-1)}\` (fleet)` : ''
  return {
    operationId: id,
    summary,
    description: `Needs \`${permission}\` (${roles.join(', ')})${whole}.`,
    parameters: [
      ...Object.entries(params).map((each) => parameter(each, 'path')),
      ...Object.entries(query).map((each) => parameter(each, 'query')),
    ],
    ...(body !== null && { requestBody: bodyOf(route, body) }),
    responses: {
      [status]: {
        description: 'Done',
        content: { 'application/json': { schema: route.answer, example: route.example } },
      },
      ...errorsOf(route),
    },
  }
}

function parameter([name, schema]: [string, Schema], place: 'path' | 'query'): object {
  return { name, in: place, required: place === 'path', schema }
}

function bodyOf({ sent }: AdminRoute, schema: Schema): object {
  const required = (schema.required ?? []).length > 0
  return { required, content: { 'application/json': { schema, example: sent } } }
}

/** One answer for each status, which names its codes. */
function errorsOf({ body, refuses }: AdminRoute): Record<string, object> {
  const codes = [...COMMON_ERRORS, ...(body === null ? [] : BODY_ERRORS), ...refuses]
  const byStatus = Map.groupBy(new Set(codes), (code) => ERRORS[code].status)
  const statuses = [...byStatus.keys()].sort((a, b) => a - b)
  const content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }
  return Object.fromEntries(
    statuses.map((status) => {
      return [String(status), { description: byStatus.get(status)!.join(', '), content }]
    }),
  )
}
