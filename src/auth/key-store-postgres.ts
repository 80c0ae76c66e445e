import { DatabaseError, type QueryResultRow } from 'pg'

import { Patience } from '../patience.ts'
import {
  type Connection,
  connect,
  keysMessage,
  keysPlace,
  type PostgresTimes,
  storeId,
} from './key-postgres.ts'
import { addResult, KEY_COLUMNS, type KeyRow, keyValues, storedKeyOfRow } from './key-row.ts'
import {
  type ImportResult,
  KeyExistsError,
  type KeyPage,
  type KeyStore,
  type Rotation,
  type StoredKey,
} from './key-store.ts'
import type { KeyRecord } from './key.ts'

/** A person waits for these; a server that needs a second for each word is connected to in five. */
const CONNECT_MS = 15_000
const STATEMENT_MS = 15_000
const ADD_ROWS_MAX = 1000
const UNIQUE_VIOLATION = '23505'

const TYPES: Readonly<Record<string, string>> = {
  former_until_ms: 'bigint',
  created_at_ms: 'bigint',
  expires_at_ms: 'bigint',
  revoked_at_ms: 'bigint',
}
const COLUMNS = KEY_COLUMNS.map((name) => `"${name}"`).join(', ')
/** What a key is read by: milliseconds as numbers, not as the text that a bigint comes as. */
export const KEY_SELECTED = KEY_COLUMNS.map((name) =>
  name in TYPES ? `keys."${name}"::float8` : `keys."${name}"`,
).join(', ')
const LISTED = `SELECT ${KEY_SELECTED}, uses.last_used_at_ms::float8 FROM governor_keys.keys
  LEFT JOIN governor_keys.uses USING (key_id)`
const MARKS = KEY_COLUMNS.map((_, index) => `$${index + 1}`).join(', ')
const ARRAYS = KEY_COLUMNS.map((name, index) => `$${index + 1}::${TYPES[name] ?? 'text'}[]`)

/**
 * Keys in PostgreSQL, for commands and the admin API; running sidecars follow it by `SyncedKeys`. One
 * connection, made anew when it broke.
 */
