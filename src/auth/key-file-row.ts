import { isKeyHash, isKeyId, type KeyRecord } from './key.ts'

/** A key as one line of a file: what `keys create` prints, and `keys export` writes. */

/** A row's columns, in the order they are written. */
const NAMES = [
  'key_id',
  'tenant',
  'name',
  'user',
  'roles',
  'labels',
  'upstreams',
  'hash',
  'former_hash',
  'former_until',
  'created_at',
  'expires_at',
  'revoked_at',
]
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/

/** One key as one line; a JSON object, and so YAML. What is empty is left out. */
export function keyRow(record: KeyRecord): string {
  const { former, user, roles, labels, upstreams, expiresAtMs, revokedAtMs } = record
  return JSON.stringify({
    key_id: record.keyId,
    tenant: record.tenant,
    name: record.name,
    ...(user !== '' && { user }),
    ...(roles.length > 0 && { roles }),
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(upstreams.length > 0 && { upstreams }),
    hash: record.hash,
    ...(former !== null && { former_hash: former.hash, former_until: iso(former.untilMs) }),
    created_at: iso(record.createdAtMs),
    ...(expiresAtMs !== null && { expires_at: iso(expiresAtMs) }),
    ...(revokedAtMs !== null && { revoked_at: iso(revokedAtMs) }),
  })
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString()
}

/** The key that a row says, or what is wrong with it. */
export function keyOf(value: unknown): KeyRecord | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'Expected a key: { key_id: …, tenant: …, name: …, hash: … }'
  }
  const row = value as Readonly<Record<string, unknown>>
  const wrong =
    unknownName(row) ?? wrongText(row) ?? wrongTime(row) ?? wrongList(row) ?? wrongHash(row)
  if (wrong !== null) return wrong
  return recordOf(value as GoodRow)
}

/** A row that was checked. */
interface GoodRow {
  readonly key_id: string
  readonly tenant: string
  readonly name: string
  readonly user?: string
  readonly roles?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly upstreams?: readonly string[]
  readonly hash: string
  readonly former_hash?: string
  readonly former_until?: string
  readonly created_at?: string
  readonly expires_at?: string
  readonly revoked_at?: string
}

function recordOf(row: GoodRow): KeyRecord {
  const { key_id: keyId, tenant, name, user = '', roles = [], labels = {}, upstreams = [] } = row
  const { hash, former_hash: formerHash = '', created_at: created } = row
  const untilMs = timeMs(row.former_until)
  return {
    keyId,
    tenant,
    name,
    user,
    roles,
    labels,
    upstreams,
    hash,
    former: untilMs === null ? null : { hash: formerHash, untilMs },
    createdAtMs: timeMs(created) ?? 0,
    expiresAtMs: timeMs(row.expires_at),
    revokedAtMs: timeMs(row.revoked_at),
  }
}

function timeMs(written: string | undefined): number | null {
  return written === undefined ? null : Date.parse(written)
}

type Row = Readonly<Record<string, unknown>>

function unknownName(row: Row): string | null {
  const name = Object.keys(row).find((each) => !NAMES.includes(each))
  return name === undefined
    ? null
    : `Unknown key ${JSON.stringify(name)}: there are ${NAMES.join(', ')}`
}

const CHARS_MAX = 256

function wrongText(row: Row): string | null {
  for (const name of ['key_id', 'tenant', 'name', 'user']) {
    const value = row[name]
    if (name === 'user' && (value === undefined || value === '')) continue
    if (value === '' || !isText(value))
      return `Expected ${name}: a text of at most ${CHARS_MAX} characters, none a control character`
  }
  return isKeyId(row['key_id'] as string)
    ? null
    : 'Expected key_id: what stands before the dot in a key'
}

function wrongTime(row: Row): string | null {
  for (const name of ['former_until', 'created_at', 'expires_at', 'revoked_at']) {
    const value = row[name]
    if (value === undefined) continue
    if (typeof value !== 'string' || !TIME.test(value) || Number.isNaN(Date.parse(value))) {
      return `Expected ${name}: a time in UTC like 2026-11-21T14:08:43Z`
    }
  }
  return null
}

/** No control characters, and no halves of characters: stores of text take neither. */
function isText(each: unknown): boolean {
  return typeof each === 'string' && each.length <= CHARS_MAX && !/[\p{Cc}\p{Cs}]/u.test(each)
}

function wrongList(row: Row): string | null {
  for (const name of ['roles', 'upstreams']) {
    const value = row[name]
    if (value !== undefined && !(Array.isArray(value) && value.every(isText))) {
      return `Expected ${name}: a list of texts`
    }
  }
  const { labels } = row
  if (labels === undefined) return null
  const isRecord = typeof labels === 'object' && labels !== null && !Array.isArray(labels)
  return isRecord && Object.values(labels).every(isText) ? null : 'Expected labels: a map of texts'
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && isKeyHash(value)
}

function wrongHash(row: Row): string | null {
  const { hash, former_hash: former, former_until: until } = row
  if (!isHash(hash))
    return 'Expected hash: the bcrypt hash of the secret, as `keys create` prints it'
  if (former === undefined && until === undefined) return null
  return isHash(former) && until !== undefined
    ? null
    : 'Expected former_hash and former_until together'
}
