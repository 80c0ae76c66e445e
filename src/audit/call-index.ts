import { closeSync, openSync, rmSync } from 'node:fs'

import Database from 'better-sqlite3'

import { openWithin } from '../directories.ts'
import {
  columnsOf,
  createCallIndexes,
  dropCallIndexes,
  makeCallTables,
  NameTable,
  NAMED,
} from './call-tables.ts'
import { type EpochFile, epochFiles, openForReading } from './file.ts'
import { takeTurn } from './index-turn.ts'
import { type StoredEntry, toEntry, type EntryColumns } from './query.ts'
import { everyRow } from './rows.ts'

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
  /** Only those before this one, in the order of their times; absent begins with the newest. */
  readonly before?: CallPlace | null
}

/** Where a call stands among all: by its time, then its file and place in it. */
export interface CallPlace {
  /** Microseconds since 1970. */
  readonly at: number
  readonly epoch: number
  readonly id: number
}

/** Rows of the log a transaction of the index takes: what a reader killed meanwhile does again. */
const ROWS_A_COMMIT = 20_000
/** From so many new rows on, indexes are made after them: sorted once instead of row by row. */
const BULK_ROWS = 50_000
/** Making one index over many calls is one transaction. */
const BUSY_MS = 60_000

/** A place of an entry in all files of a log: ids are below 2^40, epochs below 10,000. */
const EPOCH_STEP = 2 ** 40

interface Indexed {
  readonly place: number
  readonly at: number
}

/** How far a file was read, and by which entries it is known again. */
interface FileMark {
  /** Hash of its first entry, hex. */
  readonly stamp: string
  /** Place of the last entry that was read, and its hash, hex; 0 and '' for none. */
  readonly last: number
  readonly last_hash: string
}

/** One open index. `close` it after use. */
export class CallIndex {
  readonly #path: string
  readonly #db: Database.Database
  readonly #names: NameTable
  readonly #onRows: (rows: number) => void

  private constructor(path: string, db: Database.Database, onRows: (rows: number) => void) {
    this.#path = path
    this.#db = db
    this.#names = new NameTable(db)
    this.#onRows = onRows
  }

  /**
   * Opens the index of the log at `path`, makes it anew when it is missing or damaged, and adds what
   * the log has since, telling `onRows` how many rows of it were read. One at a time, whoever asks: the
   * others wait and find it done. Throws an Error when there is no log or no room.
   */
  static open(path: string, onRows: (rows: number) => void = () => {}): CallIndex {
    if (epochFiles(path).length === 0) throw new Error(`There is no audit log at ${path}`)
    const turn = takeTurn(indexPath(path))
    try {
      return CallIndex.#openOnce(path, onRows)
    } catch (error) {
      if (!(error instanceof Database.SqliteError)) throw error
      if (!/CORRUPT|NOTADB/.test(error.code)) throw error
      for (const suffix of ['', '-wal', '-shm']) rmSync(indexPath(path) + suffix, { force: true })
      return CallIndex.#openOnce(path, onRows)
    } finally {
      turn.release()
    }
  }

