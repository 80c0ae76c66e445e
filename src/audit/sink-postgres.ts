import type { Pool, QueryResult, QueryResultRow } from 'pg'

import type { Patience } from '../patience.ts'
import { type PoolCells, watchPool } from './pool-cells.ts'
import { checkSchema, closePool, isDataError, openPool, STATEMENT_MS } from './postgres.ts'
import { shippingPatience } from './ship-backoff.ts'
import type { ChainHead, ChainId, ShipBatch, ShipRow, Sink, Taken } from './ship-types.ts'
import { readRow, type ReadRow } from './sink-rows.ts'

/**
 * One statement, so one transaction and one round trip: the chain's head is moved only from where
 * the batch begins, and entries are inserted only when it moved. A batch sent twice finds the head
 * moved and inserts nothing. Where an entry has its place taken the statement fails, so that the head
 * stays too: moved, it would say later that these entries are there. Bodies and hashes cross as two long
 * binary values, which costs a third of an array of them.
 */
const HEAD = `
  begun AS (
    INSERT INTO governor.writers (writer_id, epoch, last_seq, last_hash)
    SELECT $1, $2, $3, $4 WHERE $5::bigint = 0
    ON CONFLICT DO NOTHING RETURNING 1
  ), moved AS (
    UPDATE governor.writers SET last_seq = $3, last_hash = $4, shipped_at = now()
    WHERE writer_id = $1 AND epoch = $2 AND last_seq = $5 AND last_hash = $6 RETURNING 1
  ), head AS (SELECT FROM begun UNION ALL SELECT FROM moved)`

/** Divides by zero where the head moved and not every one of `$7` entries was inserted. */
const RESULT = `
  SELECT moved / CASE WHEN moved = 0 OR inserted = $7::integer THEN 1 ELSE 0 END AS moved
  FROM (SELECT (SELECT count(*) FROM head)::integer AS moved,
    (SELECT count(*) FROM inserted)::integer AS inserted) AS counted`

const PUT = `
  WITH ${HEAD}, inserted AS (
    INSERT INTO governor.entries (writer_id, epoch, seq, occurred_at, kind, request_id, awaits,
      hash, body, tenant, key_id, key_name, operation, model, decision, policy, code)
    SELECT $1, $2, seq, timestamptz 'epoch' + us * interval '1 microsecond', kind, request_id,
      awaits, substring($8::bytea FROM (place * 32 - 31)::integer FOR 32),
      substring($9::bytea FROM body_at FOR body_bytes),
      tenant, key_id, key_name, operation, model, decision, policy, code
    FROM unnest($10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::boolean[],
      $15::integer[], $16::integer[], $17::text[], $18::text[], $19::text[], $20::text[],
      $21::text[], $22::text[], $23::text[], $24::text[]) WITH ORDINALITY
      AS row (seq, us, kind, request_id, awaits, body_at, body_bytes,
        tenant, key_id, key_name, operation, model, decision, policy, code, place)
    WHERE EXISTS (SELECT FROM head)
    ON CONFLICT DO NOTHING RETURNING 1
  )
  ${RESULT}`

const BURY = `
  WITH ${HEAD}, inserted AS (
    INSERT INTO governor.dead_letters
      (writer_id, epoch, seq, occurred_at, kind, request_id, awaits, hash, body, reason)
    SELECT $1, $2, $3, timestamptz 'epoch' + $8::bigint * interval '1 microsecond',
      $9, $10, $11, $4, $12, $13
    WHERE EXISTS (SELECT FROM head)
    ON CONFLICT DO NOTHING RETURNING 1
  )
  ${RESULT}`

/** Of a batch that is there already, entry for entry. */
const MOVE = `WITH ${HEAD} SELECT count(*)::integer AS moved FROM head`

const HEADS = `
  SELECT place::integer, last_seq, last_hash
  FROM unnest($1::bytea[], $2::integer[]) WITH ORDINALITY AS asked (writer_id, epoch, place)
  JOIN governor.writers USING (writer_id, epoch)`

const HASHES = `
  SELECT seq, hash FROM governor.entries
  WHERE writer_id = $1 AND epoch = $2 AND seq BETWEEN $3 AND $4
  UNION ALL
  SELECT seq, hash FROM governor.dead_letters
  WHERE writer_id = $1 AND epoch = $2 AND seq BETWEEN $3 AND $4`

interface Result {
  readonly moved: number
}

/** Nobody waits for a connection but the next batch, and each attempt at one takes several answers of a server. */
const CONNECT_MS = 20_000

/** SQLSTATE of `RESULT` where some of a batch was there before. */
const THERE_ALREADY = '22012'

/** PostgreSQL as a sink: every entry exactly once, however often and in whatever order it is sent. */
export class PostgresSink implements Sink {
  readonly #pool: Pool
  readonly #patience: Patience

