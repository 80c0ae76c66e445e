import type { Pool } from 'pg'

import type { CallFilter } from './call-index.ts'
import { columnsOf } from './call-tables.ts'
import {
  callQuestion,
  FINITE,
  type Found,
  type RemoteFilter,
  type RemotePlace,
  toEntry,
  US,
} from './postgres-rows.ts'
import type { StoredEntry } from './query.ts'

/**
 * Calls in PostgreSQL that match a question. Those it keeps as bytes only, because they hold what its text
 * cannot, such as NUL, have no columns and are read: there are few, and who looks must not miss one for it.
 */

const ROWS_A_READ = 500
const CALLS = `
  SELECT writer_id, epoch, seq, ${US}, kind, request_id, awaits, hash, body
  FROM governor.dead_letters
  WHERE kind = convert_to('decision', 'UTF8') AND ${FINITE}
    AND occurred_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'`
const BEFORE = `
  AND (occurred_at, seq, writer_id, epoch) <
    (timestamptz 'epoch' + $3::bigint * interval '1 microsecond', $4::bigint, $5::bytea, $6::integer)`
const NEWEST = 'ORDER BY occurred_at DESC, seq DESC, writer_id DESC, epoch DESC LIMIT $2'

/** The newest calls that match, oldest first. Rejects with the server's error. */
export async function findCalls(pool: Pool, filter: CallFilter): Promise<StoredEntry[]> {
  return (await pageOfCalls(pool, { ...filter, before: null })).entries
}

/** The same, and where the page before ends; null where there is none. Rejects with the server's error. */
export async function pageOfCalls(
  pool: Pool,
  filter: RemoteFilter,
): Promise<{ readonly entries: StoredEntry[]; readonly next: RemotePlace | null }> {
  const { sql, values } = callQuestion(filter)
  // Its text holds no NUL, and it refuses to be asked for one.
  const isText = !values.some((value) => typeof value === 'string' && value.includes('\0'))
  const rows = isText ? (await pool.query<Found>(sql, values)).rows : []
  const dead = await deadCalls(pool, filter)
  const newest = [...rows.map(toEntry), ...dead].sort(byNewest).slice(0, filter.limit)
  const entries = newest.toReversed()
  const [oldest] = entries
  if (oldest === undefined || entries.length < filter.limit) return { entries, next: null }
  const { occurredAtUs: at, seq, writer, epoch } = oldest
  return { entries, next: { at, seq, writer, epoch } }
}

/** The newest that match of those kept as bytes only, newest first. */
async function deadCalls(pool: Pool, filter: RemoteFilter): Promise<StoredEntry[]> {
  const found: StoredEntry[] = []
  let before = filter.before ?? null
  while (found.length < filter.limit) {
    const place =
      before === null
        ? []
        : [before.at, before.seq, Buffer.from(before.writer, 'hex'), before.epoch]
    const sql = `${CALLS} ${before === null ? '' : BEFORE} ${NEWEST}`
    const { rows } = await pool.query<Found>(sql, [filter.sinceUs, ROWS_A_READ, ...place])
    const entries = rows.map(toEntry)
    found.push(...entries.filter((_, index) => matches(rows[index]!.body, filter)))
    const last = entries.at(-1)
    if (last === undefined || rows.length < ROWS_A_READ) break
    before = { at: last.occurredAtUs, seq: last.seq, writer: last.writer, epoch: last.epoch }
  }
  return found.slice(0, filter.limit)
}

function matches(body: Buffer, filter: RemoteFilter): boolean {
  const [tenant, keyId, keyName, model, decision, policy] = columnsOf(body)
  const { key } = filter
  return (
    (filter.tenant === null || filter.tenant === tenant) &&
    (key === null || key === keyId || key === keyName) &&
    (filter.model === null || filter.model === model) &&
    (filter.decision === null || filter.decision === decision) &&
    (filter.policy === null || filter.policy === policy)
  )
}

/** Newest first: two calls of one moment by their place, as PostgreSQL orders them. */
function byNewest(a: StoredEntry, b: StoredEntry): number {
  if (a.occurredAtUs !== b.occurredAtUs) return b.occurredAtUs - a.occurredAtUs
  if (a.seq !== b.seq) return b.seq - a.seq
  if (a.writer !== b.writer) return a.writer < b.writer ? 1 : -1
  return b.epoch - a.epoch
}
