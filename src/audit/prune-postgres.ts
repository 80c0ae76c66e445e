import type { Pool, PoolClient } from 'pg'

import { originOf } from './note.ts'
import { inTransaction } from './postgres.ts'
import type { Retention } from './retention.ts'
import { parseBody } from './verify-chain.ts'

/**
 * Retention in PostgreSQL: whole months go, as partitions, which costs the same for ten entries and for ten
 * million. What has to stay of a month (each chain's first entry, checkpoints, what was erased or removed,
 * chains of commands, and what follows the last checkpoint) is moved to the default partition first.
 */

/** A partition of one month. */
interface Month {
  /** `entries_2026_05`. */
  readonly table: string
  /** Where it ends, milliseconds since 1970. */
  readonly endMs: number
}

/** What may be removed. */
export interface PrunePlan {
  /** Oldest first. */
  readonly months: readonly Month[]
  /** What the entries `retention` have to say. */
  readonly pruned: readonly Retention[]
  /** The first old month that has to stay, as `2026-05`, since the root does not cover it; null: none has. */
  readonly uncovered: string | null
}

/** How many entries of each chain a published root covers, by origin. */
export type Published = (origin: string) => number

const MONTH = /^entries_(\d{4})_(\d{2})$/
const KEPT = "('checkpoint', 'retention', 'redaction')"
const KEPT_BYTES = "('checkpoint'::bytea, 'retention'::bytea, 'redaction'::bytea)"
/** A sidecar's batch waits for no longer than this and what one month's move takes. */
const LOCK_MS = 5_000

const MONTHS = `
  SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
  WHERE inhparent = 'governor.entries'::regclass ORDER BY relname`

const OUTDATED = `
  SELECT EXISTS (
    SELECT FROM unnest($1::bytea[], $2::integer[], $3::bigint[]) AS asked (writer_id, epoch, size)
    JOIN governor.entries USING (writer_id, epoch)
    WHERE kind = 'checkpoint' AND seq > size + 1
  ) AS outdated`

/** Chains with something old to remove, and how each begins. */
const CHAINS = `
  SELECT writer_id, epoch, (
    SELECT body FROM governor.entries AS first
    WHERE first.writer_id = old.writer_id AND first.epoch = old.epoch AND first.seq = 1
  ) AS opening
  FROM (
    SELECT DISTINCT writer_id, epoch FROM governor.entries
    WHERE occurred_at < $1 AND seq > 1 AND kind NOT IN ${KEPT}
  ) AS old ORDER BY writer_id, epoch`

/**
 * Up to the last checkpoint that the root covers, where everything before it is in tables that go: a clock
 * that was set back has written entries of a later month before those of an earlier one.
 */
const UP_TO = `
  SELECT encode(writer_id, 'hex') AS writer_id, epoch, (checkpoint.seq - 1)::text AS to
  FROM unnest($1::bytea[], $2::integer[], $3::bigint[]) AS asked (writer_id, epoch, size),
  LATERAL (
    SELECT min(seq) AS seq FROM (
      (SELECT seq FROM governor.entries
       WHERE entries.writer_id = asked.writer_id AND entries.epoch = asked.epoch AND seq > 1
         AND kind NOT IN ${KEPT} AND (occurred_at >= $4 OR tableoid <> ALL ($5::regclass[]::oid[]))
       ORDER BY seq LIMIT 1)
      UNION ALL
      SELECT min(seq) FROM governor.dead_letters AS dead
      WHERE dead.writer_id = asked.writer_id AND dead.epoch = asked.epoch AND seq > 1
        AND kind NOT IN ${KEPT_BYTES} AND occurred_at >= $4
    ) AS stays
  ) AS survivor,
  LATERAL (
    SELECT max(seq) AS seq FROM governor.entries
    WHERE entries.writer_id = asked.writer_id AND entries.epoch = asked.epoch
      AND kind = 'checkpoint' AND seq <= least(survivor.seq, asked.size + 1)
  ) AS checkpoint
  WHERE checkpoint.seq > 2`

const PRUNED = `
  CREATE TEMPORARY TABLE pruned ON COMMIT DROP AS
  SELECT writer_id, epoch, upto
  FROM unnest($1::bytea[], $2::integer[], $3::bigint[]) AS asked (writer_id, epoch, upto)`

/**
 * Says what of the database may be removed: months that ended before `olderThanMs`, oldest first, up to the
 * first that the published root does not cover. Rejects with the server's error.
 */
export async function planPrune(
  pool: Pool,
  olderThanMs: number,
  published: Published,
): Promise<PrunePlan> {
  const months: Month[] = []
  let uncovered: string | null = null
  for (const month of await oldMonths(pool, olderThanMs)) {
    if (!(await isCovered(pool, month, published))) {
      uncovered = nameOf(month.table)
      break
    }
    months.push(month)
  }
  return { months, uncovered, pruned: await prunable(pool, months, published) }
}

async function oldMonths(pool: Pool, olderThanMs: number): Promise<Month[]> {
  const { rows } = await pool.query<{ name: string }>(MONTHS)
  return rows.flatMap(({ name }) => {
    const [, year, month] = MONTH.exec(name) ?? []
    if (year === undefined) return []
    const endMs = Date.UTC(Number(year), Number(month))
    return endMs <= olderThanMs ? [{ table: name, endMs }] : []
  })
}

