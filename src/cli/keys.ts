import { existsSync } from 'node:fs'

import bcrypt from 'bcrypt'

import { appendOnce } from '../audit/append-once.ts'
import { adminBody } from '../audit/entry.ts'
import { escapeText } from '../audit/format.ts'
import { aboutStore, SqliteKeyStore } from '../auth/key-store-sqlite.ts'
import { generateKey, type KeyRecord, type KeySpec } from '../auth/key.ts'
import { wallMs } from '../clock.ts'
import type { Snapshot } from '../config/snapshot.ts'

/** Where a key command works: the store and the log of one configuration. */
export interface KeysContext {
  readonly snapshot: Snapshot
  readonly version: string
  readonly write: (text: string) => void
}

/**
 * Makes a key and returns it; this is the only time its secret exists outside its hash. The audit
 * entry comes first: an act that cannot be recorded does not happen. Throws what store or log throw.
 */
export async function createKey(
  store: SqliteKeyStore,
  { snapshot, version }: Omit<KeysContext, 'write'>,
  spec: KeySpec,
): Promise<{ readonly keyId: string; readonly key: string }> {
  const { keyId, secret } = generateKey()
  const hash = await bcrypt.hash(secret, snapshot.auth.keys.bcryptCost)
  const nowMs = wallMs()
  const about = { key_id: keyId, tenant: spec.tenant, name: spec.name, roles: spec.roles.join(' ') }
  const body = adminBody('keys.create', about, nowMs)
  appendOnce(snapshot.audit.path, version, [{ kind: 'admin', body }])
  store.create(spec, { keyId, hash, createdAtMs: nowMs })
  return { keyId, key: `${keyId}.${secret}` }
}

/** `governor keys create`: prints the key once, alone on the last line. */
export async function keysCreate(context: KeysContext, spec: KeySpec): Promise<number> {
  const problem = specProblem(spec)
  if (problem !== null) {
    context.write(`${problem}\n`)
    return 2
  }
  return withStore(context, async (store) => {
    const { keyId, key } = await createKey(store, context, spec)
    const until =
      spec.expiresAtMs === null
        ? 'never expires'
        : `expires ${new Date(spec.expiresAtMs).toISOString()}`
    context.write(`Key ${keyId} of tenant ${spec.tenant}, named ${spec.name}, ${until}.\n`)
    context.write(`It is shown this once:\n${key}\n`)
    return 0
  })
}

const NO_KEYS = 'No keys yet. Make one with: governor keys create --tenant NAME --name NAME\n'

/** `governor keys list`: every key, newest last, never a secret or its hash. */
export async function keysList(context: KeysContext, json: boolean): Promise<number> {
  // Looking must not make a store, where a path is mistyped least of all.
  if (!existsSync(context.snapshot.auth.keys.path)) {
    if (!json) context.write(NO_KEYS)
    return 0
  }
  return withStore(context, async (store) => {
    const records = store.list()
    if (json) {
      for (const record of records) {
        const { hash: _secret, ...shown } = record
        context.write(`${JSON.stringify(shown)}\n`)
      }
      return 0
    }
    if (records.length === 0) {
      context.write(NO_KEYS)
    }
    for (const record of records) context.write(`${escapeText(line(record, wallMs()))}\n`)
    return 0
  })
}

/** A key id is shorter; whoever pastes a whole key must not find its secret in a terminal's log. */
const SHOWN_CHARS_MAX = 36

/** `governor keys revoke`: at once for new calls; a running sidecar sees it within a second. */
export async function keysRevoke(context: KeysContext, keyId: string): Promise<number> {
  const { snapshot, version, write } = context
  const shown = escapeText(keyId.slice(0, SHOWN_CHARS_MAX))
  if (!existsSync(snapshot.auth.keys.path)) {
    write(`No key ${shown}: there is no key store ${snapshot.auth.keys.path} (auth.keys.path)\n`)
    return 1
  }
  return withStore(context, async (store) => {
    const record = store.find(keyId)
    if (record === null || record.revokedAtMs !== null) {
      write(record === null ? `No key ${shown}\n` : `Key ${shown} was revoked before\n`)
      return 1
    }
    const nowMs = wallMs()
    const about = { key_id: keyId, tenant: record.tenant, name: record.name }
    const body = adminBody('keys.revoke', about, nowMs)
    appendOnce(snapshot.audit.path, version, [{ kind: 'admin', body }])
    store.revoke(keyId, nowMs)
    write(`Revoked ${keyId} of tenant ${record.tenant}, named ${record.name}.\n`)
    return 0
  })
}

async function withStore(
  { snapshot, write }: KeysContext,
  act: (store: SqliteKeyStore) => Promise<number>,
): Promise<number> {
  let store: SqliteKeyStore
  try {
    store = SqliteKeyStore.open(snapshot.auth.keys.path)
  } catch (error) {
    write(`${escapeText((error as Error).message)}\n`)
    return 2
  }
  try {
    return await act(store)
  } catch (error) {
    const { message } = aboutStore(snapshot.auth.keys.path, error)
    write(`Nothing was changed: ${escapeText(message)}\n`)
    return 2
  } finally {
    store.close()
  }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/

function specProblem({ tenant, name, user, roles, labels }: KeySpec): string | null {
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
  if (wrong === undefined) return null
  return `Cannot take ${wrong[0]} ${JSON.stringify(wrong[1])}: expected a letter or digit, then up to 62 of letters, digits, . _ @ -`
}

function line(record: KeyRecord, nowMs: number): string {
  const { keyId, tenant, name, roles, expiresAtMs, revokedAtMs } = record
  const expired = expiresAtMs !== null && expiresAtMs <= nowMs
  const state = revokedAtMs !== null ? 'revoked' : expired ? 'expired' : 'active'
  return `${keyId}  ${state.padEnd(7)}  ${tenant}  ${name}  ${roles.join(',') || '-'}`
}
