import type { Database, Statement } from 'better-sqlite3'

import { epochFiles, openForReading } from './file.ts'
import { pageByPage } from './rows.ts'

/** Reading the log: the last entries, those that follow, and the decisions since a moment. */

/** An entry as it is stored. */
export interface StoredEntry {
  /** Place in its file. */
  readonly id: number
  /** Hex. */
  readonly writer: string
  readonly epoch: number
  readonly seq: number
  readonly occurredAtUs: number
  readonly kind: string
  /** '' when it belongs to no call. */
  readonly requestId: string
  /** JSON, as written. */
  readonly body: string
}

/** The columns an entry is read from. */
export interface EntryColumns {
  readonly id: number
  readonly writer_id: Buffer
  readonly epoch: number
  readonly seq: number
  readonly occurred_at: number
  readonly kind: string
  readonly request_id: string
  readonly body: Buffer
}

const ROWS_A_READ = 500
const SELECT = `
  SELECT entries.id, writer_id, epoch, seq, occurred_at, kind, request_id, body
  FROM entries JOIN chains ON chains.id = entries.chain`

/** Rows are in the order of their commits; times may differ from it by this much. */
const DISORDER_US = 10 * 60 * 1_000_000
const PROBE_ROWS = 1_000

/**
 * Reads a log as it grows, across epochs. Each read is short, so it never holds up the sidecar's
 * write-ahead log. `open` throws an Error when there is no log to read.
 */
export class LogReader {
  readonly #path: string
  #db: Database
  #epoch: number
  #after: Statement<[number, number], EntryColumns>
  #id = 0

  private constructor(path: string, file: { readonly path: string; readonly epoch: number }) {
    this.#path = path
    this.#db = openForReading(file.path)
    this.#epoch = file.epoch
    this.#after = this.#prepare()
  }

  /** Opens the newest file of the log. */
  static open(path: string): LogReader {
    const newest = epochFiles(path).at(-1)
    if (newest === undefined) throw new Error(`There is no audit log at ${path}`)
    return new LogReader(path, newest)
  }

  /** The last `count` entries, oldest first, older epochs included; `next` goes on after them. */
  last(count: number): StoredEntry[] {
    const newest = this.#db
      .prepare<[number], EntryColumns>(`${SELECT} ORDER BY entries.id DESC LIMIT ?`)
      .all(count)
    this.#id = newest[0]?.id ?? this.#id
    const entries = newest.map(toEntry).toReversed()
    const former = epochFiles(this.#path).filter((file) => file.epoch < this.#epoch)
    for (const file of former.toReversed()) {
      if (entries.length >= count) break
      entries.unshift(...lastOf(file.path, count - entries.length))
    }
    return entries
  }

  /** What was appended since, at most 500 entries; call again until it is empty. */
  next(): StoredEntry[] {
    const rows = this.#after.all(this.#id, ROWS_A_READ)
    if (rows.length === 0) {
      const file = epochFiles(this.#path).find(({ epoch }) => epoch > this.#epoch)
      if (file === undefined) return []
      this.#switch(file)
      return this.next()
    }
    this.#id = rows.at(-1)?.id ?? this.#id
    return rows.map(toEntry)
  }

  close(): void {
    this.#db.close()
  }

  #switch(file: { readonly path: string; readonly epoch: number }): void {
    const db = openForReading(file.path)
    this.#db.close()
    this.#db = db
    this.#epoch = file.epoch
    this.#id = 0
    this.#after = this.#prepare()
  }

  #prepare(): Statement<[number, number], EntryColumns> {
    return this.#db.prepare(`${SELECT} WHERE entries.id > ? ORDER BY entries.id LIMIT ?`)
  }
}

function lastOf(path: string, count: number): StoredEntry[] {
  const db = openForReading(path)
  try {
    return db
      .prepare<[number], EntryColumns>(`${SELECT} ORDER BY entries.id DESC LIMIT ?`)
      .all(count)
      .map(toEntry)
      .toReversed()
  } finally {
    db.close()
  }
}

/** What limits are rebuilt from. */
export interface CallEntry {
  readonly kind: 'decision' | 'outcome'
  readonly requestId: string
  readonly body: string
  readonly occurredAtUs: number
}

interface CallRow {
  readonly id: number
  readonly kind: string
  readonly requestId: string
  readonly at: number
  readonly body: Buffer
}

/**
 * Hands every decision and outcome since `sinceUs` (µs since 1970) to `onEntry`, oldest first, so that limit
 * windows can be rebuilt at start. Looks from the end of each file backwards for where to begin,
 * so it costs what the window holds, not what the file does. A missing log has none. Never throws
 * what a file says: the result names those that could not be read to their end.
 */