/** Not where a chain with entries in the month has a later checkpoint than the root covers: it is outdated. */
async function isCovered(pool: Pool, { table }: Month, published: Published): Promise<boolean> {
  const { rows } = await pool.query<{ writer_id: Buffer; epoch: number; seq: string }>(
    `SELECT writer_id, epoch, max(seq) AS seq FROM governor.${table} GROUP BY 1, 2`,
  )
  const beyond = rows
    .map((row) => ({ ...row, size: published(originOf(row.writer_id.toString('hex'), row.epoch)) }))
    .filter(({ seq, size }) => Number(seq) > size)
  const found = await pool.query<{ outdated: boolean }>(OUTDATED, [
    beyond.map(({ writer_id }) => writer_id),
    beyond.map(({ epoch }) => epoch),
    beyond.map(({ size }) => size),
  ])
  return found.rows[0]?.outdated === false
}

async function prunable(
  pool: Pool,
  months: readonly Month[],
  published: Published,
): Promise<Retention[]> {
  const end = endOf(months)
  if (end === null) return []
  const { rows } = await pool.query<{ writer_id: Buffer; epoch: number; opening: Buffer | null }>(
    CHAINS,
    [end],
  )
  const chains = rows.filter(({ opening }) => isSidecar(opening))
  const found = await pool.query<{ writer_id: string; epoch: number; to: string }>(UP_TO, [
    chains.map(({ writer_id }) => writer_id),
    chains.map(({ epoch }) => epoch),
    chains.map(({ writer_id, epoch }) => published(originOf(writer_id.toString('hex'), epoch))),
    end,
    ['entries_default', ...months.map(({ table }) => table)].map((name) => `governor.${name}`),
  ])
  return found.rows.map(({ to, ...chain }) => ({ ...chain, to: Number(to) }))
}

/** What commands did is little, and stays. */
function isSidecar(opening: Buffer | null): boolean {
  return opening !== null && parseBody(opening)?.role === 'run'
}

/** The end of the last of these months, as PostgreSQL reads it; null without any. */
function endOf(months: readonly Month[]): string | null {
  const last = months.at(-1)
  return last === undefined ? null : new Date(last.endMs).toISOString()
}

/**
 * Removes what the plan says, a month in one transaction; the entries `retention` that allow it have arrived
 * before. Killed at any point the rest verifies, and the next run goes on. Answers how many entries went, and
 * of which months, as `2026-05`, oldest first. Rejects with the server's error, also when a lock could not be
 * had.
 */
export async function removeMonths(
  pool: Pool,
  plan: PrunePlan,
): Promise<{ readonly entries: number; readonly months: string[] }> {
  let entries = 0
  for (const month of plan.months) {
    entries += await inTransaction(pool, (client) => removeMonth(client, month, plan))
  }
  const months = new Set(plan.months.map(({ table }) => nameOf(table)))
  const end = endOf(plan.months)
  if (end !== null) {
    const strays = await inTransaction(pool, (client) => removeStrays(client, end, plan))
    for (const { month, count } of strays) {
      entries += Number(count)
      months.add(month)
    }
  }
  return { entries, months: [...months].toSorted() }
}

/** `2026-05` of `entries_2026_05`. */
function nameOf(table: string): string {
  return table.slice('entries_'.length).replace('_', '-')
}

async function removeMonth(client: PoolClient, { table }: Month, plan: PrunePlan): Promise<number> {
  await client.query(`SET LOCAL lock_timeout = ${LOCK_MS}`)
  // Nothing comes into the month any more; whatever has come late is among what is moved.
  await client.query(`LOCK TABLE governor.${table} IN SHARE ROW EXCLUSIVE MODE`)
  await client.query(PRUNED, valuesOf(plan))
  await client.query(`
    CREATE TEMPORARY TABLE kept ON COMMIT DROP AS
    SELECT entry.* FROM governor.${table} AS entry LEFT JOIN pruned USING (writer_id, epoch)
    WHERE upto IS NULL OR seq = 1 OR seq > upto OR kind IN ${KEPT}`)
  const { rows } = await client.query<{ entries: string }>(
    `SELECT (SELECT count(*) FROM governor.${table}) - (SELECT count(*) FROM kept) AS entries`,
  )
  await client.query(`ALTER TABLE governor.entries DETACH PARTITION governor.${table}`)
  await client.query('INSERT INTO governor.entries SELECT * FROM kept')
  await client.query(`DROP TABLE governor.${table}`)
  return Number(rows[0]?.entries ?? 0)
}

/** What went of one month: `2026-05`, and how many entries. */
interface Stray {
  readonly month: string
  readonly count: string
}

/** Entries of these months that never had a partition, or were moved out of it when it went. */
async function removeStrays(client: PoolClient, end: string, plan: PrunePlan): Promise<Stray[]> {
  await client.query(PRUNED, valuesOf(plan))
  const strays: Stray[] = []
  for (const [table, kept] of [
    ['entries_default', KEPT],
    ['dead_letters', KEPT_BYTES],
  ]) {
    const { rows } = await client.query<Stray>(
      `WITH gone AS (
         DELETE FROM governor.${table} AS entry USING pruned
         WHERE entry.writer_id = pruned.writer_id AND entry.epoch = pruned.epoch
           AND seq BETWEEN 2 AND upto AND occurred_at < $1 AND kind NOT IN ${kept}
         RETURNING occurred_at
       )
       SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month, count(*) AS count
       FROM gone GROUP BY 1`,
      [end],
    )
    strays.push(...rows)
  }
  return strays
}

function valuesOf({ pruned }: PrunePlan): unknown[] {
  return [
    pruned.map(({ writer_id }) => Buffer.from(writer_id, 'hex')),
    pruned.map(({ epoch }) => epoch),
    pruned.map(({ to }) => to),
  ]
}