  /** `patience`: how long a statement may take; `cells`: who is told of connections. Connects on first use. */
  constructor(url: string, patience = shippingPatience(), cells?: PoolCells) {
    this.#pool = openPool(url, STATEMENT_MS, CONNECT_MS)
    this.#patience = patience
    if (cells !== undefined) watchPool(this.#pool, cells)
  }

  check(): Promise<void> {
    return checkSchema(this.#pool)
  }

  async heads(chains: readonly ChainId[]): Promise<(ChainHead | null)[]> {
    const heads: (ChainHead | null)[] = chains.map(() => null)
    const { rows } = await this.#query<{ place: number; last_seq: string; last_hash: Buffer }>(
      HEADS,
      [chains.map(({ writerId }) => writerId), chains.map(({ epoch }) => epoch)],
    )
    for (const { place, last_seq, last_hash } of rows) {
      heads[place - 1] = { seq: Number(last_seq), hash: last_hash }
    }
    return heads
  }

  async put(batch: ShipBatch): Promise<Taken> {
    const read = batch.rows.map(readRow)
    const bad = read.findIndex(({ reason }) => reason !== null)
    if (bad === -1) return this.#putWhole(batch, read)
    if (bad > 0) return this.#inTwo(batch, bad)
    if (batch.rows.length > 1) return this.#inTwo(batch, 1)
    return this.#bury(batch, read[0]?.reason ?? '')
  }

  close(): Promise<void> {
    return closePool(this.#pool)
  }

  #query<Row extends QueryResultRow>(text: string, values: unknown[]): Promise<QueryResult<Row>> {
    return this.#patience.learn((withinMs) => {
      // Of pg's Client; its types do not know it of a statement.
      const asked = { text, values, query_timeout: withinMs }
      return this.#pool.query<Row>(asked)
    })
  }

  async #putWhole(batch: ShipBatch, read: readonly ReadRow[]): Promise<Taken> {
    try {
      const { rows } = await this.#query<Result>(PUT, putValues(batch, read))
      if (rows[0]?.moved !== 1) return await this.#elsewhere(batch)
      this.#patience.shorter()
      return { kind: 'taken', dead: 0 }
    } catch (error) {
      // The server will not take one of them: halves until it is found, so that it stops nothing.
      if (!isDataError(error)) throw error
      if (error.code === THERE_ALREADY) return await this.#compare(batch, 0)
      if (batch.rows.length > 1) return this.#inTwo(batch, batch.rows.length >> 1)
      return this.#bury(batch, `${error.message} (SQLSTATE ${error.code})`)
    }
  }

  /** An entry that cannot be asked about is kept as bytes, in its place in the chain. */
  async #bury(batch: ShipBatch, reason: string): Promise<Taken> {
    const row = batch.rows[0]!
    const values = [
      ...headValues(batch),
      row.occurredAtUs,
      Buffer.from(row.kind),
      Buffer.from(row.requestId),
      row.awaits,
      row.body,
      reason,
    ]
    try {
      const { rows } = await this.#query<Result>(BURY, values)
      return rows[0]?.moved === 1 ? { kind: 'taken', dead: 1 } : await this.#elsewhere(batch)
    } catch (error) {
      // A time that is none, a hash of another length: no Governor wrote that.
      if (!isDataError(error)) throw error
      if (error.code === THERE_ALREADY) return this.#compare(batch, 1)
      return { kind: 'refused', why: `entry ${row.seq} cannot be kept there: ${error.message}` }
    }
  }

  async #inTwo(batch: ShipBatch, at: number): Promise<Taken> {
    const before = await this.put({ ...batch, rows: batch.rows.slice(0, at) })
    if (before.kind !== 'taken') return before
    const { seq, hash } = batch.rows[at - 1]!
    const behind = await this.put({ ...batch, after: { seq, hash }, rows: batch.rows.slice(at) })
    return behind.kind === 'taken' ? { kind: 'taken', dead: before.dead + behind.dead } : behind
  }

  async #elsewhere({ chain }: ShipBatch): Promise<Taken> {
    const [head = null] = await this.heads([chain])
    return { kind: 'elsewhere', head }
  }

  /** The head moves over entries that were there before only where they are these. */
  async #compare(batch: ShipBatch, dead: number): Promise<Taken> {
    const { chain, rows } = batch
    const place = [chain.writerId, chain.epoch, rows[0]?.seq, rows.at(-1)?.seq]
    const found = await this.#query<{ seq: string; hash: Buffer }>(HASHES, place)
    const there = new Map(found.rows.map(({ seq, hash }) => [Number(seq), hash]))
    const isOther = rows.some(({ seq, hash }) => there.get(seq)?.equals(hash) === false)
    if (isOther || there.size < found.rows.length || there.size === 0) return { kind: 'differs' }
    if (there.size < rows.length) {
      const isFirstThere = there.has(rows[0]!.seq)
      return this.#inTwo(
        batch,
        rows.findIndex(({ seq }) => there.has(seq) !== isFirstThere),
      )
    }
    const moved = await this.#query<Result>(MOVE, headValues(batch).slice(0, HEAD_VALUES))
    return moved.rows[0]?.moved === 1 ? { kind: 'taken', dead } : this.#elsewhere(batch)
  }
}

/** Those of `HEAD`; behind them stands how many entries the batch has. */
const HEAD_VALUES = 6

/** `$1` to `$7`. */
function headValues({ chain, after, rows }: ShipBatch): unknown[] {
  const { seq, hash } = rows.at(-1)!
  return [chain.writerId, chain.epoch, seq, hash, after.seq, after.hash, rows.length]
}

function putValues(batch: ShipBatch, read: readonly ReadRow[]): unknown[] {
  const { rows } = batch
  const column = (name: keyof NonNullable<ReadRow['columns']>) =>
    read.map(({ columns }) => columns?.[name] ?? null)
  return [
    ...headValues(batch),
    Buffer.concat(rows.map(({ hash }) => hash)),
    Buffer.concat(rows.map(({ body }) => body)),
    rows.map(({ seq }) => seq),
    rows.map(({ occurredAtUs }) => occurredAtUs),
    rows.map(({ kind }) => kind),
    rows.map(({ requestId }) => requestId),
    rows.map(({ awaits }) => awaits),
    offsets(rows),
    rows.map(({ body }) => body.length),
    column('tenant'),
    column('key_id'),
    column('key_name'),
    column('operation'),
    column('model'),
    column('decision'),
    column('policy'),
    column('code'),
  ]
}

/** Where each body begins, from 1. */
function offsets(rows: readonly ShipRow[]): number[] {
  let at = 1
  return rows.map(({ body }) => {
    const here = at
    at += body.length
    return here
  })
}
