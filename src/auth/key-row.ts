import type { ImportResult, StoredKey } from './key-store.ts'
import type { KeyRecord } from './key.ts'

/** A key as a row of SQLite or PostgreSQL: lists and maps as JSON, times in milliseconds since 1970. */
export interface KeyRow {
  readonly key_id: string
  readonly tenant: string
  readonly name: string
  readonly user: string
  readonly roles: string
  readonly labels: string
  readonly upstreams: string
  readonly hash: string
  readonly former_hash: string | null
  readonly former_until_ms: number | null
  readonly created_at_ms: number
  readonly expires_at_ms: number | null
  readonly revoked_at_ms: number | null
  readonly last_used_at_ms?: number | null
}

/** Columns of a row, in the order of `keyValues`. */
export const KEY_COLUMNS = [
  'key_id',
  'tenant',
  'name',
  'user',
  'roles',
  'labels',
  'upstreams',
  'hash',
  'former_hash',
  'former_until_ms',
  'created_at_ms',
  'expires_at_ms',
  'revoked_at_ms',
] as const

/** What a row holds, in the order of `KEY_COLUMNS`. */
export function keyValues(record: KeyRecord): (string | number | null)[] {
  return [
    record.keyId,
    record.tenant,
    record.name,
    record.user,
    JSON.stringify(record.roles),
    JSON.stringify(record.labels),
    JSON.stringify(record.upstreams),
    record.hash,
    record.former?.hash ?? null,
    record.former?.untilMs ?? null,
    record.createdAtMs,
    record.expiresAtMs,
    record.revokedAtMs,
  ]
}

/** The ends of time to `Date` (ECMA-262 §21.4.1.1): what a hand wrote beyond them is cut to them. */
const TIME_MS_MAX = 8.64e15

function timeOf<Time extends number | null>(time: Time): Time | number {
  return time === null ? time : Math.min(Math.max(time, -TIME_MS_MAX), TIME_MS_MAX)
}

/** The key of a row. Throws SyntaxError for lists that are no JSON. */
export function keyOfRow(row: KeyRow): KeyRecord {
  const { former_hash: formerHash, former_until_ms: untilMs } = row
  return {
    keyId: row.key_id,
    tenant: row.tenant,
    name: row.name,
    user: row.user,
    roles: JSON.parse(row.roles) as string[],
    labels: JSON.parse(row.labels) as Record<string, string>,
    upstreams: JSON.parse(row.upstreams) as string[],
    hash: row.hash,
    former:
      formerHash === null || untilMs === null
        ? null
        : { hash: formerHash, untilMs: timeOf(untilMs) },
    createdAtMs: timeOf(row.created_at_ms),
    expiresAtMs: timeOf(row.expires_at_ms),
    revokedAtMs: timeOf(row.revoked_at_ms),
  }
}

/** The same, as it is listed. */
export function storedKeyOfRow(row: KeyRow): StoredKey {
  return { ...keyOfRow(row), lastUsedAtMs: timeOf(row.last_used_at_ms ?? null) }
}

/** What becomes of a key that is to be added where `found` is. */
export function addResult(record: KeyRecord, found: KeyRecord | null): ImportResult {
  if (found === null) return 'added'
  const same = JSON.stringify(keyValues(record)) === JSON.stringify(keyValues(found))
  return same ? 'same' : 'conflict'
}
