import type { PoolState } from '../metrics.ts'
import type { KeyRecord } from './key.ts'

/**
 * Where a running process reads keys from: one look, nothing awaited. Methods may throw: that is a
 * 503, never a 401.
 */
export interface KeySource {
  find(keyId: string): KeyRecord | null
  /** Changes whenever any record may have changed. */
  version(): string
  /**
   * False while what it knows may be behind its store: a key that is unknown or wrong may be new then.
   * Absent where there is nothing to be behind of.
   */
  readonly isCurrent?: boolean
  /**
   * Asks its store for changes before somebody is told that his key is unknown or wrong: resolves, within
   * a second, with whether that was done. Null where it was a moment ago, absent where it is never needed.
   */
  catchUp?(): Promise<boolean> | null
  /** Why calls with keys cannot be served, in words; null or absent when they can. */
  readonly fault?: string | null
  /** Since it was last compared with its store; absent where there is nothing to compare. */
  readonly ageMs?: number
  /** To its store; absent where that is a file. */
  readonly connections?: PoolState
  /** Keeps when keys were last used, milliseconds since 1970 by key id; what fails is lost. */
  used?(uses: ReadonlyMap<string, number>): void | Promise<void>
  close(): Promise<void>
}

/** A key as it is listed. */
export interface StoredKey extends KeyRecord {
  /** About when a call last came with it; null when none did, `unknown` where nobody keeps it. */
  readonly lastUsedAtMs: number | null | 'unknown'
}

/** Which keys to list, oldest first. */
export interface KeyPage {
  /** Only its keys; null lists those of all tenants. */
  readonly tenant: string | null
  /** The last key of the page before; null begins. */
  readonly after: Pick<KeyRecord, 'createdAtMs' | 'keyId'> | null
  /** At most so many, 1 to `KEYS_PAGE_MAX`. */
  readonly max: number
}

/** The most keys in one page of a list. */
export const KEYS_PAGE_MAX = 1000

/** What a rotation changes. */
export type Rotation = Pick<KeyRecord, 'hash' | 'former' | 'expiresAtMs'>

/**
 * Where commands and the admin API change keys: the same for every store. All methods reject with an
 * Error that names the store where it fails; then nothing was changed. What a method has changed is
 * durable when it resolves, and running processes act on it within a second.
 */
export interface KeyStore {
  readonly kind: 'sqlite' | 'file' | 'postgres'
  /** For messages: its file, or host and database; never a password. */
  readonly place: string
  /** Keeps a new key. Rejects with KeyExistsError, or with a `KeyStoreReadOnlyError`. */
  create(record: KeyRecord): Promise<void>
  get(keyId: string): Promise<StoredKey | null>
  list(page: KeyPage): Promise<StoredKey[]>
  /**
   * Puts another secret in the place of the one whose hash is `formerHash`; false when the key is gone,
   * revoked, or has another secret by now.
   */
  rotate(keyId: string, formerHash: string, rotation: Rotation): Promise<boolean>
  /** Ends a key for ever; false when there is no such key or it was revoked before. */
  revoke(keyId: string, nowMs: number): Promise<boolean>
  /** Adds those that are not there yet, and says how each stands: see `ImportResult`. */
  add(records: readonly KeyRecord[]): Promise<ImportResult[]>
  close(): Promise<void>
}

/** `same` was there like this; `conflict` is there with another content, which stays. */
export type ImportResult = 'added' | 'same' | 'conflict'

/** There is a key with this id. */
export class KeyExistsError extends Error {
  override readonly name = 'KeyExistsError'

  constructor(keyId: string) {
    super(`There is a key ${keyId} already`)
  }
}

/** The store may not be written to from here; these are the lines that somebody has to put there. */
export class KeyStoreReadOnlyError extends Error {
  override readonly name = 'KeyStoreReadOnlyError'
  readonly place: string
  readonly rows: readonly string[]

  constructor(place: string, rows: readonly string[]) {
    super(`${place} (auth.keys.path) cannot be written to from here`)
    this.place = place
    this.rows = rows
  }
}

/** All keys of a store, or of one tenant, page by page. */
export async function* allKeys(
  store: KeyStore,
  tenant: string | null,
): AsyncGenerator<StoredKey, void> {
  let after: KeyPage['after'] = null
  for (;;) {
    const page: StoredKey[] = await store.list({ tenant, after, max: KEYS_PAGE_MAX })
    yield* page
    if (page.length < KEYS_PAGE_MAX) return
    after = page.at(-1)!
  }
}
