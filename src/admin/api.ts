import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

import type { AdminAct } from '../audit/admin-entry.ts'
import type { Recorder } from '../audit/record.ts'
import { authenticate } from '../auth/authenticate.ts'
import type { KeyRing } from '../auth/key-ring.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import { readJson } from '../dialect/json.ts'
import { GovernorError } from '../errors.ts'
import type { Principal } from '../exchange.ts'
import { answerAdmin, readAdminBody } from '../http/admin-request.ts'
import { checkHeaders, limitAddress } from '../http/headers.ts'
import { TokenBucket } from '../limit/window.ts'
import type { Log } from '../log.ts'
import { inTurns } from '../turns.ts'
import { AdminCall, type AdminHandler, AdminRefusal } from './call.ts'
import { type MatchedRoute, matchRoute, readAsked } from './match.ts'
import { permissionsOf, rolesWith } from './roles.ts'
import { violation } from './schema.ts'

/** What the admin API needs of the Governor it belongs to. */
export interface AdminParts {
  readonly ring: KeyRing
  readonly recorder: Pick<Recorder, 'recordAct' | 'noteAct' | 'unauthenticated'>
  readonly log: Log
  /** By the id of the route. */
  readonly handlers: Readonly<Record<string, AdminHandler>>
}

/** Requests of one key: a person or a script that looks, not a load. */
const RATE = { count: 10, windowMs: 1_000 }
const BURST = 50
/** Keys whose rate is kept; the one that asked first is forgotten for another. */
const KEYS_MAX = 1_024
const AT_ONCE_MAX = 16
/** A tenant that sends slowly, or asks for much, must not keep others from revoking a key. */
const AT_ONCE_BY_TENANT_MAX = 8
const JSON_DEPTH_MAX = 8
/** Other ways in than a Governor key are no ways in here. */
const KEYS_ONLY = { tokens: null, certificate: null, pod: null }

/**
 * `/admin/v1`: who asks is known by a Governor key, may do what its roles say, sees its tenant, and is
 * in the audit with what it did or was refused. Nothing here is on the path of a call.
 */
export class AdminApi {
  readonly #parts: AdminParts
  readonly #rates = new Map<string, TokenBucket>()
  readonly #underWayByTenant = new Map<string, number>()
  #underWay = 0

  constructor(parts: AdminParts) {
    this.#parts = parts
  }

