import { chmodSync, closeSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories, openWithin } from '../directories.ts'
import {
  addResult,
  KEY_COLUMNS,
  type KeyRow,
  keyOfRow,
  keyValues,
  storedKeyOfRow,
} from './key-row.ts'
import {
  type ImportResult,
  KeyExistsError,
  type KeyPage,
  type KeySource,
  type KeyStore,
  type Rotation,
  type StoredKey,
} from './key-store.ts'
import type { KeyRecord } from './key.ts'

/** Step n makes version n; what was released is never edited. */
const MIGRATIONS = [
  `
  CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    user TEXT NOT NULL,
    roles TEXT NOT NULL,
    labels TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER
  ) WITHOUT ROWID;
  `,
  `
  ALTER TABLE keys ADD COLUMN upstreams TEXT NOT NULL DEFAULT '[]';
  ALTER TABLE keys ADD COLUMN former_hash TEXT;
  ALTER TABLE keys ADD COLUMN former_until_ms INTEGER;
  CREATE INDEX keys_created ON keys (created_at_ms, key_id);
  CREATE INDEX keys_tenant ON keys (tenant, created_at_ms, key_id);
  CREATE TABLE key_uses (
    key_id TEXT PRIMARY KEY,
    last_used_at_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  `,
]

const COLUMNS = KEY_COLUMNS.join(', ')
const LISTED = `SELECT keys.*, last_used_at_ms FROM keys LEFT JOIN key_uses USING (key_id)`

/**
 * Keys in one SQLite file, shared by the sidecar and the `keys` commands. A look-up by primary key
 * is a few microseconds, so it may run on the event loop. `find` and `version` throw what SQLite
 * throws; the others reject with an Error that names the file.
 */
export class SqliteKeyStore implements KeyStore, KeySource {
  readonly kind = 'sqlite'
  readonly place: string
  #db: Database.Database
  #file: string
  #find: Database.Statement<[string], KeyRow>
  #version: Database.Statement<[], number>

  private constructor(path: string) {
    this.place = path
    ;[this.#db, this.#find, this.#version] = open(path)
    this.#file = identity(path)
  }

  /**
   * Opens the file, creating it (mode 0600) and its directory (0700) where they are missing. Throws an
   * Error that names the file and its key in the configuration.
   */
  static open(path: string): SqliteKeyStore {
    try {
      makeDirectories(dirname(path))
      return new SqliteKeyStore(path)
    } catch (error) {
      throw aboutStore(path, error)
    }
  }

  find(keyId: string): KeyRecord | null {
    const row = this.#find.get(keyId)
    return row === undefined ? null : keyOfRow(row)
  }

  get(keyId: string): Promise<StoredKey | null> {
    return this.#try(() => {
      const row = this.#db.prepare<[string], KeyRow>(`${LISTED} WHERE key_id = ?`).get(keyId)
      return row === undefined ? null : storedKeyOfRow(row)
    })
  }

  list({ tenant, after, max }: KeyPage): Promise<StoredKey[]> {
    return this.#try(() => {
      const own = tenant === null ? [] : [tenant]
      const where = tenant === null ? '' : 'tenant = ? AND'
      const text = `${LISTED} WHERE ${where} (created_at_ms, key_id) > (?, ?) ORDER BY created_at_ms, key_id LIMIT ?`
      const place = [after?.createdAtMs ?? Number.MIN_SAFE_INTEGER, after?.keyId ?? '']
      return this.#db
        .prepare<unknown[], KeyRow>(text)
        .all(...own, ...place, max)
        .map(storedKeyOfRow)
    })
  }

  create(record: KeyRecord): Promise<void> {
    return this.#try(() => {
      if (!this.#insert(record)) throw new KeyExistsError(record.keyId)
    })
  }

  rotate(
    keyId: string,
    formerHash: string,
    { hash, former, expiresAtMs }: Rotation,
  ): Promise<boolean> {
    const update = `UPDATE keys SET hash = ?, former_hash = ?, former_until_ms = ?, expires_at_ms = ?
      WHERE key_id = ? AND hash = ? AND revoked_at_ms IS NULL`
    const { hash: old = null, untilMs = null } = former ?? {}
    return this.#try(
      () =>
        this.#db.prepare(update).run(hash, old, untilMs, expiresAtMs, keyId, formerHash).changes ===
        1,
    )
  }

  revoke(keyId: string, nowMs: number): Promise<boolean> {
    const update = 'UPDATE keys SET revoked_at_ms = ? WHERE key_id = ? AND revoked_at_ms IS NULL'
    return this.#try(() => this.#db.prepare(update).run(nowMs, keyId).changes === 1)
  }

  add(records: readonly KeyRecord[]): Promise<ImportResult[]> {
    const one = (record: KeyRecord): ImportResult => {
      const result = addResult(record, this.find(record.keyId))
      if (result === 'added') this.#insert(record)
      return result
    }
    return this.#try(() => this.#db.transaction(() => records.map(one)).immediate())
  }

  used(uses: ReadonlyMap<string, number>): void {
    // Losing a minute of this with the power is nothing; an fsync on the event loop is not.
    this.#db.pragma('synchronous = NORMAL')
    try {
      const insert = this.#db.prepare(`INSERT INTO key_uses VALUES (?, ?) ON CONFLICT (key_id)
        DO UPDATE SET last_used_at_ms = max(last_used_at_ms, excluded.last_used_at_ms)`)
      this.#db
        .transaction(() => {
          for (const [keyId, usedAtMs] of uses) insert.run(keyId, usedAtMs)
        })
        .immediate()
    } finally {
      this.#db.pragma('synchronous = FULL')
    }
  }

  /** A number that changes whenever another process commits to the file or the file is replaced. */
  version(): string {
    const file = identity(this.place)
    if (file !== this.#file) {
      this.#db.close()
      ;[this.#db, this.#find, this.#version] = open(this.place)
      this.#file = file
    }
    return `${file}:${this.#version.get()}`
  }

  async close(): Promise<void> {
    this.#db.close()
  }

  #insert(record: KeyRecord): boolean {
    const values = keyValues(record)
    const marks = values.map(() => '?').join(', ')
    const text = `INSERT INTO keys (${COLUMNS}) VALUES (${marks}) ON CONFLICT DO NOTHING`
    return this.#db.prepare(text).run(...values).changes === 1
  }

  async #try<Result>(act: () => Result): Promise<Result> {
    try {
      // A file that was replaced meanwhile is the one that counts.
      this.version()
      return act()
    } catch (error) {
      throw aboutStore(this.place, error)
    }
  }
}

