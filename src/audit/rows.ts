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
const COLUMNS = 'id, chain, seq, occurred_at, kind, request_id, awaits'
const BEHIND = 'FROM entries WHERE id > ? ORDER BY id LIMIT ?'
const ONE = 'FROM entries WHERE id = ?'
const HASH_BYTES = 32
/** SQLite joins two blobs byte by byte and calls that text. Null where the columns are not what is written. */
const JOINED = `
  SELECT ${COLUMNS}, iif(
    length(hash) = ${HASH_BYTES} AND typeof(hash) = 'blob' AND typeof(body) = 'blob',
    CAST(hash || body AS BLOB), NULL) AS both
  ${BEHIND}`

/** A row of `JOINED`. */
interface JoinedRow extends Omit<EntryRow, 'hash' | 'body'> {
  readonly both: Buffer | null
}

/**
 * Gives a function that reads what follows entry `id` of the file: at most `rowsMax` rows, and no more of
 * them than begin within `bytesMax` bytes of bodies. Throws SQLite's errors.
 */
export function rowsAfter(
  db: Database,
): (id: number, rowsMax: number, bytesMax: number) => EntryRow[] {
  const read = db.prepare<[number, number], EntryRow>(`SELECT ${COLUMNS}, hash, body ${BEHIND}`)
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

/**
 * Every row of the file behind entry `after`, in the order of commits; hash and body are views of one
 * buffer, because a buffer of its own for 32 bytes takes 1.5 µs of an entry's 12. Throws SQLite's errors.
 */
export function everyRow(
  db: Database,
  after: number = Number.MIN_SAFE_INTEGER,
): Generator<EntryRow> {
  const plain = db.prepare<[number], EntryRow>(`SELECT ${COLUMNS}, hash, body ${ONE}`)
  return pageByPage(db.prepare<[number, number], JoinedRow>(JOINED), after, (row) => {
    const { id, chain, seq, occurred_at, kind, request_id, awaits, both } = row
    // Altered: where its hash ends and its body begins is for the columns to say.
    if (both === null) return plain.get(id)!
    const hash = both.subarray(0, HASH_BYTES)
    const body = both.subarray(HASH_BYTES)
    return { id, chain, seq, occurred_at, kind, request_id, awaits, hash, body }
  })
}

/** Every row, as `shape` gives it, of a statement that takes the place to go on behind, and how many rows at most. */
export function* pageByPage<Row extends { readonly id: number }, Shaped>(
  read: Statement<[number, number], Row>,
  after: number,
  shape: (row: Row) => Shaped,
): Generator<Shaped> {
  let id = after
  for (;;) {
    let rows = 0
    // One by one, since a page that is held in an array lives long enough to be collected last.
    for (const row of read.iterate(id, ROWS_A_READ)) {
      yield shape(row)
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
