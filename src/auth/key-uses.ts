import { chmodSync, existsSync } from 'node:fs'

import Database from 'better-sqlite3'

import { wallMs } from '../clock.ts'

/**
 * When keys of a file were last used: a small database beside it, `<path>.uses`, that the sidecars who
 * read the file write to and commands read. It is a convenience: where it cannot be written, as beside a
 * mounted Secret, nothing is kept, and it is said that nothing is known.
 */

/** The row that says since when uses are kept; no key has that id. */
const SINCE = ''
const BUSY_MS = 250

/** Writes uses. */
export class KeyUses {
  readonly #db: Database.Database

  private constructor(db: Database.Database) {
    this.#db = db
  }

  /** Null where none can be kept beside the file of keys at `path`. */
  static open(path: string): KeyUses | null {
    let db: Database.Database | null = null
    try {
      db = new Database(usesPath(path), { timeout: BUSY_MS })
      chmodSync(usesPath(path), 0o600)
      // Losing a minute of this with the power is nothing; an fsync on the event loop is not.
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = NORMAL')
      db.exec(`CREATE TABLE IF NOT EXISTS key_uses (
        key_id TEXT PRIMARY KEY, last_used_at_ms INTEGER NOT NULL) WITHOUT ROWID`)
      db.prepare('INSERT OR IGNORE INTO key_uses VALUES (?, ?)').run(SINCE, wallMs())
      return new KeyUses(db)
    } catch {
      db?.close()
      return null
    }
  }

  /** Keeps the later of what was known and of these. Throws what SQLite throws; then none is kept. */
  keep(uses: ReadonlyMap<string, number>): void {
    const insert = this.#db.prepare(`INSERT INTO key_uses VALUES (?, ?) ON CONFLICT (key_id)
      DO UPDATE SET last_used_at_ms = max(last_used_at_ms, excluded.last_used_at_ms)`)
    this.#db
      .transaction(() => {
        for (const [keyId, usedAtMs] of uses) insert.run(keyId, usedAtMs)
      })
      .immediate()
  }

  close(): void {
    this.#db.close()
  }
}

/** A key, as much of it as it takes to say when it was used. */
interface Used {
  readonly keyId: string
  readonly createdAtMs: number
}

/**
 * When each of `keys`, of the file at `path`, was last used, in their order: null is never, and `unknown`
 * where nobody keeps it or the key is older than that is kept.
 */
export function usesOf(path: string, keys: readonly Used[]): (number | null | 'unknown')[] {
  const unknown = () => keys.map(() => 'unknown' as const)
  if (keys.length === 0 || !existsSync(usesPath(path))) return unknown()
  let db: Database.Database | null = null
  try {
    db = new Database(usesPath(path), { readonly: true, timeout: BUSY_MS })
    const find = db
      .prepare<[string], number>('SELECT last_used_at_ms FROM key_uses WHERE key_id = ?')
      .pluck()
    const sinceMs = find.get(SINCE) ?? Infinity
    return keys.map(({ keyId, createdAtMs }) => {
      return find.get(keyId) ?? (createdAtMs < sinceMs ? 'unknown' : null)
    })
  } catch {
    return unknown()
  } finally {
    db?.close()
  }
}

function usesPath(path: string): string {
  return `${path}.uses`
}