function open(
  path: string,
): [Database.Database, Database.Statement<[string], KeyRow>, Database.Statement<[], number>] {
  makeOwn(path)
  const db = openWithin(path, () => new Database(path, { timeout: 1000 }))
  try {
    prepare(db, path)
  } catch (error) {
    db.close()
    throw error
  }
  return [
    db,
    db.prepare<[string], KeyRow>('SELECT * FROM keys WHERE key_id = ?'),
    db.prepare<[], number>('PRAGMA data_version').pluck(),
  ]
}

/** SQLite gives the files beside it the mode that it has when it is opened, and hashes are in those, too. */
function makeOwn(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch {
    // It is there already; or it cannot be made, and SQLite says why.
  }
}

function prepare(db: Database.Database, path: string): void {
  // Ended keys must stay ended after a power cut, so the commit is synced (WAL's default is not).
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  const version = () => Number(db.pragma('user_version', { simple: true }))
  const found = version()
  if (found > MIGRATIONS.length) {
    throw new Error(
      `Cannot open ${path}: it was written by a newer Governor (schema ${found}, this one knows ` +
        `${MIGRATIONS.length}). Use that version, or another auth.keys.path`,
    )
  }
  if (found === MIGRATIONS.length) return
  db.transaction(() => {
    // Another process may have been faster.
    for (const text of MIGRATIONS.slice(version())) db.exec(text)
    db.pragma(`user_version = ${MIGRATIONS.length}`)
  }).immediate()
  chmodSync(path, 0o600)
}

/** Says which file and key an error of SQLite or of the system is about; ours say so themselves. */
function aboutStore(path: string, error: unknown): Error {
  const { message, code } = error as Error & { readonly code?: unknown }
  if (typeof code !== 'string') return error as Error
  return new Error(`Cannot use the key store ${path} (auth.keys.path): ${message}`, {
    cause: error,
  })
}

function identity(path: string): string {
  const { dev, ino } = statSync(path)
  return `${dev}.${ino}`
}
