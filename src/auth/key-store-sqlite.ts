import { chmodSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories } from '../directories.ts'
import type { KeyRecord, KeySpec } from './key.ts'

const SCHEMA_VERSION = 1
const SCHEMA = `
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
`

interface Row {
  readonly key_id: string
  readonly tenant: string
  readonly name: string
  readonly user: string
  readonly roles: string
  readonly labels: string
  readonly hash: string
  readonly created_at_ms: number
  readonly expires_at_ms: number | null
  readonly revoked_at_ms: number | null
}

/**
 * Keys in one SQLite file, shared by the sidecar and the `keys` commands. A look-up by primary key
 * is a few microseconds, so it may run on the event loop. Methods throw what SQLite throws.
 */
export class SqliteKeyStore {
  readonly #path: string
  #db: Database.Database
  #file: string
  #find: Database.Statement<[string], Row>
  #version: Database.Statement<[], number>

  private constructor(path: string) {
    this.#path = path
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
    return row === undefined ? null : fromRow(row)
  }

  list(): KeyRecord[] {
    return this.#db.prepare<[], Row>('SELECT * FROM keys ORDER BY created_at_ms').all().map(fromRow)
  }

  create(spec: KeySpec, key: { keyId: string; hash: string; createdAtMs: number }): void {
    this.#db
      .prepare('INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)')
      .run(
        key.keyId,
        spec.tenant,
        spec.name,
        spec.user,
        JSON.stringify(spec.roles),
        JSON.stringify(spec.labels),
        key.hash,
        key.createdAtMs,
        spec.expiresAtMs,
      )
  }

  /** Revokes a key; false when there is no such key or it was revoked before. */
  revoke(keyId: string, nowMs: number): boolean {
    const update = this.#db.prepare(
      'UPDATE keys SET revoked_at_ms = ? WHERE key_id = ? AND revoked_at_ms IS NULL',
    )
    return update.run(nowMs, keyId).changes === 1
  }

  /** A number that changes whenever another process commits to the file or the file is replaced. */
  version(): string {
    const file = identity(this.#path)
    if (file !== this.#file) {
      this.#db.close()
      ;[this.#db, this.#find, this.#version] = open(this.#path)
      this.#file = file
    }
    return `${file}:${this.#version.get()}`
  }

  close(): void {
    this.#db.close()
  }
}

function open(
  path: string,
): [Database.Database, Database.Statement<[string], Row>, Database.Statement<[], number>] {
  const db = new Database(path, { timeout: 1000 })
  try {
    prepare(db, path)
  } catch (error) {
    db.close()
    throw error
  }
  return [
    db,
    db.prepare<[string], Row>('SELECT * FROM keys WHERE key_id = ?'),
    db.prepare<[], number>('PRAGMA data_version').pluck(),
  ]
}

function prepare(db: Database.Database, path: string): void {
  // Ended keys must stay ended after a power cut, so the commit is synced (WAL's default is not).
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  const found = Number(db.pragma('user_version', { simple: true }))
  if (found > SCHEMA_VERSION) {
    throw new Error(
      `Cannot open ${path}: it was written by a newer Governor (schema ${found}, this one knows ` +
        `${SCHEMA_VERSION}). Use that version, or another auth.keys.path`,
    )
  }
  if (found < SCHEMA_VERSION) {
    db.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`)
    chmodSync(path, 0o600)
  }
}

/** Says which file and key an error of SQLite or of the system is about; ours say so themselves. */
export function aboutStore(path: string, error: unknown): Error {
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

function fromRow(row: Row): KeyRecord {
  return {
    keyId: row.key_id,
    tenant: row.tenant,
    name: row.name,
    user: row.user,
    roles: JSON.parse(row.roles) as string[],
    labels: JSON.parse(row.labels) as Record<string, string>,
    hash: row.hash,
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms,
  }
}
