import { DatabaseError, type PoolClient } from 'pg'

import { GRANTS, MIGRATIONS, OWNER_ROLE, READER_ROLE, SHIPPER_ROLE } from './postgres-schema.ts'
import { closePool, inTransaction, newerSchema, openPool, schemaVersion } from './postgres.ts'

/** What `migrate` did. */
export interface Migrated {
  /** 0 where there was nothing. */
  readonly from: number
  readonly to: number
  /** Months that got a partition now, like `2026-11`. */
  readonly partitions: readonly string[]
  /** What this user may not do and somebody else has to; empty when all is done. */
  readonly notes: readonly string[]
}

/** "governor" in ASCII; one migration at a time in a database, whoever runs it. */
const LOCK = 0x676f7665
/** Partitions are made for last month, this one, and a year ahead. */
const MONTHS_AHEAD = 12
/** A migration rewrites nothing that is large; moving strays out of the default partition may take a while. */
const STATEMENT_MS = 10 * 60_000

/**
 * Brings the database at `url` to this version and makes the monthly partitions to come; safe to
 * repeat, also by many at once. Everything happens in one transaction. Rejects with an Error: a
 * newer schema, a database that is not UTF-8, or what the server says.
 */
export async function migrate(url: string, nowMs: number): Promise<Migrated> {
  const pool = openPool(url, STATEMENT_MS)
  try {
    return await inTransaction(pool, (client) => migrateWith(client, nowMs))
  } finally {
    await closePool(pool)
  }
}

async function migrateWith(client: PoolClient, nowMs: number): Promise<Migrated> {
  await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK])
  await refuseOtherEncodings(client)
  const exists = await client.query<{ found: boolean }>(
    `SELECT to_regclass('governor.schema_version') IS NOT NULL AS found`,
  )
  const from = exists.rows[0]?.found === true ? await schemaVersion(client) : 0
  if (from > MIGRATIONS.length) throw new Error(newerSchema(from))
  for (const [index, text] of MIGRATIONS.entries()) {
    if (index < from) continue
    await client.query(text)
    await client.query('INSERT INTO governor.schema_version (version) VALUES ($1)', [index + 1])
  }
  const partitions = await makePartitions(client, nowMs)
  const notes = await grant(client)
  return { from, to: MIGRATIONS.length, partitions, notes }
}

async function refuseOtherEncodings(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ server_encoding: string }>('SHOW server_encoding')
  const found = rows[0]?.server_encoding
  if (found === 'UTF8') return
  throw new Error(`The database is in ${found}: the audit needs one in UTF8 (CREATE DATABASE …)`)
}

/** Entries of a month that came before its partition did are in the default one, and are moved. */
async function makePartitions(client: PoolClient, nowMs: number): Promise<string[]> {
  const made: string[] = []
  for (let month = -1; month <= MONTHS_AHEAD; month++) {
    const begin = monthStart(nowMs, month)
    const name = `entries_${begin.slice(0, 4)}_${begin.slice(5, 7)}`
    const { rows } = await client.query<{ found: boolean }>(
      'SELECT to_regclass($1) IS NOT NULL AS found',
      [`governor.${name}`],
    )
    if (rows[0]?.found === true) continue
    const range = [begin, monthStart(nowMs, month + 1)] as const
    const within = `occurred_at >= '${range[0]}' AND occurred_at < '${range[1]}'`
    await client.query(`
      CREATE TABLE governor.${name} (LIKE governor.entries INCLUDING DEFAULTS);
      WITH strays AS (DELETE FROM governor.entries_default WHERE ${within} RETURNING *)
        INSERT INTO governor.${name} SELECT * FROM strays;
      ALTER TABLE governor.entries ATTACH PARTITION governor.${name}
        FOR VALUES FROM ('${range[0]}') TO ('${range[1]}');
    `)
    made.push(begin.slice(0, 7))
  }
  return made
}

/** First moment of the month so many months after the one of `nowMs`, UTC. */
function monthStart(nowMs: number, monthsLater: number): string {
  const now = new Date(nowMs)
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + monthsLater)).toISOString()
}

/** A user who may not create roles can still migrate; the roles are then somebody else's work. */
async function grant(client: PoolClient): Promise<string[]> {
  await client.query('SAVEPOINT grants')
  try {
    await client.query(GRANTS)
    return []
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== '42501') throw error
    await client.query('ROLLBACK TO SAVEPOINT grants')
    return [
      `The roles ${SHIPPER_ROLE}, ${OWNER_ROLE} and ${READER_ROLE} were not made or granted: ${error.message}. ` +
        'Run governor migrate once as a user with CREATEROLE',
    ]
  }
}
