import { accessSync } from 'node:fs'

import { escapeText } from '../audit/format.ts'
import { allKeys, type KeyStore } from '../auth/key-store.ts'
import type { KeySpec } from '../auth/key.ts'
import { wallMs } from '../clock.ts'
import type { Snapshot } from '../config/snapshot.ts'
import {
  commandAdmin,
  createKey,
  keyLine,
  openKeyStore,
  revokeKey,
  rotateKey,
  type RotationSpec,
  shownKey,
  specProblem,
} from '../key-admin.ts'

/** Where a key command works: the store and the log of one configuration. */
export interface KeysContext {
  readonly snapshot: Snapshot
  readonly version: string
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/** `governor keys create`: prints the key once, alone on the last line. */
export async function keysCreate(context: KeysContext, spec: KeySpec): Promise<number> {
  const problem = specProblem(spec) ?? upstreamProblem(context.snapshot, spec)
  if (problem !== null) {
    const { write, writeError = write } = context
    writeError(`${problem}\n`)
    return 2
  }
  return withStore(context, async (store) => {
    const { keyId, key, row } = await createKey(commandAdmin(store, context), spec)
    writeRow(context, row)
    context.write(
      `Key ${keyId} of tenant ${spec.tenant}, named ${spec.name}, ${end(spec.expiresAtMs)}.\n`,
    )
    context.write(`It is shown this once:\n${key}\n`)
    return 0
  })
}

/** Where the store may not be written to, somebody else has to. */
function writeRow({ snapshot, write }: KeysContext, row: string | undefined): void {
  if (row === undefined) return
  write(
    `${snapshot.auth.keys.path} cannot be written to from here. Put this line where it comes from, ` +
      `below \`keys:\`, in the place of the one with this key_id if there is one:\n  - ${row}\n`,
  )
}

/** A name that no upstream has would refuse every call of the key. */
function upstreamProblem({ upstreams }: Snapshot, { upstreams: given = [] }: KeySpec) {
  const names = upstreams.map(({ name }) => name)
  const unknown = given.find((name) => !names.includes(name))
  if (unknown === undefined) return null
  return `Cannot take --upstream ${JSON.stringify(unknown)}: the configuration has ${names.join(', ')}`
}

function end(expiresAtMs: number | null): string {
  return expiresAtMs === null ? 'never expires' : `expires ${new Date(expiresAtMs).toISOString()}`
}

const NO_KEYS = 'No keys yet. Make one with: governor keys create --tenant NAME --name NAME\n'

/** Which keys are listed, and how. */
export interface ListOptions {
  readonly json: boolean
  readonly tenant: string | null
}

/** `governor keys list`: every key, newest last, never a secret or its hash. */
export async function keysList(
  context: KeysContext,
  { json, tenant }: ListOptions,
): Promise<number> {
  // Looking must not make a store, where a path is mistyped least of all.
  if (missing(context.snapshot)) {
    if (!json) context.write(NO_KEYS)
    return 0
  }
  return withStore(context, async (store) => {
    const nowMs = wallMs()
    let listed = 0
    for await (const record of allKeys(store, tenant)) {
      listed += 1
      const line = json ? JSON.stringify(shownKey(record)) : escapeText(keyLine(record, nowMs))
      context.write(`${line}\n`)
    }
    if (listed === 0 && !json) context.write(NO_KEYS)
    return 0
  })
}

/** A key id is shorter; whoever pastes a whole key must not find its secret in a terminal's log. */
const SHOWN_CHARS_MAX = 36

function shown(keyId: string): string {
  return escapeText(keyId.slice(0, SHOWN_CHARS_MAX))
}

/** `governor keys rotate`: another secret for the same key, shown once, alone on the last line. */
export async function keysRotate(
  context: KeysContext,
  keyId: string,
  spec: RotationSpec,
): Promise<number> {
  if (noStore(context, keyId)) return 1
  return withStore(context, async (store) => {
    const admin = commandAdmin(store, context)
    const rotated = await rotateKey(admin, { keyId, tenant: null }, spec)
    if (rotated.outcome !== 'rotated') {
      context.write(`${NOT_ROTATED[rotated.outcome](shown(keyId))}\n`)
      return 1
    }
    writeRow(context, rotated.row)
    const { former } = rotated.record
    const until =
      former === null
        ? 'The former secret opens nothing any more'
        : `The former secret opens until ${new Date(former.untilMs).toISOString()}, too`
    context.write(`Rotated ${keyId}, ${end(rotated.record.expiresAtMs)}. ${until}.\n`)
    context.write(`It is shown this once:\n${rotated.key}\n`)
    return 0
  })
}

const NOT_ROTATED = {
  unknown: (keyId: string) => `No key ${keyId}`,
  revoked: (keyId: string) => `Key ${keyId} was revoked: make another with governor keys create`,
  expired: (keyId: string) => `Key ${keyId} has expired: give it another end with --expires`,
  changed: (keyId: string) => `Key ${keyId} was changed by somebody else just now: try again`,
}

/** `governor keys revoke`: at once for new calls; a running sidecar sees it within a second. */
export async function keysRevoke(context: KeysContext, keyId: string): Promise<number> {
  if (noStore(context, keyId)) return 1
  return withStore(context, async (store) => {
    const revoked = await revokeKey(commandAdmin(store, context), { keyId, tenant: null })
    if (revoked.outcome === 'unwritten') {
      writeRow(context, revoked.row)
      context.write(`Key ${shown(keyId)} opens until that line is there.\n`)
      return 1
    }
    if (revoked.outcome !== 'revoked') {
      const before = `Key ${shown(keyId)} was revoked before\n`
      context.write(revoked.outcome === 'unknown' ? `No key ${shown(keyId)}\n` : before)
      return 1
    }
    const { tenant, name } = revoked.record
    context.write(`Revoked ${keyId} of tenant ${tenant}, named ${name}.\n`)
    return 0
  })
}

function missing({ auth: { keys } }: Snapshot): boolean {
  if (keys.store === 'postgres') return false
  try {
    accessSync(keys.path)
    return false
  } catch (error) {
    // What may not be looked at is there, as far as anybody can tell; opening it says why not.
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' || code === 'ENOTDIR'
  }
}

/** Says that there is no such key, for want of a store. */
function noStore({ snapshot, write }: KeysContext, keyId: string): boolean {
  if (!missing(snapshot)) return false
  write(
    `No key ${shown(keyId)}: there is no key store ${snapshot.auth.keys.path} (auth.keys.path)\n`,
  )
  return true
}

/** Opens the store for one command, and says what goes wrong. Exit code of `act`, or 2. */
export async function withStore(
  { snapshot, write, writeError = write }: KeysContext,
  act: (store: KeyStore) => Promise<number>,
): Promise<number> {
  let store: KeyStore
  try {
    store = await openKeyStore(snapshot)
  } catch (error) {
    writeError(`${escapeText((error as Error).message)}\n`)
    return 2
  }
  try {
    return await act(store)
  } catch (error) {
    writeError(`Nothing was changed: ${escapeText((error as Error).message)}\n`)
    return 2
  } finally {
    await store.close()
  }
}
