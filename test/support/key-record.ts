import { generateKey, type KeyRecord } from '../../src/auth/key.ts'

/** A key as a store keeps it; its hash is one of nothing. */
export function keyRecord(given: Partial<KeyRecord> = {}): KeyRecord {
  return {
    keyId: generateKey().keyId,
    tenant: 'acme',
    name: 'ci',
    user: '',
    roles: [],
    labels: {},
    upstreams: [],
    hash: `$2b$10$${'a'.repeat(53)}`,
    former: null,
    createdAtMs: 1_700_000_000_000,
    expiresAtMs: null,
    revokedAtMs: null,
    ...given,
  }
}
