import type { PoolClient } from 'pg'

import type { CallFilter } from './call-index.ts'
import type { StoredEntry } from './query.ts'
import type { EntryRow } from './rows.ts'
import type { RowColumns } from './sink-rows.ts'

/** Reading the audit in PostgreSQL: what to ask for the calls that match a question, and every entry in order. */

/** An entry there, with its writer. */
export interface RemoteRow extends EntryRow {
  readonly writerId: Buffer
  readonly epoch: number
  /** What questions are asked by; null for an entry that is kept as bytes. */
  readonly columns: RowColumns | null
}

/** A row of an entry as the server answers it; `us` is microseconds since 1970. */
export interface Found {
  readonly writer_id: Buffer
  readonly epoch: number
  readonly seq: string
  readonly us: string
  readonly kind: Buffer
  readonly request_id: Buffer
  readonly awaits: boolean
  readonly hash: Buffer
  readonly body: Buffer
}

interface FoundWhole extends Found, RowColumns {
  readonly is_dead: boolean
}

const ROWS_A_READ = 1_000
/** Of PostgreSQL's integer: nothing is in front of it. */
const EPOCH_LEAST = -(2 ** 31)
/**
 * The time of an entry, as `us` of `Found`. No entry has an infinite one: who wrote it there is told by its
 * hash, and may not keep others from being asked for.
 */
export const US = `
  CASE WHEN isfinite(occurred_at) THEN (extract(epoch FROM occurred_at) * 1000000)::bigint
  ELSE 0 END AS us`
/** Pages go on behind the time of an entry, which such a one has not. */
export const FINITE = "occurred_at < 'infinity'"
const COLUMNS = 'tenant, key_id, key_name, operation, model, decision, policy, code'
const ENTRIES = `
  SELECT writer_id, epoch, seq, occurred_at, convert_to(kind, 'UTF8') AS kind,
    convert_to(request_id, 'UTF8') AS request_id, awaits, hash, body, ${COLUMNS}, false AS is_dead
  FROM governor.entries`
const ALL = `
  SELECT writer_id, epoch, seq, ${US}, kind, request_id, awaits, hash, body, ${COLUMNS}, is_dead
  FROM (
    ${ENTRIES}
    UNION ALL
    SELECT writer_id, epoch, seq, occurred_at, kind, request_id, awaits, hash, body,
      NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true
    FROM governor.dead_letters
  ) AS every
  WHERE (writer_id, epoch, seq) > ($1::bytea, $2::integer, $3::bigint)
  ORDER BY writer_id, epoch, seq LIMIT $4`

/** Two calls of one moment by their place, so that pages neither repeat nor leave out one. */
const NEWEST_FIRST = 'ORDER BY occurred_at DESC, seq DESC, writer_id DESC, epoch DESC'
const CALL = `writer_id, epoch, seq, ${US}, convert_to(kind, 'UTF8') AS kind,
    convert_to(request_id, 'UTF8') AS request_id, awaits, hash, body`
const CALLS = `
  SELECT writer_id, epoch, seq, occurred_at, kind, request_id, awaits, hash, body
  FROM governor.entries
  WHERE kind = 'decision' AND ${FINITE}
    AND occurred_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'`

/** By time, which is how partitions are; two entries of one moment by their place. */
const SINCE = `
  SELECT writer_id, epoch, seq, ${US}, convert_to(kind, 'UTF8') AS kind,
    convert_to(request_id, 'UTF8') AS request_id, awaits, hash, body
  FROM governor.entries
  WHERE ${FINITE} AND occurred_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
    AND (occurred_at, writer_id, epoch, seq) >
      (timestamptz 'epoch' + $1::bigint * interval '1 microsecond', $2::bytea, $3::integer, $4::bigint)
  ORDER BY occurred_at, writer_id, epoch, seq LIMIT $5`

/** Those that are kept as bytes only are few. */
const DEAD_SINCE = `
  SELECT writer_id, epoch, seq, ${US}, kind, request_id, awaits, hash, body
  FROM governor.dead_letters
  WHERE occurred_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
    AND (writer_id, epoch, seq) > ($2::bytea, $3::integer, $4::bigint)
  ORDER BY writer_id, epoch, seq LIMIT $5`

/** Where a call stands among those of all writers: by its time, then by its place in its chain. */
export interface RemotePlace {
  /** Microseconds since 1970. */
  readonly at: number
  readonly seq: number
  /** Hex. */
  readonly writer: string
  readonly epoch: number
}

