import { closeSync, openSync, rmSync } from 'node:fs'

import Database from 'better-sqlite3'

import { openWithin } from '../directories.ts'
import { type EpochFile, epochFiles, openForReading } from './file.ts'
import { type StoredEntry, toEntry, type EntryColumns } from './query.ts'

/**
 * An index over the decisions of a log, in a file of its own beside it (`audit.db.index`). It is made
 * by the first question and brought up to date by each one, so that a call costs nothing for it; it
 * can be deleted at any time, and `verify` never looks at it.
 */

/** What is asked for; null does not matter. */
export interface CallFilter {
  readonly tenant: string | null
  /** A key's id or its name. */
  readonly key: string | null
  /** As the call named it. */
  readonly model: string | null
  readonly decision: string | null
  /** The policy that decided. */
  readonly policy: string | null
  /** Microseconds since 1970. */
  readonly sinceUs: number
  /** The newest so many. */
  readonly limit: number
}

const VERSION = 1
const ROWS_A_READ = 1_000
const BUSY_MS = 10_000
const NAME_CHARS_MAX = 256

interface Indexed {
  readonly epoch: number
  readonly id: number
}

/** One open index. `close` it after use. */
export class CallIndex {
  readonly #path: string
  readonly #db: Database.Database

  private constructor(path: string, db: Database.Database) {
    this.#path = path
    this.#db = db
  }

  /**
   * Opens the index of the log at `path`, makes it anew when it is missing or damaged, and adds what
   * the log has since. Throws an Error when there is no log or no room.
   */
  static open(path: string): CallIndex {
    if (epochFiles(path).length === 0) throw new Error(`There is no audit log at ${path}`)
    try {
      return CallIndex.#openOnce(path)
    } catch (error) {
      if (!(error instanceof Database.SqliteError)) throw error
      if (!/CORRUPT|NOTADB/.test(error.code)) throw error
      for (const suffix of ['', '-wal', '-shm']) rmSync(indexPath(path) + suffix, { force: true })
      return CallIndex.#openOnce(path)
    }
  }

  static #openOnce(path: string): CallIndex {
    closeSync(openSync(indexPath(path), 'a', 0o600))
    const db = openWithin(
      indexPath(path),
      () => new Database(indexPath(path), { timeout: BUSY_MS }),
    )
    try {
      db.pragma('journal_mode = WAL')
      // What a crash takes from it, the next question adds again.
      db.pragma('synchronous = NORMAL')
      if (db.pragma('user_version', { simple: true }) !== VERSION) makeTables(db)
      const index = new CallIndex(path, db)
      const files = epochFiles(path)
      index.#keepOnly(files)
      for (const file of files) index.#add(file)
      return index
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** The newest calls that match, oldest first; those pruned since are left out. */
  find(filter: CallFilter): StoredEntry[] {
    const { sql, values } = selection(filter)
    const found = this.#db.prepare<unknown[], Indexed>(sql).all(...values)
    return readEntries(this.#path, found.toReversed())
  }

  /** How SQLite would look for it, one line a step. */
  plan(filter: CallFilter): string[] {
    const { sql, values } = selection(filter)
    const steps = this.#db.prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`)
    return steps.all(...values).map(({ detail }) => detail)
  }

  close(): void {
    this.#db.close()
  }

  /** Calls of a file that is gone would take the places of others among the newest. */
  #keepOnly(files: readonly EpochFile[]): void {
    const known = this.#db.prepare<[], number>('SELECT epoch FROM files').pluck().all()
    for (const epoch of known.filter((each) => !files.some((file) => file.epoch === each))) {
      this.#db.prepare('DELETE FROM calls WHERE epoch = ?').run(epoch)
      this.#db.prepare('DELETE FROM files WHERE epoch = ?').run(epoch)
    }
  }

  /** Adds the decisions of a file behind those it has; a file that is another one begins anew. */
  #add({ epoch, path }: EpochFile): void {
    const log = openForReading(path)
    try {
      const first = log.prepare<[], Buffer>('SELECT hash FROM entries ORDER BY id LIMIT 1').pluck()
      const stamp = first.get()?.toString('hex') ?? ''
      const known = this.#db
        .prepare<[number], { stamp: string; last: number }>(
          'SELECT stamp, last FROM files WHERE epoch = ?',
        )
        .get(epoch)
      let last = known?.last ?? 0
      if (known !== undefined && known.stamp !== stamp) {
        this.#db.prepare('DELETE FROM calls WHERE epoch = ?').run(epoch)
        last = 0
      }
      const read = log.prepare<
        [number, number],
        { id: number; kind: string; body: Buffer; at: number }
      >('SELECT id, kind, body, occurred_at AS at FROM entries WHERE id > ? ORDER BY id LIMIT ?')
      const insert = this.#db.prepare(
        'INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      )
      const mark = this.#db.prepare('INSERT OR REPLACE INTO files VALUES (?, ?, ?)')
      const take = this.#db.transaction((rows: ReturnType<typeof read.all>) => {
        for (const { id, kind, body, at } of rows) {
          if (kind === 'decision') insert.run(epoch, id, at, ...columnsOf(body))
          last = id
        }
        mark.run(epoch, stamp, last)
      })
      for (;;) {
        const rows = read.all(last, ROWS_A_READ)
        if (rows.length > 0) take.immediate(rows)
        if (rows.length < ROWS_A_READ) return
      }
    } finally {
      log.close()
    }
  }
}