export class PostgresKeyStore implements KeyStore {
  readonly kind = 'postgres'
  readonly place: string
  readonly #url: string
  readonly #times: PostgresTimes = {
    connect: Patience.always(CONNECT_MS),
    statement: Patience.always(STATEMENT_MS),
  }
  #connection: Promise<Connection> | null = null

  private constructor(url: string) {
    this.#url = url
    this.place = keysPlace(url)
  }

  /** Rejects with an Error that says what to do where the database has no tables for keys. */
  static async open(url: string): Promise<PostgresKeyStore> {
    const store = new PostgresKeyStore(url)
    try {
      await storeId(await store.#connect())
    } catch (error) {
      await store.close()
      throw store.#about(error)
    }
    return store
  }

  async create(record: KeyRecord): Promise<void> {
    const text = `INSERT INTO governor_keys.keys (${COLUMNS}) VALUES (${MARKS})`
    try {
      await this.#query(text, keyValues(record))
    } catch (error) {
      const { cause } = error as Error
      const exists = cause instanceof DatabaseError && cause.code === UNIQUE_VIOLATION
      throw exists ? new KeyExistsError(record.keyId) : error
    }
  }

  async get(keyId: string): Promise<StoredKey | null> {
    const { rows } = await this.#query<KeyRow>(`${LISTED} WHERE key_id = $1`, [keyId])
    return rows[0] === undefined ? null : storedKeyOfRow(rows[0])
  }

  async list({ tenant, after, max }: KeyPage): Promise<StoredKey[]> {
    const text = `${LISTED} WHERE ($4::text IS NULL OR tenant = $4)
      AND (created_at_ms, key_id COLLATE "C") > ($1, $2)
      ORDER BY created_at_ms, key_id COLLATE "C" LIMIT $3`
    const place = [after?.createdAtMs ?? Number.MIN_SAFE_INTEGER, after?.keyId ?? '']
    const { rows } = await this.#query<KeyRow>(text, [...place, max, tenant])
    return rows.map(storedKeyOfRow)
  }

  async rotate(keyId: string, formerHash: string, rotation: Rotation): Promise<boolean> {
    const { hash, former, expiresAtMs } = rotation
    const text = `UPDATE governor_keys.keys SET hash = $1, former_hash = $2, former_until_ms = $3,
      expires_at_ms = $4 WHERE key_id = $5 AND hash = $6 AND revoked_at_ms IS NULL`
    const { hash: old = null, untilMs = null } = former ?? {}
    const done = await this.#query(text, [hash, old, untilMs, expiresAtMs, keyId, formerHash])
    return done.rowCount === 1
  }

  async revoke(keyId: string, nowMs: number): Promise<boolean> {
    const text =
      'UPDATE governor_keys.keys SET revoked_at_ms = $1 WHERE key_id = $2 AND revoked_at_ms IS NULL'
    return (await this.#query(text, [nowMs, keyId])).rowCount === 1
  }

  async add(records: readonly KeyRecord[]): Promise<ImportResult[]> {
    const results: ImportResult[] = []
    for (const batch of batchesOf(records)) results.push(...(await this.#addBatch(batch)))
    return results
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => null)
    await connection?.close()
  }

  async #addBatch(records: readonly KeyRecord[]): Promise<ImportResult[]> {
    const rows = records.map(keyValues)
    const columns = KEY_COLUMNS.map((_, index) => rows.map((row) => row[index]))
    const insert = `INSERT INTO governor_keys.keys (${COLUMNS}) SELECT * FROM unnest(${ARRAYS.join(', ')})
      ON CONFLICT DO NOTHING RETURNING key_id`
    const { rows: made } = await this.#query<{ key_id: string }>(insert, columns)
    const added = new Set(made.map(({ key_id: keyId }) => keyId))
    const rest = records.filter(({ keyId }) => !added.has(keyId)).map(({ keyId }) => keyId)
    const there = await this.#query<KeyRow>(`${LISTED} WHERE key_id = ANY ($1)`, [rest])
    const found = new Map(there.rows.map((row) => [row.key_id, storedKeyOfRow(row)]))
    return records.map((record) => addResult(record, found.get(record.keyId) ?? null))
  }

  async #query<Row extends QueryResultRow>(text: string, values: unknown[]) {
    try {
      const connection = await this.#connect()
      return await connection.query<Row>(text, values)
    } catch (error) {
      // In which state the connection is nobody knows, unless the server has said so.
      if (!(error instanceof DatabaseError)) await this.#drop()
      throw this.#about(error)
    }
  }

  #connect(): Promise<Connection> {
    // A server that refuses now, because it starts or is full, is asked again by the next.
    this.#connection ??= connect(this.#url, this.#times).catch((error: unknown) => {
      this.#connection = null
      throw error
    })
    return this.#connection
  }

  async #drop(): Promise<void> {
    const connection = this.#connection
    this.#connection = null
    await (await connection?.catch(() => null))?.close()
  }

  #about(error: unknown): Error {
    const message = `Cannot use the key store ${this.place} (auth.keys.url): ${keysMessage(error)}`
    return new Error(message, { cause: error })
  }
}

/** So many at once, and no key twice, so that the second is compared with the first. */
function* batchesOf(records: readonly KeyRecord[]): Generator<readonly KeyRecord[]> {
  let batch = new Map<string, KeyRecord>()
  for (const record of records) {
    if (batch.size === ADD_ROWS_MAX || batch.has(record.keyId)) {
      yield [...batch.values()]
      batch = new Map()
    }
    batch.set(record.keyId, record)
  }
  if (batch.size > 0) yield [...batch.values()]
}