  static #openOnce(path: string, onRows: (rows: number) => void): CallIndex {
    closeSync(openSync(indexPath(path), 'a', 0o600))
    const db = openWithin(
      indexPath(path),
      () => new Database(indexPath(path), { timeout: BUSY_MS }),
    )
    try {
      db.pragma('journal_mode = WAL')
      // What a crash takes from it, the next question adds again.
      db.pragma('synchronous = NORMAL')
      db.pragma('cache_size = -4000')
      makeCallTables(db)
      const index = new CallIndex(path, db, onRows)
      const files = epochFiles(path)
      index.#keepOnly(files)
      for (const file of files) index.#add(file)
      createCallIndexes(db)
      return index
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** The newest calls that match, oldest first; those pruned since are left out, and forgotten. */
  find(filter: CallFilter): StoredEntry[] {
    return this.page(filter).entries
  }

  /** The same, and where the page before ends; null where there is none. */
  page(filter: CallFilter): { readonly entries: StoredEntry[]; readonly next: CallPlace | null } {
    const asked = selection(filter, (name) => this.#names.find(name))
    if (asked === null) return { entries: [], next: null }
    const select = this.#db.prepare<unknown[], Indexed>(asked.sql)
    for (;;) {
      const found = select.all(...asked.values)
      const { entries, gone } = readEntries(
        this.#path,
        found.map(({ place }) => place).toReversed(),
      )
      if (gone.length === 0) return { entries, next: nextOf(found, filter.limit) }
      this.#forget(gone)
    }
  }

  /** How SQLite would look for it, one line a step; for tests, also of names no call has. */
  plan(filter: CallFilter): string[] {
    const { sql, values } = selection(filter, () => 0)!
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
      this.#empty(epoch)
    }
  }

  #empty(epoch: number): void {
    const both = this.#db.transaction(() => {
      this.#db
        .prepare('DELETE FROM calls WHERE place BETWEEN ? AND ?')
        .run(placeOf(epoch, 0), placeOf(epoch + 1, 0) - 1)
      this.#db.prepare('DELETE FROM files WHERE epoch = ?').run(epoch)
    })
    both.immediate()
  }

  /**
   * Entries that were pruned: these, and all of their file before the first decision it still has. What
   * else is gone is found, and forgotten, when it is asked for.
   */
  #forget(gone: readonly number[]): void {
    const forget = this.#db.prepare('DELETE FROM calls WHERE place = ?')
    const before = this.#db.prepare('DELETE FROM calls WHERE place BETWEEN ? AND ?')
    const epochs = new Set(gone.map(epochOf))
    const files = epochFiles(this.#path).filter(({ epoch }) => epochs.has(epoch))
    const firsts = files.map(({ epoch, path }) => [epoch, firstDecision(path)] as const)
    const all = this.#db.transaction(() => {
      for (const place of gone) forget.run(place)
      for (const [epoch, id] of firsts) before.run(placeOf(epoch, 0), placeOf(epoch, id) - 1)
    })
    all.immediate()
  }

  /** Adds the decisions of a file behind those it has; a file that is another one begins anew. */
  #add({ epoch, path }: EpochFile): void {
    const log = openForReading(path)
    try {
      const first = log.prepare<[], Buffer>('SELECT hash FROM entries ORDER BY id LIMIT 1').pluck()
      const stamp = first.get()?.toString('hex') ?? ''
      const known = this.#db
        .prepare<[number], FileMark>('SELECT stamp, last, last_hash FROM files WHERE epoch = ?')
        .get(epoch)
      const newest =
        log.prepare<[], number | null>('SELECT max(id) FROM entries').pluck().get() ?? 0
      const isSame = known?.stamp === stamp && newest >= known.last && hasStill(log, known)
      if (known !== undefined && !isSame) this.#empty(epoch)
      const { last, last_hash } = isSame ? known : { last: 0, last_hash: '' }
      if (newest - last > BULK_ROWS) dropCallIndexes(this.#db)
      this.#addRows(log, { epoch, stamp, last, last_hash })
    } finally {
      log.close()
    }
  }

  #addRows(log: Database.Database, from: FileMark & { readonly epoch: number }) {
    const { epoch, stamp } = from
    const insert = this.#db.prepare(
      `INSERT OR REPLACE INTO calls VALUES (?, ?, ${NAMED.map(() => '?').join(', ')})`,
    )
    const mark = this.#db.prepare('INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)')
    let rows = 0
    let id = from.last
    let hash = from.last_hash
    const commit = () => {
      mark.run(epoch, stamp, id, hash)
      this.#db.exec('COMMIT')
      this.#onRows(rows)
      rows = 0
    }
    try {
      for (const row of everyRow(log, from.last)) {
        if (rows === 0) this.#db.exec('BEGIN IMMEDIATE')
        if (row.kind === 'decision') {
          const names = columnsOf(row.body).map((name) => this.#names.add(name))
          insert.run(placeOf(epoch, row.id), row.occurred_at, ...names)
        }
        id = row.id
        hash = row.hash.toString('hex')
        if (++rows === ROWS_A_COMMIT) commit()
      }
      if (rows > 0) commit()
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }
}