function indexPath(path: string): string {
  return `${path}.index`
}

const COLUMNS = ['tenant', 'key_id', 'key_name', 'gen_ai.request.model', 'decision', 'policy']

function columnsOf(body: Buffer): string[] {
  let said: Record<string, unknown> = {}
  try {
    said = JSON.parse(body.toString('utf8')) as Record<string, unknown>
  } catch {
    // An entry that was altered is verify's business; here it matches nothing.
  }
  return COLUMNS.map((name) => {
    const value = said[name]
    return typeof value === 'string' ? value.slice(0, NAME_CHARS_MAX) : ''
  })
}

function makeTables(db: Database.Database): void {
  const names = ['tenant', 'key_id', 'key_name', 'model', 'decision', 'policy']
  db.exec(`
    DROP TABLE IF EXISTS calls;
    DROP TABLE IF EXISTS files;
    CREATE TABLE files (epoch INTEGER PRIMARY KEY, stamp TEXT NOT NULL, last INTEGER NOT NULL) STRICT;
    CREATE TABLE calls (
      epoch INTEGER NOT NULL,
      id INTEGER NOT NULL,
      at INTEGER NOT NULL,
      ${names.map((name) => `${name} TEXT NOT NULL,`).join('\n')}
      PRIMARY KEY (epoch, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX calls_at ON calls (at);
    ${names.map((name) => `CREATE INDEX calls_${name} ON calls (${name}, at);`).join('\n')}
    PRAGMA user_version = ${VERSION};
  `)
}

function selection(filter: CallFilter): { sql: string; values: unknown[] } {
  const { tenant, key, model, decision, policy, sinceUs, limit } = filter
  // The most telling first: a tenant has fewer calls than "allow" has.
  const equal = Object.entries({ policy, model, tenant, decision }).filter(
    ([, value]) => value !== null,
  )
  const where = ['at >= ?', ...equal.map(([name]) => `${name} = ?`)]
  const values: unknown[] = [sinceUs, ...equal.map(([, value]) => value)]
  const select = (more: readonly string[]) =>
    `SELECT epoch, id, at FROM calls WHERE ${[...where, ...more].join(' AND ')}`
  const order = 'ORDER BY at DESC, epoch DESC, id DESC LIMIT ?'
  if (key === null) return { sql: `${select([])} ${order}`, values: [...values, limit] }
  const sql = `${select(['key_id = ?'])} UNION ${select(['key_name = ?'])} ${order}`
  return { sql, values: [...values, key, ...values, key, limit] }
}

function readEntries(path: string, found: readonly Indexed[]): StoredEntry[] {
  const files = new Map(epochFiles(path).map((file) => [file.epoch, file.path]))
  const entries = new Map<string, StoredEntry>()
  for (const epoch of new Set(found.map((each) => each.epoch))) {
    const file = files.get(epoch)
    if (file === undefined) continue
    const db = openForReading(file)
    try {
      const read = db.prepare<[number], EntryColumns>(
        `SELECT entries.id, writer_id, epoch, seq, occurred_at, kind, request_id, body
         FROM entries JOIN chains ON chains.id = entries.chain WHERE entries.id = ?`,
      )
      for (const { id } of found.filter((each) => each.epoch === epoch)) {
        const row = read.get(id)
        if (row !== undefined) entries.set(`${epoch}:${id}`, toEntry(row))
      }
    } finally {
      db.close()
    }
  }
  return found
    .map(({ epoch, id }) => entries.get(`${epoch}:${id}`))
    .filter((entry) => entry !== undefined)
}
