import { chmodSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories } from '../directories.ts'
import { KEY_COLUMNS, type KeyRow, keyOfRow, keyValues } from './key-row.ts'
import type { KeyRecord } from './key.ts'

/** The event loop stands still meanwhile; what could not be written is written with the next attempt. */
const BUSY_MS = 100
/** "GKc1": a file that is something else, a store of keys above all, is never written over. */
const APPLICATION_ID = 0x474b6331
const SCHEMA = `
  CREATE TABLE keys (
    key_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, user TEXT NOT NULL,
    roles TEXT NOT NULL, labels TEXT NOT NULL, upstreams TEXT NOT NULL, hash TEXT NOT NULL,
    former_hash TEXT, former_until_ms INTEGER, created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER, revoked_at_ms INTEGER
  ) WITHOUT ROWID;
  CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

/** How far a copy has come. */
export interface CopyState {
  /** Id of the store it is a copy of. */
  readonly storeId: string
  /** Changes up to this moment are in it, as PostgreSQL writes it; '' before the first. */
  readonly position: string
  /** When it was last compared with its store, milliseconds since 1970. */
  readonly syncedAtMs: number
  /** The history the server was on, which a failover ends; '' where it does not say. */
  readonly timeline: string
}

/**
 * What a sidecar knows of a store of keys elsewhere, on its own disk, so that it starts and serves while
 * that store is away. A change and how far it came are one transaction; after a power cut it may be
 * older, never torn. Methods throw what SQLite throws.
 */
export class KeyCopy {
  readonly #db: Database.Database
  readonly #find: Database.Statement<[string], KeyRow>
  readonly #put: Database.Statement
  readonly #set: Database.Statement<[string, string]>

  private constructor(db: Database.Database) {
    this.#db = db
    this.#find = db.prepare<[string], KeyRow>('SELECT * FROM keys WHERE key_id = ?')
    const marks = KEY_COLUMNS.map(() => '?').join(', ')
    this.#put = db.prepare(`REPLACE INTO keys (${KEY_COLUMNS.join(', ')}) VALUES (${marks})`)
    this.#set = db.prepare('REPLACE INTO state VALUES (?, ?)')
  }

  /**
   * Opens the copy, making it (mode 0600) where it is missing. One that SQLite cannot read is made anew.
   * Throws an Error that names the file where it is something else, or cannot be made.
   */
  static open(path: string): KeyCopy {
    try {
      makeDirectories(dirname(path))
      return new KeyCopy(openFile(path))
    } catch (error) {
      const { code, message } = error as Error & { readonly code?: unknown }
      if (code === 'SQLITE_CORRUPT') {
        for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
        return new KeyCopy(openFile(path))
      }
      throw new Error(`Cannot keep a copy of the keys in ${path} (auth.keys.path): ${message}`, {
        cause: error,
      })
    }
  }

  /** Null for a copy that was never whole. */
  get state(): CopyState | null {
    const rows = this.#db
      .prepare<[], { name: string; value: string }>('SELECT name, value FROM state')
      .all()
    const values = new Map(rows.map(({ name, value }) => [name, value]))
    const storeId = values.get('store_id')
    if (storeId === undefined) return null
    const syncedAtMs = Number(values.get('synced_at_ms') ?? 0)
    const timeline = values.get('timeline') ?? ''
    return { storeId, position: values.get('position') ?? '', syncedAtMs, timeline }
  }

  find(keyId: string): KeyRecord | null {
    const row = this.#find.get(keyId)
    return row === undefined ? null : keyOfRow(row)
  }

  /** Puts keys as they are now, whether they were there or not. */
  put(records: readonly KeyRecord[]): void {
    this.#db.transaction(() => this.#putAll(records)).immediate()
  }

  /** The same, and how far that brings the copy. */
  advance(records: readonly KeyRecord[], state: CopyState): void {
    this.#db
      .transaction(() => {
        this.#putAll(records)
        this.#keep(state)
      })
      .immediate()
  }

  /** Leaves nothing but these keys, all of them put before: what its store has no more is gone. */
  complete(keyIds: ReadonlySet<string>, state: CopyState): void {
    this.#db
      .transaction(() => {
        const all = this.#db.prepare<[], string>('SELECT key_id FROM keys').pluck().all()
        const remove = this.#db.prepare('DELETE FROM keys WHERE key_id = ?')
        for (const keyId of all) if (!keyIds.has(keyId)) remove.run(keyId)
        this.#keep(state)
      })
      .immediate()
  }

  close(): void {
    this.#db.close()
  }

  #putAll(records: readonly KeyRecord[]): void {
    for (const record of records) this.#put.run(...keyValues(record))
  }

  #keep({ storeId, position, syncedAtMs, timeline }: CopyState): void {
    this.#set.run('store_id', storeId)
    this.#set.run('position', position)
    this.#set.run('synced_at_ms', String(syncedAtMs))
    this.#set.run('timeline', timeline)
  }
}

function openFile(path: string): Database.Database {
  const db = new Database(path, { timeout: BUSY_MS })
  try {
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = NORMAL')
    const made = db.prepare<[], number>('SELECT count(*) FROM sqlite_schema').pluck().get() ?? 0
    if (made === 0) {
      db.transaction(() => {
        db.exec(SCHEMA)
        db.pragma(`application_id = ${APPLICATION_ID}`)
      }).immediate()
      chmodSync(path, 0o600)
    } else if (db.pragma('application_id', { simple: true }) !== APPLICATION_ID) {
      throw new Error('it is no copy, but something else: name another file')
    }
  } catch (error) {
    db.close()
    throw error
  }
  return db
}