/** As `CallFilter`, with the place where the page before ended. */
export type RemoteFilter = Omit<CallFilter, 'before'> & { readonly before?: RemotePlace | null }

/**
 * Every entry since `sinceUs` (microseconds since 1970), oldest first, a page at a time; those that are
 * kept as bytes only come last. Rejects with the server's error.
 */
export async function* entriesSince(
  client: PoolClient,
  sinceUs: number,
): AsyncGenerator<StoredEntry> {
  yield* pages(client, SINCE, sinceUs, (row) => Number(row.us))
  yield* pages(client, DEAD_SINCE, sinceUs, () => sinceUs)
}

async function* pages(
  client: PoolClient,
  sql: string,
  sinceUs: number,
  nextUs: (row: Found) => number,
): AsyncGenerator<StoredEntry> {
  let place: readonly unknown[] = [sinceUs, Buffer.alloc(0), EPOCH_LEAST, 0]
  for (;;) {
    const { rows } = await client.query<Found>(sql, [...place, ROWS_A_READ])
    for (const row of rows) {
      place = [nextUs(row), row.writer_id, row.epoch, row.seq]
      yield toEntry(row)
    }
    if (rows.length < ROWS_A_READ) return
  }
}

/** An entry from its row. */
export function toEntry(row: Found): StoredEntry {
  return {
    id: 0,
    writer: row.writer_id.toString('hex'),
    epoch: row.epoch,
    seq: Number(row.seq),
    occurredAtUs: Number(row.us),
    kind: row.kind.toString(),
    requestId: row.request_id.toString(),
    body: row.body.toString(),
  }
}

/**
 * What `findCalls` asks: a filter that does not matter is not in it, so that indexes serve the rest. A key
 * is asked for by its id and by its name apart: an OR of the two would be sorted, however many there are.
 */
export function callQuestion(filter: RemoteFilter): {
  readonly sql: string
  readonly values: unknown[]
} {
  const { tenant, key, model, decision, policy, sinceUs, limit, before = null } = filter
  const values: unknown[] = [sinceUs]
  let sql = CALLS
  for (const [column, value] of Object.entries({ tenant, model, decision, policy })) {
    if (value === null) continue
    values.push(value)
    sql += ` AND ${column} = $${values.length}`
  }
  if (before !== null) {
    const at =
      values.push(before.at, before.seq, Buffer.from(before.writer, 'hex'), before.epoch) - 3
    const time = `timestamptz 'epoch' + $${at}::bigint * interval '1 microsecond'`
    // The first comparison is what indexes serve.
    sql += ` AND occurred_at <= ${time} AND (occurred_at, seq, writer_id, epoch) <
      (${time}, $${at + 1}::bigint, $${at + 2}::bytea, $${at + 3}::integer)`
  }
  const newest = `${NEWEST_FIRST} LIMIT $${values.push(limit)}`
  if (key === null) return { sql: `SELECT ${CALL} FROM (${sql} ${newest}) AS every`, values }
  const name = `$${values.push(key)}`
  const byId = `${sql} AND key_id = ${name} ${newest}`
  const byName = `${sql} AND key_name = ${name} AND key_id IS DISTINCT FROM ${name} ${newest}`
  return {
    sql: `SELECT ${CALL} FROM ((${byId}) UNION ALL (${byName})) AS every ${newest}`,
    values,
  }
}

/** Every entry, chain by chain in order, a page at a time. Rejects with the server's error. */
export async function* everyEntry(client: PoolClient): AsyncGenerator<RemoteRow> {
  let place: readonly [Buffer, number, number] = [Buffer.alloc(0), EPOCH_LEAST, 0]
  for (;;) {
    const { rows } = await client.query<FoundWhole>(ALL, [...place, ROWS_A_READ])
    for (const row of rows) {
      const seq = Number(row.seq)
      place = [row.writer_id, row.epoch, seq]
      yield {
        id: 0,
        chain: 0,
        writerId: row.writer_id,
        epoch: row.epoch,
        seq,
        occurred_at: Number(row.us),
        kind: row.kind.toString(),
        request_id: row.request_id.toString(),
        awaits: row.awaits ? 1 : 0,
        hash: row.hash,
        body: row.body,
        columns: row.is_dead ? null : columnsIn(row),
      }
    }
    if (rows.length < ROWS_A_READ) return
  }
}

function columnsIn(row: RowColumns): RowColumns {
  const { tenant, key_id, key_name, operation, model, decision, policy, code } = row
  return { tenant, key_id, key_name, operation, model, decision, policy, code }
}