export function scanCalls(
  path: string,
  sinceUs: number,
  onEntry: (entry: CallEntry) => void,
): string[] {
  const unreadable: string[] = []
  for (const file of epochFiles(path)) {
    let db: Database | null = null
    try {
      db = openForReading(file.path)
      for (const entry of callsIn(db, sinceUs)) onEntry(entry)
    } catch {
      unreadable.push(file.path)
    } finally {
      db?.close()
    }
  }
  return unreadable
}

/** The decisions alone, one after the other; what cannot be read is verify's business and passed over. */
export function* decisionsSince(path: string, sinceUs: number): Generator<CallEntry, void> {
  for (const file of epochFiles(path)) {
    let db: Database | null = null
    try {
      db = openForReading(file.path)
      for (const entry of callsIn(db, sinceUs)) if (entry.kind === 'decision') yield entry
    } catch {
      // The other files may be whole.
    } finally {
      db?.close()
    }
  }
}

function* callsIn(db: Database, sinceUs: number): Generator<CallEntry, void> {
  const read = db.prepare<[number, number], CallRow>(
    'SELECT id, kind, request_id AS requestId, occurred_at AS at, body FROM entries WHERE id > ? ORDER BY id LIMIT ?',
  )
  for (const row of pageByPage(read, startBefore(db, sinceUs - DISORDER_US), (each) => each)) {
    const { kind, requestId, at } = row
    if ((kind !== 'decision' && kind !== 'outcome') || at < sinceUs) continue
    yield { kind, requestId, body: row.body.toString(), occurredAtUs: at }
  }
}

/**
 * Hands the body of every entry of one kind to `onEntry`, oldest first. Reads the whole log, since
 * kinds have no index. Throws when there is no log.
 */
export function scanKind(path: string, kind: string, onEntry: (body: string) => void): void {
  for (const db of openAll(path)) {
    try {
      const rows = db
        .prepare<[string], Buffer>('SELECT body FROM entries WHERE kind = ? ORDER BY id')
        .pluck()
      for (const body of rows.iterate(kind)) onEntry(body.toString())
    } finally {
      db.close()
    }
  }
}

/** Hands every entry since `sinceUs` (µs since 1970) to `onEntry`, in the order of the files. */
export function scanEntries(
  path: string,
  sinceUs: number,
  onEntry: (entry: StoredEntry) => void,
): void {
  for (const db of openAll(path)) {
    try {
      const read = db.prepare<[number, number], EntryColumns>(
        `${SELECT} WHERE entries.id > ? ORDER BY entries.id LIMIT ?`,
      )
      for (const row of pageByPage(read, startBefore(db, sinceUs - DISORDER_US), (each) => each)) {
        if (row.occurred_at >= sinceUs) onEntry(toEntry(row))
      }
    } finally {
      db.close()
    }
  }
}

/** The entries of one call, oldest first; empty when the log has none. Throws when there is no log. */
export function findCall(path: string, requestId: string): StoredEntry[] {
  const entries: StoredEntry[] = []
  for (const db of openAll(path)) {
    try {
      const rows = db.prepare<[string, number], EntryColumns>(
        `${SELECT} WHERE request_id = ? ORDER BY entries.id LIMIT ?`,
      )
      entries.push(...rows.all(requestId, ROWS_A_READ).map(toEntry))
    } finally {
      db.close()
    }
  }
  return entries
}

function* openAll(path: string): Generator<Database> {
  const files = epochFiles(path)
  if (files.length === 0) throw new Error(`There is no audit log at ${path}`)
  for (const file of files) yield openForReading(file.path)
}

function startBefore(db: Database, us: number): number {
  const probe = db.prepare<[number], { id: number; at: number }>(
    'SELECT id, occurred_at AS at FROM entries WHERE id <= ? ORDER BY id DESC LIMIT 1',
  )
  let id = Number.MAX_SAFE_INTEGER
  for (;;) {
    const row = probe.get(id)
    if (row === undefined) return 0
    if (row.at < us) return row.id
    id = row.id - PROBE_ROWS
  }
}

/** An entry from its columns. */
export function toEntry(row: EntryColumns): StoredEntry {
  return {
    id: row.id,
    writer: row.writer_id.toString('hex'),
    epoch: row.epoch,
    seq: row.seq,
    occurredAtUs: row.occurred_at,
    kind: row.kind,
    requestId: row.request_id,
    body: row.body.toString(),
  }
}
