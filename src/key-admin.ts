import bcrypt from 'bcrypt'

import { appendOnce } from './audit/append-once.ts'
import { adminBody } from './audit/entry.ts'
import { FileKeyStore } from './auth/key-store-file.ts'
import { SqliteKeyStore } from './auth/key-store-sqlite.ts'
import { type KeyStore, KeyStoreReadOnlyError, type StoredKey } from './auth/key-store.ts'
import {
  generateKey,
  generateSecret,
  isUsable,
  type KeyRecord,
  type KeySpec,
  keyState,
} from './auth/key.ts'
import { wallMs } from './clock.ts'
import type { Snapshot } from './config/snapshot.ts'

/** What changes keys, for commands and the admin API alike: each change is in the audit first. */

/** Makes an `admin` entry durable. Throws or rejects where it cannot; then nothing is changed. */
export type RecordAct = (
  action: string,
  about: Readonly<Record<string, string>>,
  nowMs: number,
) => void | Promise<void>

/** A store to change keys in, and how a change is recorded. */
export interface KeyAdmin {
  readonly store: KeyStore
  readonly bcryptCost: number
  readonly record: RecordAct
}

/** The store that the configuration names. Throws an Error that names it, where it cannot be opened. */
export async function openKeyStore({ auth: { keys } }: Snapshot): Promise<KeyStore> {
  const { store, postgres, path } = keys
  if (store === 'file') return new FileKeyStore(path)
  if (postgres === undefined) return SqliteKeyStore.open(path)
  if (postgres.url === '') throw new Error('The key store is unknown: auth.keys.url is not set')
  // The client of PostgreSQL is loaded by those who have one.
  const { PostgresKeyStore } = await import('./auth/key-store-postgres.ts')
  return PostgresKeyStore.open(postgres.url)
}

/** For a command: each act is appended to the log of the configuration, beside a running sidecar. */
export function commandAdmin(
  store: KeyStore,
  { snapshot, version }: { readonly snapshot: Snapshot; readonly version: string },
): KeyAdmin {
  return {
    store,
    bcryptCost: snapshot.auth.keys.bcryptCost,
    record: (action, about, nowMs) => {
      const body = adminBody(action, about, nowMs)
      appendOnce(snapshot.audit.path, version, [{ kind: 'admin', body }])
    },
  }
}

/** A key as it is shown: all but the hashes of its secrets. */
export function shownKey({ hash: _hash, former, ...shown }: StoredKey) {
  return { ...shown, formerUntilMs: former?.untilMs ?? null }
}

/**
 * What was made. `row` is there where the store may not be written to: the key opens once somebody has
 * put this line there, in the place of the one of this key where there is one.
 */
export interface Made {
  readonly keyId: string
  readonly key: string
  readonly record: KeyRecord
  readonly row?: string
}

/**
 * Makes a key and returns it; this is the only time its secret exists outside its hash. The audit
 * entry comes first: an act that cannot be recorded does not happen. Rejects with what store or log say.
 */
export async function createKey(
  { store, bcryptCost, record }: KeyAdmin,
  spec: KeySpec,
): Promise<Made> {
  const { keyId, secret } = generateKey()
  const hash = await bcrypt.hash(secret, bcryptCost)
  const nowMs = wallMs()
  const { upstreams = [], ...chosen } = spec
  const made: KeyRecord = {
    ...chosen,
    keyId,
    upstreams,
    hash,
    former: null,
    createdAtMs: nowMs,
    revokedAtMs: null,
  }
  await record('keys.create', { ...aboutOf(made), roles: spec.roles.join(' ') }, nowMs)
  const { row } = await orRow(async () => store.create(made))
  return { keyId, key: `${keyId}.${secret}`, record: made, ...row }
}

/** What a change of the store came to; the line for it where the store may not be written to. */
async function orRow<Result>(
  act: () => Promise<Result>,
): Promise<{ readonly done?: Result; readonly row?: { readonly row: string } }> {
  try {
    return { done: await act() }
  } catch (error) {
    if (!(error instanceof KeyStoreReadOnlyError)) throw error
    return { row: { row: error.rows[0]! } }
  }
}

/** Which key, by whom: a caller of one tenant sees those of others as unknown; null sees all. */
export interface KeyTarget {
  readonly keyId: string
  readonly tenant: string | null
}

/** A key, where the tenant may see it. */
export async function getKey(
  store: KeyStore,
  { keyId, tenant }: KeyTarget,
): Promise<StoredKey | null> {
  const found = await store.get(keyId)
  return found === null || (tenant !== null && found.tenant !== tenant) ? null : found
}

/** How a rotation is to be. */
export interface RotationSpec {
  /** How long the former secret goes on to open; 0 ends it now. */
  readonly overlapMs: number
  /** When the key is to end; left as it is where absent. */
  readonly expiresAtMs?: number | null
}

/** What became of a rotation; `changed`: somebody else was faster, and nothing was done. */
export type Rotated =
  | ({ readonly outcome: 'rotated' } & Made)
  | { readonly outcome: 'unknown' | 'revoked' | 'expired' | 'changed' }

