import type { AdminAct } from '../audit/admin-entry.ts'
import { type ErrorCode, GovernorError, type GovernorErrorOptions } from '../errors.ts'
import type { Principal } from '../exchange.ts'
import { rolesWith, type Permission } from './roles.ts'
import type { AdminRoute } from './routes.ts'

/** One request of the admin API, after everything about it was checked. */

/** Values of path and query, as their schemas say. */
export type Asked = Readonly<Record<string, string | number | undefined>>

/** An answer; `value` becomes JSON. */
export interface AdminAnswer {
  readonly value: object
}

/** What a request does, by the id of its route. */
export type AdminHandler = (call: AdminCall) => AdminAnswer | Promise<AdminAnswer>

/** A refusal that says more than `error`: the problems of a file. */
export class AdminRefusal extends GovernorError {
  /** Members beside `error`. */
  readonly more: object

  constructor(code: ErrorCode, options: GovernorErrorOptions, more: object) {
    super(code, options)
    this.more = more
  }
}

/** Who asks for what, and what of it the audit is told. */
export class AdminCall {
  readonly requestId: string
  readonly principal: Principal
  readonly permissions: ReadonlySet<Permission>
  readonly route: AdminRoute
  readonly asked: Asked
  /** As the route's schema says; empty where nothing was sent. */
  readonly body: Readonly<Record<string, unknown>>
  /** Whether its entry was made: of a change, before it was done. */
  isRecorded = false
  readonly #about: Record<string, string> = {}
  readonly #record: (act: AdminAct) => Promise<void>

  constructor(
    {
      requestId,
      principal,
      permissions,
      route,
      asked,
      body,
    }: Pick<AdminCall, 'requestId' | 'principal' | 'permissions' | 'route' | 'asked' | 'body'>,
    record: (act: AdminAct) => Promise<void>,
  ) {
    this.requestId = requestId
    this.principal = principal
    this.permissions = permissions
    this.route = route
    this.asked = asked
    this.body = body
    this.#record = record
    for (const [name, value] of Object.entries(asked)) {
      if (value !== undefined) this.#about[name] = String(value)
    }
  }

  /** The only tenant the caller may see; null is every one. */
  get onlyTenant(): string | null {
    return this.permissions.has('tenants.all') ? null : this.principal.tenant
  }

  /**
   * The tenant that is asked about: the one that is named, else the only one the caller may see; null
   * is all of them. Throws ADMIN_FORBIDDEN for another tenant than that.
   */
  tenant(named = this.asked['tenant']): string | null {
    const { onlyTenant } = this
    if (typeof named !== 'string') return onlyTenant
    if (onlyTenant !== null && named !== onlyTenant) {
      throw new GovernorError('ADMIN_FORBIDDEN', {
        detail: `it is of tenant "${onlyTenant}"`,
        hint: `Other tenants need tenants.all (${rolesWith('tenants.all').join(', ')})`,
        param: 'tenant',
      })
    }
    return named
  }

  /** Says what the act is about; ids and names only. */
  tell(about: Readonly<Record<string, string>>): void {
    Object.assign(this.#about, about)
  }

  /** Before a change is made: resolves when it is on the disk. Rejects with AUDIT_UNAVAILABLE. */
  async record(about: Readonly<Record<string, string>> = {}): Promise<void> {
    this.tell(about)
    await this.#record(this.act())
    this.isRecorded = true
  }

  /** What the audit is told of it; `code` where it was refused. */
  act(code?: string): AdminAct {
    const { requestId, route, principal } = this
    const about = { ...this.#about }
    return {
      requestId,
      action: route.id,
      by: principal,
      about,
      ...(code !== undefined && { code }),
    }
  }
}
