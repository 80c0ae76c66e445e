import { randomBytes, randomUUID } from 'node:crypto'

/** One key as the store keeps it. The secret exists only as its bcrypt hash. */
export interface KeyRecord {
  readonly keyId: string
  readonly tenant: string
  readonly name: string
  readonly user: string
  readonly roles: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** bcrypt, as in `$2b$10$…`. */
  readonly hash: string
  readonly createdAtMs: number
  readonly expiresAtMs: number | null
  readonly revokedAtMs: number | null
}

/** What an operator chooses about a new key. */
export type KeySpec = Pick<
  KeyRecord,
  'tenant' | 'name' | 'user' | 'roles' | 'labels' | 'expiresAtMs'
>

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
const KEY = new RegExp(`^(${UUID})\\.([A-Za-z0-9_-]{32,72})$`)
const SHAPE = new RegExp(`^${UUID}\\.`)

/** Bytes of a secret: 43 characters of base64url, 256 bits; bcrypt reads at most 72 bytes. */
const SECRET_BYTES = 32

/** A new key id and secret; the key a client sends is `<key_id>.<secret>`. */
export function generateKey(): { readonly keyId: string; readonly secret: string } {
  return { keyId: randomUUID(), secret: randomBytes(SECRET_BYTES).toString('base64url') }
}

/** Splits `<key_id>.<secret>`; null when it is not exactly that. */
export function parseKey(text: string): { readonly keyId: string; readonly secret: string } | null {
  const match = KEY.exec(text)
  return match === null ? null : { keyId: match[1]!, secret: match[2]! }
}

/** Whether a credential means to be one of ours, so that a wrong one is never taken for another's. */
export function isGovernorShaped(text: string): boolean {
  return SHAPE.test(text.toLowerCase())
}

/** Whether the key may be used at `nowMs`. */
export function isUsable(record: KeyRecord, nowMs: number): boolean {
  return record.revokedAtMs === null && (record.expiresAtMs === null || nowMs < record.expiresAtMs)
}