/**
 * Gives a key another secret; its id, and with it limits, policies and history, stays. A key that has
 * expired needs another end. Rejects with what store or log say.
 */
export async function rotateKey(
  { store, bcryptCost, record }: KeyAdmin,
  target: KeyTarget,
  { overlapMs, expiresAtMs }: RotationSpec,
): Promise<Rotated> {
  const found = await getKey(store, target)
  if (found === null) return { outcome: 'unknown' }
  if (found.revokedAtMs !== null) return { outcome: 'revoked' }
  const secret = generateSecret()
  const hash = await bcrypt.hash(secret, bcryptCost)
  const nowMs = wallMs()
  // What has expired stays shut: only the new secret opens.
  const overlaps = overlapMs > 0 && isUsable(found, nowMs)
  const former = overlaps ? { hash: found.hash, untilMs: nowMs + overlapMs } : null
  const rotation = { hash, former, expiresAtMs: expiresAtMs ?? found.expiresAtMs }
  const { lastUsedAtMs: _, ...kept } = found
  const made: KeyRecord = { ...kept, ...rotation }
  if (!isUsable(made, nowMs)) return { outcome: 'expired' }
  const untilMs = former?.untilMs ?? nowMs
  const about = { ...aboutOf(found), overlap_until: new Date(untilMs).toISOString() }
  await record('keys.rotate', about, nowMs)
  const { keyId } = found
  const { done, row } = await orRow(async () => store.rotate(keyId, found.hash, rotation))
  if (done === false) return { outcome: 'changed' }
  return { outcome: 'rotated', keyId, key: `${keyId}.${secret}`, record: made, ...row }
}

/** What became of a revocation, and of which key; with `row`, as in `Made`, it still opens. */
export type Revoked =
  | { readonly outcome: 'revoked' | 'before'; readonly record: KeyRecord }
  | { readonly outcome: 'unwritten'; readonly record: KeyRecord; readonly row: string }
  | { readonly outcome: 'unknown' }

/** Ends a key for ever: running processes refuse it, and cut its calls, within a second. */
export async function revokeKey({ store, record }: KeyAdmin, target: KeyTarget): Promise<Revoked> {
  const found = await getKey(store, target)
  if (found === null) return { outcome: 'unknown' }
  if (found.revokedAtMs !== null) return { outcome: 'before', record: found }
  const nowMs = wallMs()
  await record('keys.revoke', aboutOf(found), nowMs)
  const { done, row } = await orRow(async () => store.revoke(found.keyId, nowMs))
  if (row !== undefined) return { outcome: 'unwritten', record: found, ...row }
  return { outcome: done ? 'revoked' : 'before', record: found }
}

function aboutOf({ keyId, tenant, name }: KeyRecord): Record<string, string> {
  return { key_id: keyId, tenant, name }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/
const UPSTREAM = /^[a-z0-9][a-z0-9_-]{0,63}$/
const LISTED_MAX = 64

/** What is wrong with what was chosen about a key, by the option of the command line; null: nothing. */
export function specProblem(spec: KeySpec): string | null {
  const { tenant, name, user, roles, labels, upstreams = [] } = spec
  const given: [string, string][] = [
    ['--tenant', tenant],
    ['--name', name],
    ...(user === '' ? [] : [['--user', user] as [string, string]]),
    ...roles.map((role): [string, string] => ['--role', role]),
    ...Object.entries(labels)
      .flat()
      .map((part): [string, string] => ['--label', part]),
  ]
  const wrong = given.find(([, value]) => !NAME.test(value))
  if (wrong !== undefined) {
    return `Cannot take ${wrong[0]} ${JSON.stringify(wrong[1])}: expected a letter or digit, then up to 62 of letters, digits, . _ @ -`
  }
  const other = upstreams.find((upstream) => !UPSTREAM.test(upstream))
  if (other !== undefined) {
    return `Cannot take --upstream ${JSON.stringify(other)}: expected the name of an upstream of the configuration`
  }
  const long = [roles, Object.keys(labels), upstreams].some((list) => list.length > LISTED_MAX)
  return long ? `A key has at most ${LISTED_MAX} roles, labels and upstreams each` : null
}

/** One line about a key for a person: id, state, tenant, name, roles, last use. */
export function keyLine(record: StoredKey, nowMs: number): string {
  const { keyId, tenant, name, roles, lastUsedAtMs } = record
  const used = usedText(lastUsedAtMs)
  const state = keyState(record, nowMs).padEnd(8)
  return `${keyId}  ${state}  ${tenant}  ${name}  ${roles.join(',') || '-'}  ${used}`
}

function usedText(lastUsedAtMs: StoredKey['lastUsedAtMs']): string {
  if (lastUsedAtMs === 'unknown') return 'last use unknown'
  return lastUsedAtMs === null ? 'never used' : `used ${new Date(lastUsedAtMs).toISOString()}`
}
