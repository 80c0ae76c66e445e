import { DatabaseError } from 'pg'

import { Patience } from '../patience.ts'
import { KEY_ADMIN_ROLE, KEY_GRANTS, KEY_MIGRATIONS, SIDECAR_ROLE } from './key-postgres-schema.ts'
import { type Asking, connect, keySchemaVersion, newerKeySchema } from './key-postgres.ts'

/** What `migrateKeys` did. */
export interface KeysMigrated {
  /** 0 where there was nothing. */
  readonly from: number
  readonly to: number
  /** What this user may not do and somebody else has to; empty when all is done. */
  readonly notes: readonly string[]
}

/** One migration at a time in a database, whoever runs it; the trigger's own lock is (…, 1). */
const LOCK = [0x676f766b, 0] as const
const CONNECT_MS = 15_000
const STATEMENT_MS = 10 * 60_000

/**
 * Makes the tables of keys in the database at `url`, or brings them to this version; safe to repeat, also
 * by many at once, in one transaction. Rejects with an Error: a newer schema, or what the server says.
 */
export async function migrateKeys(url: string): Promise<KeysMigrated> {
  const client = await connect(url, {
    connect: Patience.always(CONNECT_MS),
    statement: Patience.always(STATEMENT_MS),
  })
  try {
    await client.query('BEGIN')
    const migrated = await migrateWith(client)
    await client.query('COMMIT')
    return migrated
  } finally {
    await client.close()
  }
}

async function migrateWith(client: Asking): Promise<KeysMigrated> {
  await client.query('SELECT pg_advisory_xact_lock($1, $2)', [...LOCK])
  const exists = await client.query<{ found: boolean }>(
    `SELECT to_regclass('governor_keys.schema_version') IS NOT NULL AS found`,
  )
  const from = exists.rows[0]?.found === true ? await keySchemaVersion(client) : 0
  if (from > KEY_MIGRATIONS.length) throw new Error(newerKeySchema(from))
  for (const [index, text] of KEY_MIGRATIONS.entries()) {
    if (index < from) continue
    await client.query(text)
    await client.query('INSERT INTO governor_keys.schema_version (version) VALUES ($1)', [
      index + 1,
    ])
  }
  return { from, to: KEY_MIGRATIONS.length, notes: await grant(client) }
}

/** A user who may not create roles can still migrate; the roles are then somebody else's work. */
async function grant(client: Asking): Promise<string[]> {
  await client.query('SAVEPOINT grants')
  try {
    await client.query(KEY_GRANTS)
    return []
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== '42501') throw error
    await client.query('ROLLBACK TO SAVEPOINT grants')
    return [
      `The roles ${SIDECAR_ROLE} and ${KEY_ADMIN_ROLE} were not made or granted: ${error.message}. ` +
        'Run governor migrate once as a user with CREATEROLE',
    ]
  }
}
