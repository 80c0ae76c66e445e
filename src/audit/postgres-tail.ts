import type { Pool, PoolClient } from 'pg'

import { type Found, toEntry, US } from './postgres-rows.ts'
import { inTransaction } from './postgres.ts'
import type { StoredEntry } from './query.ts'

/** Following the audit in PostgreSQL: each chain from where it stood on, so that nothing is missed. */

const ROWS_A_READ = 500
/** A batch shows when it is committed, which is a statement's longest time after its `shipped_at`. */
const OVERLAP_US = 60_000_000

const COLUMNS = `writer_id, epoch, seq, ${US}, convert_to(kind, 'UTF8') AS kind,
  convert_to(request_id, 'UTF8') AS request_id, awaits, hash, body`
const DEAD_COLUMNS = `writer_id, epoch, seq, ${US}, kind, request_id, awaits, hash, body`
const NEWEST = 'ORDER BY occurred_at DESC, seq DESC LIMIT $1'
const LAST = `
  SELECT * FROM (
    (SELECT ${COLUMNS}, occurred_at FROM governor.entries ${NEWEST})
    UNION ALL
    (SELECT ${DEAD_COLUMNS}, occurred_at FROM governor.dead_letters ${NEWEST})
  ) AS every ${NEWEST}`
/** A head that somebody set to the end of time does not hide those that move after it. */
const MOVED = `
  SELECT writer_id, epoch, last_seq,
    (extract(epoch FROM least(shipped_at, now())) * 1000000)::bigint AS shipped_us
  FROM governor.writers
  WHERE shipped_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'`
const PLACE = 'writer_id = $1 AND epoch = $2 AND seq > $3 AND seq <= $4'
const NEXT = `
  SELECT * FROM (
    SELECT ${COLUMNS} FROM governor.entries WHERE ${PLACE}
    UNION ALL
    SELECT ${DEAD_COLUMNS} FROM governor.dead_letters WHERE ${PLACE}
  ) AS every ORDER BY seq LIMIT ${ROWS_A_READ}`

interface Moved {
  readonly writer_id: Buffer
  readonly epoch: number
  readonly last_seq: string
  readonly shipped_us: string
}

/** Shows the last entries of all pods, and those that arrive; holds the place of each chain. */
export class PostgresTail {
  readonly #pool: Pool
  /** By chain: up to which entry it was shown, or stood at the beginning. */
  readonly #shown = new Map<string, number>()
  #newestUs = 0

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** The last `count` entries by their times, oldest first; `next` goes on from this moment. */
  last(count: number): Promise<StoredEntry[]> {
    return inTransaction(this.#pool, async (client) => {
      await client.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
      for (const moved of await this.#moved(client)) {
        this.#shown.set(nameOf(moved), Number(moved.last_seq))
      }
      const { rows } = await client.query<Found>(LAST, [count])
      return rows.toReversed().map(toEntry)
    })
  }

  /** What has arrived since, chain by chain in pages of 500. Rejects with the server's error. */
  async *next(): AsyncGenerator<StoredEntry[]> {
    for (const moved of await this.#moved(this.#pool)) {
      const name = nameOf(moved)
      for (;;) {
        const seq = this.#shown.get(name) ?? 0
        if (seq >= Number(moved.last_seq)) break
        const place = [moved.writer_id, moved.epoch, seq, moved.last_seq]
        const { rows } = await this.#pool.query<Found>(NEXT, place)
        const entries = rows.map(toEntry)
        // A replica may know where a chain stands before it has the entries: they come next time.
        if (entries.length === 0) break
        this.#shown.set(name, entries.at(-1)?.seq ?? seq)
        yield entries
      }
    }
  }

  async #moved(client: Pick<PoolClient, 'query'>): Promise<Moved[]> {
    const { rows } = await client.query<Moved>(MOVED, [Math.max(0, this.#newestUs - OVERLAP_US)])
    for (const { shipped_us } of rows) this.#newestUs = Math.max(this.#newestUs, Number(shipped_us))
    return rows
  }
}

function nameOf({ writer_id, epoch }: Moved): string {
  return `${writer_id.toString('hex')}:${epoch}`
}
