import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories } from '../directories.ts'
import { NOBODY, type Owned } from './store.ts'

/** The file of the embedded store: one table, written by one thread, read by another. */

const SCHEMA_VERSION = 1
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS owned (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    origin TEXT NOT NULL,
    models TEXT NOT NULL,
    awaited INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS owned_age ON owned (created_at_ms);
  CREATE INDEX IF NOT EXISTS owned_tenant ON owned (tenant);
`
const BUSY_MS = 1_000

interface Row {
  readonly id: string
  readonly tenant: string
  readonly origin: string
  readonly models: string
  readonly awaited: number
  readonly created_at_ms: number
}

/**
 * Opens the file, creating it (mode 0600) and its directory where they are missing. A commit is on disk
 * when it returns: `synchronous` is FULL, read back. Throws an Error that names the file.
 */
export function openOwners(path: string): Database.Database {
  try {
    makeDirectories(dirname(path))
    const db = new Database(path)
    chmodSync(path, 0o600)
    db.pragma(`busy_timeout = ${BUSY_MS}`)
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    if (db.pragma('synchronous', { simple: true }) !== 2) throw new Error('synchronous is not FULL')
    const version = Number(db.pragma('user_version', { simple: true }))
    if (version > SCHEMA_VERSION) {
      throw new Error(`it was made by a newer Governor (schema ${version})`)
    }
    db.exec(SCHEMA)
    db.pragma(`user_version = ${SCHEMA_VERSION}`)
    return db
  } catch (error) {
    const { message } = error as Error
    throw new Error(`Cannot open ${path} (ownership.path): ${message}`, { cause: error })
  }
}

/** Reads records on a connection that cannot write. */
export class OwnerReader {
  readonly #db: Database.Database
  readonly #find: Database.Statement<[string, number], Row>

  constructor(path: string) {
    this.#db = new Database(path, { readonly: true, fileMustExist: true })
    this.#db.pragma(`busy_timeout = ${BUSY_MS}`)
    this.#find = this.#db.prepare('SELECT * FROM owned WHERE id = ? AND created_at_ms > ?')
  }

  /** Those of `ids` written after `sinceMs`. Throws what SQLite throws. */
  find(ids: readonly string[], sinceMs: number): Map<string, Owned> {
    const found = new Map<string, Owned>()
    for (const id of ids) {
      const row = this.#find.get(id, sinceMs)
      if (row === undefined) continue
      const { tenant, origin, awaited } = row
      const models = JSON.parse(row.models) as string[]
      found.set(id, { id, tenant, origin, models, isAwaited: awaited === 1 })
    }
    return found
  }

  close(): void {
    this.#db.close()
  }
}

/** One thing to do, as the writing thread is told. */
export type OwnerWork =
  | { readonly kind: 'claim'; readonly claims: readonly Owned[]; readonly nowMs: number }
  | { readonly kind: 'contest'; readonly ids: readonly string[] }
  | { readonly kind: 'settle'; readonly id: string }
  | { readonly kind: 'forget'; readonly id: string; readonly tenant: string }
  | { readonly kind: 'sweep'; readonly beforeMs: number; readonly rowsMax: number }

/** How many records a tenant has. */
export type TenantCount = readonly [tenant: string, count: number]

/** What a sweep removed, and what is left. */
export interface Swept {
  readonly removed: number
  readonly left: readonly TenantCount[]
}

/** What came of it: ids of others, whether it was the first, nothing, what was swept. */
export type OwnerResult = readonly string[] | boolean | null | Swept

/** Writes records. */
export class OwnerWriter {
  readonly #db: Database.Database
  readonly #insert: Database.Statement<[string, string, string, string, number, number]>
  readonly #tenant: Database.Statement<[string], string>
  readonly #settle: Database.Statement<[string]>
  readonly #forget: Database.Statement<[string, string]>

  constructor(path: string) {
    const db = openOwners(path)
    this.#db = db
    this.#insert = db.prepare('INSERT OR IGNORE INTO owned VALUES (?, ?, ?, ?, ?, ?)')
    this.#tenant = db.prepare<[string], string>('SELECT tenant FROM owned WHERE id = ?').pluck()
    this.#settle = db.prepare('UPDATE owned SET awaited = 0 WHERE id = ? AND awaited = 1')
    this.#forget = db.prepare('DELETE FROM owned WHERE id = ? AND tenant = ?')
  }

  /** Does all of it in one transaction: one wait for the disk however much it is. Throws what SQLite throws. */
  run(works: readonly OwnerWork[]): OwnerResult[] {
    return this.#db.transaction(() => works.map((work) => this.#do(work)))()
  }

  #do(work: OwnerWork): OwnerResult {
    if (work.kind === 'claim') return this.#claim(work.claims, work.nowMs)
    if (work.kind === 'contest') return this.#contest(work.ids)
    if (work.kind === 'settle') return this.#settle.run(work.id).changes === 1
    if (work.kind === 'sweep') return this.#sweep(work.beforeMs, work.rowsMax)
    this.#forget.run(work.id, work.tenant)
    return null
  }

  #claim(claims: readonly Owned[], nowMs: number): string[] {
    const others: string[] = []
    for (const { id, tenant, origin, models, isAwaited } of claims) {
      const named = JSON.stringify(models)
      const { changes } = this.#insert.run(id, tenant, origin, named, isAwaited ? 1 : 0, nowMs)
      if (changes === 0 && this.#tenant.get(id) !== tenant) others.push(id)
    }
    return others
  }

  #contest(ids: readonly string[]): null {
    const take = this.#db.prepare('UPDATE owned SET tenant = ? WHERE id = ?')
    for (const id of ids) take.run(NOBODY, id)
    return null
  }

  #sweep(beforeMs: number, rowsMax: number): Swept {
    const old = 'SELECT id FROM owned WHERE created_at_ms <= ? LIMIT ?'
    const remove = this.#db.prepare(`DELETE FROM owned WHERE id IN (${old})`)
    const removed = remove.run(beforeMs, rowsMax).changes
    const counts = 'SELECT tenant, count(*) FROM owned GROUP BY tenant'
    return { removed, left: this.#db.prepare<[], TenantCount>(counts).raw().all() }
  }

  close(): void {
    this.#db.close()
  }
}