/**
 * Whether the last entry that was read is still that one, or was pruned. A log that was put back from a
 * backup has others in its place: those of one tenant would be shown to another.
 */
function hasStill(log: Database.Database, { last, last_hash }: FileMark): boolean {
  const read = log.prepare<[number], Buffer>('SELECT hash FROM entries WHERE id = ?').pluck()
  const hash = read.get(last)
  return hash === undefined || hash.toString('hex') === last_hash
}

function placeOf(epoch: number, id: number): number {
  return epoch * EPOCH_STEP + id
}

function epochOf(place: number): number {
  return Math.floor(place / EPOCH_STEP)
}

function nextOf(found: readonly Indexed[], limit: number): CallPlace | null {
  const last = found.length < limit ? undefined : found.at(-1)
  if (last === undefined) return null
  const epoch = epochOf(last.place)
  return { at: last.at, epoch, id: last.place - placeOf(epoch, 0) }
}

function indexPath(path: string): string {
  return `${path}.index`
}

function firstDecision(path: string): number {
  const log = openForReading(path)
  try {
    const first = log.prepare<[], number>(
      "SELECT id FROM entries WHERE kind = 'decision' ORDER BY id LIMIT 1",
    )
    return first.pluck().get() ?? 0
  } finally {
    log.close()
  }
}

interface Selection {
  readonly sql: string
  readonly values: readonly unknown[]
}

/** Null where a name is asked for that no call ever had. */
function selection(filter: CallFilter, idOf: (name: string) => number | null): Selection | null {
  const { tenant, key, model, decision, policy, sinceUs, limit, before = null } = filter
  // The most telling first: a tenant has fewer calls than "allow" has.
  const equal = Object.entries({ policy, model, tenant, decision }).flatMap(([name, value]) =>
    value === null ? [] : [[name, idOf(value)] as const],
  )
  const keyId = key === null ? null : idOf(key)
  if (equal.some(([, id]) => id === null) || (key !== null && keyId === null)) return null
  const where = ['at >= ?', ...equal.map(([name]) => `${name} = ?`)]
  const values: unknown[] = [sinceUs, ...equal.map(([, id]) => id)]
  if (before !== null) {
    where.push('(at, place) < (?, ?)')
    values.push(before.at, placeOf(before.epoch, before.id))
  }
  const select = (more: readonly string[]) =>
    `SELECT place, at FROM calls WHERE ${[...where, ...more].join(' AND ')}`
  const order = 'ORDER BY at DESC, place DESC LIMIT ?'
  if (key === null) return { sql: `${select([])} ${order}`, values: [...values, limit] }
  const each = ['key_id = ?', 'key_name = ?'].map((one) => select([one]))
  return {
    sql: `${each.join(' UNION ')} ${order}`,
    values: [...values, keyId, ...values, keyId, limit],
  }
}

/** The entries at these places, in their order, and those places that have none any more. */
function readEntries(
  path: string,
  places: readonly number[],
): { readonly entries: StoredEntry[]; readonly gone: number[] } {
  const files = new Map(epochFiles(path).map((file) => [file.epoch, file.path]))
  const found = new Map<number, StoredEntry>()
  for (const epoch of new Set(places.map(epochOf))) {
    const file = files.get(epoch)
    if (file === undefined) continue
    const db = openForReading(file)
    try {
      const read = db.prepare<[number], EntryColumns>(
        `SELECT entries.id, writer_id, epoch, seq, occurred_at, kind, request_id, body
         FROM entries JOIN chains ON chains.id = entries.chain WHERE entries.id = ?`,
      )
      for (const place of places.filter((each) => epochOf(each) === epoch)) {
        const row = read.get(place - placeOf(epoch, 0))
        if (row !== undefined) found.set(place, toEntry(row))
      }
    } finally {
      db.close()
    }
  }
  const entries = places.map((place) => found.get(place)).filter((entry) => entry !== undefined)
  return { entries, gone: places.filter((place) => !found.has(place)) }
}
