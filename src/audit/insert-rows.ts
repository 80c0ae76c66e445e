import type { Database, RunResult, Statement } from 'better-sqlite3'

import type { Kind } from './chain.ts'

/** One entry's row; the hash and the body are copied by `flush` at the latest. */
export interface InsertedRow {
  readonly seq: number
  /** Microseconds since 1970. */
  readonly occurredAtUs: number
  readonly kind: Kind
  readonly requestId: string
  readonly awaits: boolean
  readonly hash: Uint8Array
  readonly body: Uint8Array
}

/** In one statement: 3.3 instead of 4.6 µs a row, measured; 32 save no more. */
const ROWS = 16
const COLUMNS = 8
const ROW = '(?, ?, ?, ?, ?, ?, ?, ?)'

/** Inserts the rows of one chain, many in one statement, within the caller's transaction. */
export class RowInserter {
  readonly #chain: number
  readonly #one: Statement
  readonly #many: Statement
  readonly #values: unknown[] = []

  constructor(db: Database, chain: number) {
    const into = `INSERT INTO entries
      (chain, seq, occurred_at, kind, request_id, awaits, hash, body) VALUES`
    this.#chain = chain
    this.#one = db.prepare(`${into} ${ROW}`)
    this.#many = db.prepare(`${into} ${Array(ROWS).fill(ROW).join(', ')}`)
  }

  /** Throws SQLite's error, of this row or of one before it, or that the file did not take one. */
  add({ seq, occurredAtUs, kind, requestId, awaits, hash, body }: InsertedRow): void {
    const values = this.#values
    values.push(this.#chain, seq, occurredAtUs, kind, requestId, awaits ? 1 : 0, hash, body)
    if (values.length < ROWS * COLUMNS) return
    taken(this.#many.run(values), ROWS)
    values.length = 0
  }

  /** Inserts what was added and is not there yet. Throws SQLite's error. */
  flush(): void {
    const values = this.#values
    for (let at = 0; at < values.length; at += COLUMNS) {
      taken(this.#one.run(values.slice(at, at + COLUMNS)), 1)
    }
    values.length = 0
  }

  /** Forgets what was added, for a transaction that is taken back. */
  clear(): void {
    this.#values.length = 0
  }
}

/** A trigger that somebody put into the file may drop a row without an error. */
function taken({ changes }: RunResult, rows: number): void {
  if (changes !== rows) throw new Error(`The file took ${changes} of ${rows} entries`)
}
