import { hash } from 'node:crypto'

import { createLocalJWKSet, type JSONWebKeySet, type JWK, type LocalJWKSet } from 'jose'

/** Public keys of an issuer. */
export interface KeySet {
  readonly find: LocalJWKSet
  /** The same for the same keys. */
  readonly digest: string
}

/** More are none. */
export const KEYS_MAX = 100
/** Of base64url: 2,048 and 16,384 bits (NIST SP 800-131A; OpenSSL's own maximum). */
const MODULUS_CHARS = { min: 342, max: 2731 }
/** 65537 is `AQAB`; the work of a verification grows with it. */
const EXPONENT_CHARS_MAX = 6

/**
 * Reads a JSON Web Key Set; null where it holds no key to verify signatures with. Symmetric keys, keys
 * with a private half and RSA keys that are weak or built to be slow are left out.
 */
export function readKeySet(value: unknown): KeySet | null {
  const listed = typeof value === 'object' && value !== null && 'keys' in value ? value.keys : null
  if (!Array.isArray(listed) || listed.length > KEYS_MAX) return null
  const keys = listed.map(withoutNulls).filter(isUsable)
  if (keys.length === 0) return null
  const set: JSONWebKeySet = { keys }
  return { find: createLocalJWKSet(set), digest: hash('sha256', JSON.stringify(keys)) }
}

/** What some issuers write for what is not there. */
function withoutNulls(key: unknown): unknown {
  if (typeof key !== 'object' || key === null) return key
  return Object.fromEntries(Object.entries(key).filter(([, value]) => value !== null))
}

function isUsable(key: unknown): key is JWK {
  if (typeof key !== 'object' || key === null) return false
  const { kty, d, k, n, e } = key as Readonly<Record<string, unknown>>
  if (d !== undefined || k !== undefined) return false
  if (kty === 'EC' || kty === 'OKP') return true
  if (kty !== 'RSA' || typeof n !== 'string' || typeof e !== 'string') return false
  const { min, max } = MODULUS_CHARS
  return n.length >= min && n.length <= max && e.length <= EXPONENT_CHARS_MAX
}
