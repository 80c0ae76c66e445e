import type { KeyPage, KeyStore, StoredKey } from '../auth/key-store.ts'
import { type KeyRecord, type KeySpec, keyState } from '../auth/key.ts'
import { wallMs } from '../clock.ts'
import { parseDuration } from '../config/units.ts'
import { GovernorError } from '../errors.ts'
import { createKey, getKey, type KeyAdmin, revokeKey, rotateKey } from '../key-admin.ts'
import type { AdminCall, AdminHandler } from './call.ts'
import { exceeding, rolesWith } from './roles.ts'
import { KEYS_A_PAGE } from './routes-keys.ts'

/** What the admin API needs to show and change keys. */
export interface KeyParts {
  /** The store that the configuration names. Rejects where it cannot be opened. */
  store(): Promise<KeyStore>
  readonly bcryptCost: number
  /** Told after a change, so that this process knows it before the answer is sent. */
  changed(): void
}

/** A century in days; what is longer means never, which is the default. */
const LIFETIME_MS_MAX = 36_525 * 86_400_000
const OVERLAP_MS_MAX = 90 * 86_400_000
const DAY_MS = 86_400_000

/** Handlers of `keys.*`: the functions of the `keys` commands, within what the caller may see. */
export function keyHandlers(parts: KeyParts): Record<string, AdminHandler> {
  const handler = (act: (call: AdminCall, store: KeyStore) => Promise<object>): AdminHandler => {
    return async (call) => {
      try {
        return { value: await act(call, await parts.store()) }
      } catch (error) {
        throw storeError(error)
      }
    }
  }
  const change = (act: (call: AdminCall, admin: KeyAdmin) => Promise<object>): AdminHandler => {
    return handler(async (call, store) => {
      const value = await act(call, adminOf(call, store, parts.bcryptCost))
      parts.changed()
      return value
    })
  }
  return {
    'keys.list': handler(list),
    'keys.get': handler(async (call, store) => shown(await found(call, store))),
    'keys.create': change(create),
    'keys.rotate': change(rotate),
    'keys.revoke': change(revoke),
  }
}

/** The entry names who did it; the functions of the commands say what. */
function adminOf(call: AdminCall, store: KeyStore, bcryptCost: number): KeyAdmin {
  return { store, bcryptCost, record: (_action, about) => call.record(about) }
}

/** A store that fails is a 503. */
function storeError(error: unknown): GovernorError {
  if (error instanceof GovernorError) return error
  return new GovernorError('AUTH_UNAVAILABLE', { cause: error, headers: { 'retry-after': '1' } })
}

/** Nothing was changed: a line that somebody has to put there is for the command, which prints it. */
function unwritten({ store }: KeyAdmin): GovernorError {
  return new GovernorError('ADMIN_CONFLICT', {
    detail: `${store.place} (auth.keys.path) cannot be written to from here`,
    hint: 'Use governor keys: it prints the line to put there',
  })
}

function targetOf(call: AdminCall) {
  return { keyId: String(call.asked['key_id']), tenant: call.onlyTenant }
}

/** A key of another tenant is as unknown as one that is not there. */
async function found(call: AdminCall, store: KeyStore): Promise<StoredKey> {
  const key = await getKey(store, targetOf(call))
  if (key === null) throw unknownKey()
  return key
}

function unknownKey(): GovernorError {
  return new GovernorError('ADMIN_UNKNOWN', { detail: 'no such key' })
}

async function list(call: AdminCall, store: KeyStore): Promise<object> {
  const { limit, after } = call.asked
  const max = typeof limit === 'number' ? limit : KEYS_A_PAGE
  const page = await store.list({ tenant: call.tenant(), after: placeOf(after), max })
  const last = page.length < max ? undefined : page.at(-1)
  const next = last === undefined ? null : `${last.createdAtMs}.${last.keyId}`
  return { keys: page.map(shown), next }
}

function placeOf(after: string | number | undefined): KeyPage['after'] {
  if (typeof after !== 'string') return null
  const [createdAtMs = '', keyId = ''] = after.split('.')
  return { createdAtMs: Number(createdAtMs), keyId }
}

async function create(call: AdminCall, admin: KeyAdmin): Promise<object> {
  const { body, principal } = call
  const spec = { ...specOf(body), tenant: call.tenant(body['tenant'] as string | undefined) }
  const tenant = spec.tenant ?? principal.tenant
  call.tell({ tenant, name: spec.name, roles: spec.roles.join(' ') })
  forbidMore(call, spec)
  const { key, record, row } = await createKey(admin, { ...spec, tenant })
  if (row !== undefined) throw unwritten(admin)
  return { key, record: shown(neverUsed(record)) }
}

