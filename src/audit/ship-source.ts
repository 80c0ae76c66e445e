import type { Database, Statement } from 'better-sqlite3'

import { openForReading } from './file.ts'
import type { EpochFile } from './file.ts'
import { type Retention, retentionsOf } from './retention.ts'
import { chainRows, type EntryRow, openingBody, rowsAfter } from './rows.ts'
import type { ChainHead, ChainId, ShipRow } from './ship-types.ts'
import { isHead, parseBody } from './verify-chain.ts'

/** Reading a log for shipping: on connections of its own that cannot write, a page at a time. */

/** A chain as a file holds it. */
export interface LocalChain extends ChainId {
  /** In its file. */
  readonly id: number
}

/** An entry and where it stands. */
export interface LocalRow {
  /** In its file: entries are read in the order they were committed. */
  readonly id: number
  readonly chain: LocalChain
  readonly row: ShipRow
}

const STRAY = 'STRAY_ENTRY'

/** Whether a file itself is broken, so that reading it again is in vain. */
export function isDamage(error: unknown): boolean {
  const { cause } = error as Error
  const { code } = (cause ?? error) as { readonly code?: unknown }
  return code === STRAY || /^SQLITE_(CORRUPT|NOTADB)/.test(String(code))
}

/** One file of the log. Errors are SQLite's, or say that it is no audit log. */
export class LogFile {
  readonly path: string
  readonly epoch: number
  readonly #db: Database
  readonly #chains = new Map<number, LocalChain>()
  readonly #after: ReturnType<typeof rowsAfter>
  readonly #at: Statement<[number, number], { hash: Buffer }>
  readonly #next: Statement<[number], { id: number; occurred_at: number }>

  constructor({ path, epoch }: EpochFile) {
    this.path = path
    this.epoch = epoch
    this.#db = openForReading(path)
    this.#after = rowsAfter(this.#db)
    this.#at = this.#db.prepare('SELECT hash FROM entries WHERE chain = ? AND seq = ?')
    this.#next = this.#db.prepare(
      'SELECT id, occurred_at FROM entries WHERE id > ? ORDER BY id LIMIT 1',
    )
  }

  /** Every chain begun in it so far. */
  chains(): LocalChain[] {
    for (const { id, writer_id: writerId, epoch } of chainRows(this.#db)) {
      if (!this.#chains.has(id)) this.#chains.set(id, { id, writerId, epoch })
    }
    return [...this.#chains.values()]
  }

  /** Where writers of former files say they were acknowledged last, by the chain's opening entry. */
  continued(): { readonly writer: string; readonly epoch: number; readonly seq: number }[] {
    const first = openingBody(this.#db)
    return this.chains().flatMap(({ id }) => {
      const opening = first(id)
      const head = opening === null ? null : parseBody(opening)?.continues
      return isHead(head) ? [{ writer: head.writer_id, epoch: head.epoch, seq: head.seq }] : []
    })
  }

  /** The hash of a chain's entry at `seq`; null when there is none. */
  hashAt(chain: LocalChain, seq: number): Buffer | null {
    return this.#at.get(chain.id, seq)?.hash ?? null
  }

  /** The place of the first entry of a chain behind `seq`; null when there is none. */
  firstAfter(chain: LocalChain, seq: number): number | null {
    const row = this.#db
      .prepare<[number, number], { id: number }>(
        'SELECT id FROM entries WHERE chain = ? AND seq > ? ORDER BY seq LIMIT 1',
      )
      .get(chain.id, seq)
    return row?.id ?? null
  }

  /** What was removed on purpose, of any chain, as entries of this file say. */
  retentions(): Retention[] {
    return retentionsOf(this.#db)
  }

  /** The last entry of a chain; null when it has none. */
  end(chain: LocalChain): ChainHead | null {
    const row = this.#db
      .prepare<[number], { seq: number; hash: Buffer }>(
        'SELECT seq, hash FROM entries WHERE chain = ? ORDER BY seq DESC LIMIT 1',
      )
      .get(chain.id)
    return row ?? null
  }

  /** What follows entry `id` of the file, at most `rowsMax` entries of at most `bytesMax` together. */
  read(id: number, rowsMax: number, bytesMax: number): LocalRow[] {
    return this.#after(id, rowsMax, bytesMax).map((row) => {
      return { id: row.id, chain: this.#chainOf(row.chain), row: toShipRow(row) }
    })
  }

  /** How many entries follow entry `id`, and when the first of them occurred (0: there is none). */
  backlog(id: number): { readonly entries: number; readonly oldestUs: number } {
    const next = this.#next.get(id)
    if (next === undefined) return { entries: 0, oldestUs: 0 }
    return { entries: this.lastId() - next.id + 1, oldestUs: next.occurred_at }
  }

  /** The place of the last entry; 0 when there is none. */
  lastId(): number {
    return this.#db.prepare<[], number | null>('SELECT max(id) FROM entries').pluck().get() ?? 0
  }

  close(): void {
    this.#db.close()
  }

  #chainOf(id: number): LocalChain {
    if (!this.#chains.has(id)) this.chains()
    const chain = this.#chains.get(id)
    if (chain === undefined)
      throw Object.assign(new Error('an entry has no writer'), { code: STRAY })
    return chain
  }
}

/** A row of the log as it is shipped. */
export function toShipRow(row: EntryRow): ShipRow {
  return {
    seq: row.seq,
    occurredAtUs: row.occurred_at,
    kind: row.kind,
    requestId: row.request_id,
    awaits: row.awaits === 1,
    hash: row.hash,
    body: row.body,
  }
}
