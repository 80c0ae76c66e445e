import type { ErrorCode } from '../errors.ts'
import type { Permission } from './roles.ts'
import { AUDIT_ROUTES } from './routes-audit.ts'
import { CONFIG_ROUTES } from './routes-config.ts'
import { KEY_ROUTES } from './routes-keys.ts'
import type { AnySchema, Schema } from './schema.ts'

/** What the admin API can be asked, in one table: the router, the checks and the OpenAPI file read it. */

/** Every path begins so. */
export const ADMIN_ROOT = '/admin/v1'

/** One thing to ask. */
export interface AdminRoute {
  /** Names it in the audit and in OpenAPI: `keys.create`. */
  readonly id: string
  readonly method: 'GET' | 'POST'
  /** Below `ADMIN_ROOT`; a `{name}` is one segment. */
  readonly path: string
  readonly permission: Permission
  /** Changes something: its entry is durable before it is done. */
  readonly changes: boolean
  /** Is about all tenants, so that the key must be. */
  readonly wholeFleet: boolean
  readonly summary: string
  /** Of path and query; values arrive as texts, integers are read. */
  readonly params: Readonly<Record<string, Schema>>
  readonly query: Readonly<Record<string, Schema>>
  readonly body: Schema | null
  /** A body as it may be sent; null where there is none. */
  readonly sent: object | null
  readonly status: 200 | 201
  readonly answer: AnySchema
  /** An answer as it may come. */
  readonly example: object
  /** Beside those of every route. */
  readonly refuses: readonly ErrorCode[]
}

/** All of them. No two match the same path and method. */
export const ADMIN_ROUTES: readonly AdminRoute[] = [
  ...KEY_ROUTES,
  ...CONFIG_ROUTES,
  ...AUDIT_ROUTES,
]