  /** Answers one request. Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = randomUUID()
    this.#underWay += 1
    try {
      const { status, value } = await this.#answer(request, requestId)
      const headers = ['x-governor-request-id', requestId]
      answerAdmin(request, response, { status, value, headers })
    } catch (thrown) {
      this.#refuse(request, response, { error: GovernorError.from(thrown), requestId })
    } finally {
      this.#underWay -= 1
    }
  }

  async #answer(
    request: IncomingMessage,
    requestId: string,
  ): Promise<{ readonly status: number; readonly value: object }> {
    if (this.#underWay > AT_ONCE_MAX) {
      throw new GovernorError('OVERLOADED', { detail: `${AT_ONCE_MAX} questions at once` })
    }
    const principal = await this.#known(request)
    const { tenant } = principal
    this.#underWayByTenant.set(tenant, (this.#underWayByTenant.get(tenant) ?? 0) + 1)
    try {
      return await this.#act(request, principal, requestId)
    } finally {
      const left = this.#underWayByTenant.get(tenant)! - 1
      if (left === 0) this.#underWayByTenant.delete(tenant)
      else this.#underWayByTenant.set(tenant, left)
    }
  }

  async #act(
    request: IncomingMessage,
    principal: Principal,
    requestId: string,
  ): Promise<{ readonly status: number; readonly value: object }> {
    let call: AdminCall | null = null
    const [path, query] = splitTarget(request.url ?? '')
    let matched: MatchedRoute | null = null
    try {
      this.#paced(principal)
      matched = matchRoute(request.method ?? '', path)
      const { route } = matched
      const permissions = permissionsOf(principal.roles)
      const asked = readAsked(matched, query)
      const own = { requestId, principal, permissions, route, asked, body: {} }
      const record = (act: AdminAct) => this.#parts.recorder.recordAct(act)
      call = new AdminCall(own, record)
      permit(call)
      const bytes = await readAdminBody(request)
      const body = await readBody(bytes, call)
      if (body !== null) call = new AdminCall({ ...own, body }, record)
      const { value } = await this.#parts.handlers[route.id]!(call)
      if (!call.isRecorded) this.#parts.recorder.noteAct(call.act())
      return { status: route.status, value }
    } catch (thrown) {
      const { code } = GovernorError.from(thrown)
      // A change that is recorded and then fails has an entry; that it failed is another.
      const act = call?.act(code) ?? unknownAct(principal, requestId, { matched, code })
      this.#parts.recorder.noteAct(act)
      throw thrown
    }
  }

  /** Who asks. What is refused before anybody is known is only counted. */
  async #known({ rawHeaders, headers, socket }: IncomingMessage): Promise<Principal> {
    const { recorder, ring } = this.#parts
    try {
      checkHeaders(rawHeaders, headers)
      const ip = limitAddress(socket.remoteAddress)
      const { authorization } = headers
      return await authenticate(
        { headers: { authorization }, socket, ip },
        ring,
        KEYS_ONLY,
        wallMs(),
      )
    } catch (thrown) {
      const error = GovernorError.from(thrown)
      recorder.unauthenticated(error.code, socket.remoteAddress)
      throw error
    }
  }

  #paced({ keyId, tenant }: Principal): void {
    if (this.#underWayByTenant.get(tenant)! > AT_ONCE_BY_TENANT_MAX) {
      throw new GovernorError('LIMIT_EXCEEDED', {
        detail: `${AT_ONCE_BY_TENANT_MAX} requests at once by one tenant`,
        headers: { 'retry-after': '1' },
      })
    }
    let bucket = this.#rates.get(keyId)
    if (bucket === undefined) {
      if (this.#rates.size >= KEYS_MAX) this.#rates.delete(this.#rates.keys().next().value!)
      bucket = new TokenBucket(RATE, BURST)
      this.#rates.set(keyId, bucket)
    }
    const nowMs = monotonicMs()
    const { waitMs } = bucket.standing(RATE.count, nowMs)
    if (waitMs > 0) {
      throw new GovernorError('LIMIT_EXCEEDED', {
        detail: `${RATE.count} requests a second by one key`,
        headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
      })
    }
    bucket.charge(nowMs)
  }

  #refuse(
    request: IncomingMessage,
    response: ServerResponse,
    { error, requestId }: { readonly error: GovernorError; readonly requestId: string },
  ): void {
    const { code, status, message } = error
    if (error.source === 'governor') {
      this.#parts.log.error({ request_id: requestId, code, err: error.cause }, message)
    }
    const told = { code, message, param: error.param ?? null, request_id: requestId }
    const more = error instanceof AdminRefusal ? error.more : {}
    const own = Object.entries(error.headers ?? {}).flat()
    const headers = ['x-governor-request-id', requestId, 'x-governor-code', code, ...own]
    answerAdmin(request, response, { status, value: { error: told, ...more }, headers })
  }
}

/** Path and query, as sent. */
function splitTarget(target: string): [string, string] {
  const at = target.indexOf('?')
  return at === -1 ? [target, ''] : [target.slice(0, at), target.slice(at + 1)]
}

/** Throws ADMIN_FORBIDDEN and says which role would do. */
function permit({ route, permissions }: AdminCall): void {
  const { permission, wholeFleet } = route
  if (!permissions.has(permission)) {
    throw new GovernorError('ADMIN_FORBIDDEN', {
      detail: `it needs ${permission}`,
      hint: `Roles that have it: ${rolesWith(permission).join(', ')}`,
    })
  }
  if (wholeFleet && !permissions.has('tenants.all')) {
    throw new GovernorError('ADMIN_FORBIDDEN', {
      detail: 'it is about all tenants',
      hint: `That needs the role ${rolesWith('tenants.all').join(', ')} beside it`,
    })
  }
}

/** Strictly: no name twice, no text that is not UTF-8. Throws BODY_INVALID and FIELD_INVALID. */
async function readBody(
  bytes: Buffer,
  { route: { body: schema } }: AdminCall,
): Promise<Readonly<Record<string, unknown>> | null> {
  if (schema === null) {
    if (bytes.length === 0) return null
    throw new GovernorError('BODY_INVALID', { detail: 'there is none here' })
  }
  const given = bytes.length === 0 ? Buffer.from('{}') : bytes
  await inTurns(readJson(given, JSON_DEPTH_MAX))
  const value: unknown = JSON.parse(given.toString())
  const wrong = violation(schema, value)
  if (wrong !== null) {
    const { pointer, expected } = wrong
    throw new GovernorError('FIELD_INVALID', {
      detail: `${pointer === '' ? 'the body' : `"${pointer}"`}: expected ${expected}`,
      param: pointer,
    })
  }
  return value as Readonly<Record<string, unknown>>
}

/** Of a request that never became a call: which route it was after, if any. */
function unknownAct(
  by: Principal,
  requestId: string,
  { matched, code }: { readonly matched: MatchedRoute | null; readonly code: string },
): AdminAct {
  return { requestId, action: matched?.route.id ?? 'unknown', by, about: {}, code }
}
