import { randomBytes, randomUUID } from 'node:crypto'

/** One key as the store keeps it. A secret exists only as its bcrypt hash. */
export interface KeyRecord {
  readonly keyId: string
  readonly tenant: string
  readonly name: string
  readonly user: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** Names of the upstreams its calls may go to; empty is all of them. */
  readonly upstreams: readonly string[]
  /** bcrypt, as in `$2b$10$…`. */
  readonly hash: string
  /** The secret before the last rotation, while it still opens; null without one. */
  readonly former: FormerSecret | null
  readonly createdAtMs: number
  readonly expiresAtMs: number | null
  readonly revokedAtMs: number | null
}

/** A secret that a rotation has replaced. */
export interface FormerSecret {
  readonly hash: string
  /** From then on it opens nothing. */
  readonly untilMs: number
}

/** What an operator chooses about a new key. */
export type KeySpec = Pick<
  KeyRecord,
  'tenant' | 'name' | 'user' | 'roles' | 'labels' | 'expiresAtMs'
> & { readonly upstreams?: readonly string[] }

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
const KEY = new RegExp(`^(${UUID})\\.([A-Za-z0-9_-]{32,72})$`)
const KEY_ID = new RegExp(`^${UUID}$`)
const SHAPE = new RegExp(`^${UUID}\\.`)
/** bcrypt in the work factors that are accepted anywhere here. */
const BCRYPT_HASH = /^\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}$/

/** Bytes of a secret: 43 characters of base64url, 256 bits; bcrypt reads at most 72 bytes. */
const SECRET_BYTES = 32

/** A new key id and secret; the key a client sends is `<key_id>.<secret>`. */
export function generateKey(): { readonly keyId: string; readonly secret: string } {
  return { keyId: randomUUID(), secret: generateSecret() }
}

/** A new secret, for a key that has an id. */
export function generateSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}

/** Splits `<key_id>.<secret>`; null when it is not exactly that. */
export function parseKey(text: string): { readonly keyId: string; readonly secret: string } | null {
  const match = KEY.exec(text)
  return match === null ? null : { keyId: match[1]!, secret: match[2]! }
}

/** Whether a text is the id of a key. */
export function isKeyId(text: string): boolean {
  return KEY_ID.test(text)
}

/** Whether a text is a hash that a secret can be compared with. */
export function isKeyHash(text: string): boolean {
  return BCRYPT_HASH.test(text)
}

/** Whether a credential means to be one of ours, so that a wrong one is never taken for another's. */
export function isGovernorShaped(text: string): boolean {
  return SHAPE.test(text.toLowerCase())
}

/** Whether the key may be used at `nowMs`. */
export function isUsable(record: KeyRecord, nowMs: number): boolean {
  return record.revokedAtMs === null && (record.expiresAtMs === null || nowMs < record.expiresAtMs)
}

/** What a key is at `nowMs`; `rotating` while a former secret opens, too. */
export function keyState(
  record: KeyRecord,
  nowMs: number,
): 'active' | 'rotating' | 'expired' | 'revoked' {
  if (record.revokedAtMs !== null) return 'revoked'
  if (!isUsable(record, nowMs)) return 'expired'
  return record.former !== null && nowMs < record.former.untilMs ? 'rotating' : 'active'
}
