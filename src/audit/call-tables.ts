import type { Database, Statement } from 'better-sqlite3'

/**
 * The tables of the index over calls. Names are kept once and calls hold their numbers, since a log of a
 * million calls has a handful of tenants; what a call does not have is NULL and in no index.
 */

const VERSION = 3
const NAME_CHARS_MAX = 256
/** Names remembered while rows are added. */
const REMEMBERED_MAX = 10_000

/** What calls are asked by, as columns; in the order of `columnsOf`. */
export const NAMED = ['tenant', 'key_id', 'key_name', 'model', 'decision', 'policy'] as const
const MEMBERS = ['tenant', 'key_id', 'key_name', 'gen_ai.request.model', 'decision', 'policy']

/** What a decision says in those columns; null where it says nothing. */
export function columnsOf(body: Buffer): (string | null)[] {
  let said: Record<string, unknown> = {}
  try {
    said = JSON.parse(body.toString('utf8')) as Record<string, unknown>
  } catch {
    // An entry that was altered is verify's business; here it matches nothing.
  }
  return MEMBERS.map((name) => {
    const value = said[name]
    return typeof value === 'string' ? value.slice(0, NAME_CHARS_MAX) : null
  })
}

/** Makes the tables where they are missing or of another version. Throws SQLite's errors. */
export function makeCallTables(db: Database): void {
  if (db.pragma('user_version', { simple: true }) === VERSION) return
  const make = db.transaction(() => {
    if (db.pragma('user_version', { simple: true }) === VERSION) return
    db.exec(`
      DROP TABLE IF EXISTS calls;
      DROP TABLE IF EXISTS files;
      DROP TABLE IF EXISTS names;
      CREATE TABLE files (
        epoch INTEGER PRIMARY KEY, stamp TEXT NOT NULL, last INTEGER NOT NULL, last_hash TEXT NOT NULL
      ) STRICT;
      CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
      CREATE TABLE calls (
        place INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        ${NAMED.map((name) => `${name} INTEGER`).join(',\n')}
      ) STRICT;
      PRAGMA user_version = ${VERSION};
    `)
  })
  make.immediate()
}

/** Makes the indexes that are missing. */
export function createCallIndexes(db: Database): void {
  db.exec('CREATE INDEX IF NOT EXISTS calls_at ON calls (at)')
  for (const name of NAMED) {
    db.exec(
      `CREATE INDEX IF NOT EXISTS calls_${name} ON calls (${name}, at) WHERE ${name} IS NOT NULL`,
    )
  }
}

/** Takes the indexes away before many rows come: made after them they take a fifth of the time. */
export function dropCallIndexes(db: Database): void {
  for (const name of ['at', ...NAMED]) db.exec(`DROP INDEX IF EXISTS calls_${name}`)
}

/** The numbers of names. */
export class NameTable {
  readonly #find: Statement<[string], number>
  readonly #add: Statement<[string]>
  readonly #known = new Map<string, number>()

  constructor(db: Database) {
    this.#find = db.prepare<[string], number>('SELECT id FROM names WHERE name = ?').pluck()
    this.#add = db.prepare('INSERT OR IGNORE INTO names (name) VALUES (?)')
  }

  /** Null for a name that no call has. */
  find(name: string): number | null {
    return this.#find.get(name.slice(0, NAME_CHARS_MAX)) ?? null
  }

  /** The number of a name, which it gets when it has none; within the caller's transaction. */
  add(name: string | null): number | null {
    if (name === null) return null
    let id = this.#known.get(name)
    if (id !== undefined) return id
    this.#add.run(name)
    id = this.#find.get(name)!
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear()
    this.#known.set(name, id)
    return id
  }
}