/** As its schema let it pass. */
function specOf(body: AdminCall['body']): KeySpec {
  const lifetimeMs = durationOf(body, 'expires_in', LIFETIME_MS_MAX)
  const texts = (name: string) => (body[name] ?? []) as readonly string[]
  return {
    tenant: '',
    name: body['name'] as string,
    user: (body['user'] ?? '') as string,
    roles: texts('roles'),
    labels: (body['labels'] ?? {}) as Readonly<Record<string, string>>,
    upstreams: texts('upstreams'),
    expiresAtMs: lifetimeMs === null ? null : wallMs() + lifetimeMs,
  }
}

async function rotate(call: AdminCall, admin: KeyAdmin): Promise<object> {
  const former = await found(call, admin.store)
  forbidMore(call, former)
  const overlapMs = durationOf(call.body, 'overlap', OVERLAP_MS_MAX, true) ?? DAY_MS
  const lifetimeMs = durationOf(call.body, 'expires_in', LIFETIME_MS_MAX)
  const end = lifetimeMs === null ? {} : { expiresAtMs: wallMs() + lifetimeMs }
  const rotated = await rotateKey(admin, targetOf(call), { overlapMs, ...end })
  if (rotated.outcome === 'unknown') throw unknownKey()
  if (rotated.outcome !== 'rotated') throw conflict(rotated.outcome)
  const { key, record, row } = rotated
  if (row !== undefined) throw unwritten(admin)
  return { key, record: shown({ ...record, lastUsedAtMs: former.lastUsedAtMs }) }
}

const CONFLICTS = {
  revoked: { detail: 'the key was revoked', hint: 'Make another' },
  expired: { detail: 'the key has expired', hint: 'Send expires_in, too' },
  changed: { detail: 'somebody else has changed the key just now', hint: 'Look and try again' },
} as const

function conflict(outcome: keyof typeof CONFLICTS): GovernorError {
  return new GovernorError('ADMIN_CONFLICT', CONFLICTS[outcome])
}

async function revoke(call: AdminCall, admin: KeyAdmin): Promise<object> {
  forbidMore(call, await found(call, admin.store))
  const revoked = await revokeKey(admin, targetOf(call))
  if (revoked.outcome === 'unknown') throw unknownKey()
  if (revoked.outcome === 'unwritten') throw unwritten(admin)
  return shown(await found(call, admin.store))
}

/** Whoever makes a key, or is given the secret of one, could act with its roles. */
function forbidMore(
  { permissions, principal }: AdminCall,
  { roles, upstreams = [] }: Pick<KeySpec, 'roles' | 'upstreams'>,
): void {
  const own = principal.upstreams
  const isWithin = upstreams.length > 0 && upstreams.every((each) => own?.includes(each) === true)
  if (own !== undefined && !isWithin) {
    throw new GovernorError('ADMIN_FORBIDDEN', {
      detail: `the key is or would be for other upstreams than ${own.join(', ')}`,
      hint: 'These are all that the calls of the caller may go to',
      param: '/upstreams',
    })
  }
  const more = exceeding(roles, permissions)
  if (more === null) return
  throw new GovernorError('ADMIN_FORBIDDEN', {
    detail: `the key has or would have ${more}, which the caller has not`,
    hint: `Roles that have it: ${rolesWith(more).join(', ')}`,
    param: '/roles',
  })
}

/** Milliseconds; null where it is absent. Throws FIELD_INVALID for none and for more than `msMax`. */
function durationOf(
  body: AdminCall['body'],
  name: string,
  msMax: number,
  mayBeZero = false,
): number | null {
  const text = body[name]
  if (typeof text !== 'string') return null
  const parsed = parseDuration(text)
  const isLong = parsed.ok && parsed.value <= msMax && (mayBeZero || parsed.value > 0)
  if (isLong) return parsed.value
  throw new GovernorError('FIELD_INVALID', {
    detail: `"/${name}": expected ${mayBeZero ? 'at most' : 'more than 0 and at most'} ${msMax / DAY_MS}d`,
    param: `/${name}`,
  })
}

function neverUsed(record: KeyRecord): StoredKey {
  return { ...record, lastUsedAtMs: null }
}

/** All but the hashes of its secrets. */
function shown(key: StoredKey): object {
  const { keyId, tenant, name, user, roles, labels, upstreams } = key
  const nowMs = wallMs()
  const former = key.former !== null && nowMs < key.former.untilMs ? key.former : null
  return {
    key_id: keyId,
    tenant,
    name,
    user,
    roles,
    labels,
    upstreams,
    state: keyState(key, nowMs),
    created_at: timeOf(key.createdAtMs),
    expires_at: timeOf(key.expiresAtMs),
    revoked_at: timeOf(key.revokedAtMs),
    former_until: timeOf(former?.untilMs ?? null),
    last_used_at: key.lastUsedAtMs === 'unknown' ? 'unknown' : timeOf(key.lastUsedAtMs),
  }
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
