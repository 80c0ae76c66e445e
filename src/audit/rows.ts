import type { Database, Statement } from 'better-sqlite3'

/** The rows of one file of the log, as everything that walks it reads them. */

/** A row of `entries`. */
export interface EntryRow {
  /** Place in its file, in the order of commits. */
  readonly id: number
  /** Row of its chain in the same file. */
  readonly chain: number
  readonly seq: number
  /** Microseconds since 1970. */
  readonly occurred_at: number
  readonly kind: string
  readonly request_id: string
  readonly awaits: number
  readonly hash: Buffer
  readonly body: Buffer
}

/** A row of `chains`, as far as others than its writer need it. */
export interface ChainRow {
  readonly id: number
  readonly writer_id: Buffer
  readonly epoch: number
  readonly role: string
  readonly state: string
  readonly opened_at: number
}

/** Short reads, so that a running sidecar can go on reusing its write-ahead log. */
const ROWS_A_READ = 500
const FROM = `
  SELECT id, chain, seq, occurred_at, kind, request_id, awaits, hash, body
  FROM entries WHERE id > ? ORDER BY id LIMIT ?`

/**
 * Gives a function that reads what follows entry `id` of the file: at most `rowsMax` rows, and no more of
 * them than begin within `bytesMax` bytes of bodies. Throws SQLite's errors.
 */
export function rowsAfter(
  db: Database,
): (id: number, rowsMax: number, bytesMax: number) => EntryRow[] {
  const read = db.prepare<[number, number], EntryRow>(FROM)
  return (id, rowsMax, bytesMax) => {
    const found: EntryRow[] = []
    let bytes = 0
    for (const row of read.iterate(id, rowsMax)) {
      bytes += row.body.length
      if (found.length > 0 && bytes > bytesMax) break
      found.push(row)
    }
    return found
  }
}

/** Every row of the file behind entry `after`, in the order of commits. Throws SQLite's errors. */
export function everyRow(
  db: Database,
  after: number = Number.MIN_SAFE_INTEGER,
): Generator<EntryRow> {
  return pageByPage(db.prepare<[number, number], EntryRow>(FROM), after)
}

/** Every row of a statement that takes the place to go on behind, and how many rows at most. */
export function* pageByPage<Row extends { readonly id: number }>(
  read: Statement<[number, number], Row>,
  after: number,
): Generator<Row> {
  let id = after
  for (;;) {
    let rows = 0
    // One by one, since a page that is held in an array lives long enough to be collected last.
    for (const row of read.iterate(id, ROWS_A_READ)) {
      yield row
      id = row.id
      rows++
    }
    if (rows < ROWS_A_READ) return
  }
}

/** Every chain begun in the file so far. Throws SQLite's errors. */
export function chainRows(db: Database): ChainRow[] {
  return db
    .prepare<[], ChainRow>(
      'SELECT id, writer_id, epoch, role, state, opened_at FROM chains ORDER BY id',
    )
    .all()
}

/** What the first entry of a chain says, which `writer.open` is; null when there is none. */
export function openingBody(db: Database): (chain: number) => Buffer | null {
  const first = db
    .prepare<[number], Buffer>('SELECT body FROM entries WHERE chain = ? AND seq = 1')
    .pluck()
  return (chain) => first.get(chain) ?? null
}
