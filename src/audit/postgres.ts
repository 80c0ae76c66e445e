import { DatabaseError, Pool, type PoolClient } from 'pg'

/** What every use of PostgreSQL here shares: how it is connected to, and what its errors mean. */

/** The schema's version this Governor writes and reads; see `postgres-schema.ts`. */
export const POSTGRES_SCHEMA_VERSION = 3

/** A sidecar's share of a server that hundreds of them use. */
const CONNECTIONS_MAX = 2
const CONNECT_MS = 5_000
/** The longest statement of shipping; its batches are bounded, so more than this is a hung server. */
export const STATEMENT_MS = 10_000

/**
 * Connects on demand with at most two connections, each within `connectMs`, for statements of at most
 * `statementMs` that do not say otherwise. `url` is a `postgres://` URL, TLS in `sslmode`.
 */
export function openPool(url: string, statementMs = STATEMENT_MS, connectMs = CONNECT_MS): Pool {
  const pool = new Pool({
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: connectMs,
    idleTimeoutMillis: 60_000,
    query_timeout: statementMs,
    keepAlive: true,
    application_name: 'governor',
  })
  // An idle connection that breaks is replaced by the next use; unheard, it would end the process.
  pool.on('error', () => {})
  return pool
}

/** Closes a pool whose connections may be broken. */
export async function closePool(pool: Pool): Promise<void> {
  await pool.end().catch(() => {})
}

/** Runs `act` in one transaction on one connection. Rejects with what it or the server says. */
export async function inTransaction<Result>(
  pool: Pool,
  act: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('BEGIN')
    const result = await act(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    // Nobody knows in which state the connection is; a new one costs less than to find out.
    broken = error as Error
    throw error
  } finally {
    client.release(broken)
  }
}

/**
 * Runs `act` on one moment of the database at `url`, reading only, with a pool of its own; `statementMs` is
 * the longest statement. Rejects with what it, the schema's check or the server says.
 */
export async function inSnapshot<Result>(
  url: string,
  statementMs: number,
  act: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const pool = openPool(url, statementMs)
  try {
    await checkSchema(pool)
    const client = await pool.connect()
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      const result = await act(client)
      await client.query('COMMIT')
      return result
    } finally {
      // Nobody knows in which state it is after an error; the pool ends with it anyway.
      client.release(true)
    }
  } finally {
    await closePool(pool)
  }
}

/**
 * Refuses a database that was never migrated, or by a newer Governor. Rejects with an Error that
 * says what to do, or with the server's own.
 */
export async function checkSchema(pool: Pool): Promise<void> {
  const found = await schemaVersion(pool)
  if (found === POSTGRES_SCHEMA_VERSION) return
  if (found < POSTGRES_SCHEMA_VERSION) {
    throw new Error(
      found === 0
        ? 'The database has no tables for the audit: run governor migrate'
        : `The database has schema ${found}, this Governor needs ${POSTGRES_SCHEMA_VERSION}: run governor migrate`,
    )
  }
  throw new Error(newerSchema(found))
}

/** What is said of a database that a newer Governor migrated. */
export function newerSchema(found: number): string {
  return (
    `The database was migrated by a newer Governor (schema ${found}, this one knows ` +
    `${POSTGRES_SCHEMA_VERSION}): use that version`
  )
}

/** 0 where `governor migrate` never ran. */
export async function schemaVersion(client: Pick<PoolClient, 'query'>): Promise<number> {
  try {
    const { rows } = await client.query<{ version: number | null }>(
      'SELECT max(version) AS version FROM governor.schema_version',
    )
    return rows[0]?.version ?? 0
  } catch (error) {
    if (isMissing(error)) return 0
    throw error
  }
}

/** SQLSTATE: no such schema or table. */
function isMissing(error: unknown): boolean {
  return error instanceof DatabaseError && (error.code === '42P01' || error.code === '3F000')
}

/**
 * Whether the server refused the data themselves, so that trying again is in vain: SQLSTATE classes
 * 22 (data exception), 23 (constraint) and 54 (a limit of the program).
 */
export function isDataError(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && /^(22|23|54)/.test(error.code ?? '')
}

/** One line for a person; the server's code with it, never a URL, which holds a password. */
export function postgresMessage(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((each) => (each as Error).message).join('; ')
  }
  const { message } = error as Error
  return error instanceof DatabaseError ? `${message} (SQLSTATE ${error.code})` : message
}
