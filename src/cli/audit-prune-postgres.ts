import type { Pool } from 'pg'

import { appendOnce } from '../audit/append-once.ts'
import type { FleetRoot } from '../audit/fleet-root.ts'
import { escapeText } from '../audit/format.ts'
import { checkSchema, closePool, openPool } from '../audit/postgres.ts'
import { planPrune, type PrunePlan, removeMonths } from '../audit/prune-postgres.ts'
import { type Retention, retentionBody } from '../audit/retention.ts'
import { Shipper } from '../audit/shipper.ts'
import { PostgresSink } from '../audit/sink-postgres.ts'
import { verifyPostgres } from '../audit/verify-postgres.ts'
import { wallMs } from '../clock.ts'
import { ask } from './audit-postgres.ts'
import { NO_RETENTION, type PruneOptions, rootToPruneUnder } from './audit-prune.ts'
import { entriesOf } from './counted.ts'

/** A month may hold millions of entries. */
const STATEMENT_MS = 30 * 60_000
/** Chains one entry `retention` names. */
const CHAINS_AN_ENTRY = 500

/** What `governor audit prune --url` was asked for. */
export interface PrunePostgresOptions extends PruneOptions {
  /** Null where the configuration names no database. */
  readonly url: string | null
}

type Known = PrunePostgresOptions & { readonly url: string }

/**
 * Removes whole months that are older than the retention and that the published root covers, after the
 * database was verified against that root. What goes is recorded in the log of this machine and shipped
 * first. Exit code 0 done · 1 what is there does not hold · 2 no retention or root is given, or the
 * database or the log cannot be used.
 */
export async function auditPrunePostgres(options: PrunePostgresOptions): Promise<number> {
  const { snapshot, olderThanMs, url, write, writeError = write } = options
  const keptMs = olderThanMs ?? snapshot.audit.retentionMs
  if (keptMs === null) {
    writeError(NO_RETENTION)
    return 2
  }
  let root: FleetRoot | null
  try {
    root = await rootToPruneUnder(snapshot)
  } catch (error) {
    writeError(`${escapeText((error as Error).message)}\n`)
    return 2
  }
  if (root === null) {
    writeError('Nothing was removed: months go only under a published root. Set audit.root\n')
    return 2
  }
  return ask(options, () => pruneUnder(root, { ...options, url: url ?? '' }, wallMs() - keptMs))
}

async function pruneUnder(root: FleetRoot, options: Known, olderMs: number): Promise<number> {
  const { url, write, writeError = write } = options
  const verified = await verifyPostgres(url, { strict: false, root })
  if (verified.exitCode !== 0) {
    writeError('Nothing was removed: it does not verify. Run governor audit verify --url --root\n')
    return verified.exitCode
  }
  const pool = openPool(url, STATEMENT_MS)
  try {
    await checkSchema(pool)
    return await prune(pool, options, root, olderMs)
  } finally {
    await closePool(pool)
  }
}

async function prune(
  pool: Pool,
  options: Known,
  root: FleetRoot,
  olderMs: number,
): Promise<number> {
  const { write } = options
  const plan = await planPrune(pool, olderMs, (origin) => root.leaves.get(origin)?.size ?? 0)
  if (plan.uncovered !== null) {
    write(
      `${plan.uncovered} stays, and what came after it: the published root does not cover it. Run governor audit publish\n`,
    )
  }
  if (plan.months.length === 0) {
    write('Nothing to remove: no month that the published root covers is old enough\n')
    return 0
  }
  if (plan.pruned.length > 0) await record(pool, options, plan, olderMs)
  const { entries, months } = await removeMonths(pool, plan)
  write(`Removed ${entriesOf(entries, plan.pruned.length)}: ${months.join(', ')}.\n`)
  return 0
}

/** Nothing is removed before whoever verifies the database can read there that it was allowed. */
async function record(
  pool: Pool,
  { snapshot, version, url }: Known,
  { pruned }: PrunePlan,
  olderMs: number,
): Promise<void> {
  const { path } = snapshot.audit
  const bodies = chunks(pruned).map((some) => retentionBody(some, olderMs, wallMs()))
  appendOnce(
    path,
    version,
    bodies.map((body) => ({ kind: 'retention' as const, body })),
  )
  const sink = new PostgresSink(url)
  const shipper = new Shipper({ path, sink, onFork() {}, onDead() {}, onHead() {} })
  try {
    while (await shipper.step());
  } finally {
    shipper.close()
    await sink.close()
  }
  const { rows } = await pool.query<{ arrived: number }>(
    `SELECT count(*)::integer AS arrived FROM governor.entries
     WHERE kind = 'retention' AND body = ANY ($1::bytea[])`,
    [bodies.map((body) => Buffer.from(body))],
  )
  if (rows[0]?.arrived === bodies.length) return
  throw new Error(`nothing was removed: the entry that says so could not be shipped from ${path}`)
}

function chunks(pruned: readonly Retention[]): Retention[][] {
  const found: Retention[][] = []
  for (let at = 0; at < pruned.length; at += CHAINS_AN_ENTRY) {
    found.push(pruned.slice(at, at + CHAINS_AN_ENTRY))
  }
  return found
}
