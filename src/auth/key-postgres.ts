import { Socket } from 'node:net'

import { Client, DatabaseError, type QueryResult, type QueryResultRow } from 'pg'

import { monotonicMs } from '../clock.ts'
import type { Patience } from '../patience.ts'
import type { CopyState } from './key-copy.ts'
import { KEY_MIGRATIONS } from './key-postgres-schema.ts'

/** How PostgreSQL is connected to for keys, and what its errors mean. */

/** The longest that a connection, and any one statement, may take. */
export interface PostgresTimes {
  readonly connect: Patience
  readonly statement: Patience
}

/** A server did not answer in time; the connection is gone with it. */
export class LateError extends Error {
  override readonly name = 'LateError'
}

/** What statements are sent with. */
export interface Asking {
  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<QueryResult<Row>>
}

/** A connection: one statement at a time, in order, and a way to let go of it that waits for nobody. */
export interface Connection extends Asking {
  /** Statements that were not answered yet. */
  readonly asked: number
  /** Called for what is told on channels that were listened to. */
  onNotification(act: () => void): void
  /** Says goodbye, and closes the socket even where the server is paused or gone. */
  close(this: void): Promise<void>
}

const GOODBYE_MS = 500

/**
 * Connects to a `postgres://` URL, TLS in `sslmode`. Rejects with what system or server say, and with a LateError;
 * when `signal` aborts, whatever waits for an answer rejects.
 */
export async function connect(
  url: string,
  times: PostgresTimes,
  signal?: AbortSignal,
): Promise<Connection> {
  signal?.throwIfAborted()
  const socket = new Socket()
  const client = new Client({
    connectionString: url,
    keepAlive: true,
    application_name: 'governor keys',
    stream: () => socket,
  })
  // A connection that breaks is noticed by its next use; unheard, it would end the process.
  client.on('error', () => {})
  const abort = () => void socket.destroy()
  signal?.addEventListener('abort', abort)
  const close = async () => {
    const late = setTimeout(() => socket.destroy(), GOODBYE_MS)
    await client.end().catch(() => {})
    clearTimeout(late)
    socket.destroy()
    signal?.removeEventListener('abort', abort)
  }
  try {
    const beganMs = monotonicMs()
    await inTime(client.connect(), times.connect, socket)
    // A server that is slow to be connected to is not quick from then on.
    times.statement.took(monotonicMs() - beganMs)
  } catch (error) {
    socket.destroy()
    signal?.removeEventListener('abort', abort)
    throw error
  }
  let last: Promise<unknown> = Promise.resolve()
  let asked = 0
  const answered = () => void asked--
  return {
    get asked() {
      return asked
    },
    query: <Row extends QueryResultRow>(text: string, values: unknown[] = []) => {
      asked++
      const answer = last.then(() =>
        inTime(client.query<Row>(text, values), times.statement, socket),
      )
      last = answer.then(answered, answered)
      return answer
    },
    onNotification: (act) => void client.on('notification', act),
    close,
  }
}

/** What waits behind an answer that is late would be late, too: nothing more comes from this socket. */
async function inTime<Answer>(
  answer: Promise<Answer>,
  patience: Patience,
  socket: Socket,
): Promise<Answer> {
  const beganMs = monotonicMs()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    patience.longer()
    socket.destroy()
  }, patience.ms)
  try {
    const answered = await answer
    patience.took(monotonicMs() - beganMs)
    return answered
  } catch (error) {
    if (isLate) throw new LateError('The server did not answer in time', { cause: error })
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** What was asked of the server itself, which answered no: not a matter of waiting. */
export function isRefusal(error: unknown): boolean {
  // Class 57: it is starting, stopping or told to; class 53: it has no room.
  return (
    error instanceof KeySchemaError ||
    (error instanceof DatabaseError && !/^5[37]/.test(error.code ?? '57'))
  )
}

/** The tables are not those this Governor knows, or not those of before. */
export class KeySchemaError extends Error {
  override readonly name = 'KeySchemaError'
}

/**
 * Which store of keys this is; it stays the same for as long as the tables live. Rejects with a
 * KeySchemaError for a database that was never migrated, or by a newer Governor.
 */
export async function storeId(connection: Asking): Promise<string> {
  const found = await keySchemaVersion(connection)
  if (found > KEY_MIGRATIONS.length) throw new KeySchemaError(newerKeySchema(found))
  if (found < KEY_MIGRATIONS.length) {
    throw new KeySchemaError(
      found === 0
        ? 'The database has no tables for keys: run governor migrate'
        : `The database has schema ${found} of keys, this Governor needs ${KEY_MIGRATIONS.length}: run governor migrate`,
    )
  }
  const { rows } = await connection.query<{ id: string }>('SELECT id FROM governor_keys.store')
  if (rows[0] === undefined) throw new KeySchemaError('governor_keys.store has no row')
  return rows[0].id
}

/**
 * The history of its changes that a server writes, 8 hex digits: a replica that takes over begins another,
 * in which the last changes of the former one may be missing. '' where it does not say, like a replica.
 */
export async function timelineOf(connection: Asking): Promise<string> {
  try {
    const { rows } = await connection.query<{ timeline: string }>(
      'SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline',
    )
    return rows[0]?.timeline ?? ''
  } catch (error) {
    if (error instanceof DatabaseError) return ''
    throw error
  }
}

const BEHIND = `SELECT coalesce(max(changed_at), '-infinity') < $1::timestamptz AS behind
  FROM governor_keys.keys`

/** What happened to a store other than that it went on; null where nothing did. */
export async function changedSince(
  connection: Asking,
  { position, timeline: former }: CopyState,
  timeline: string,
): Promise<string | null> {
  const { rows } = await connection.query<{ behind: boolean }>(BEHIND, [position])
  if (rows[0]?.behind === true) return 'is older than its copy'
  // The one that took over may lack what the copy has, and have gone on since.
  if (former !== '' && timeline !== '' && former !== timeline) return 'is on another server'
  return null
}

/** What is said of a database that a newer Governor migrated. */
export function newerKeySchema(found: number): string {
  return (
    `The keys were migrated by a newer Governor (schema ${found}, this one knows ` +
    `${KEY_MIGRATIONS.length}): use that version`
  )
}

/** 0 where `governor migrate` never ran for keys. */
export async function keySchemaVersion(connection: Asking): Promise<number> {
  try {
    const { rows } = await connection.query<{ version: number | null }>(
      'SELECT max(version) AS version FROM governor_keys.schema_version',
    )
    return rows[0]?.version ?? 0
  } catch (error) {
    // SQLSTATE: no such schema or table.
    if (error instanceof DatabaseError && ['42P01', '3F000'].includes(error.code ?? '')) return 0
    throw error
  }
}

/** Host and database, for messages; never user or password. */
export function keysPlace(url: string): string {
  if (!URL.canParse(url)) return 'PostgreSQL'
  const { host, pathname } = new URL(url)
  return `postgres://${host}${pathname}`
}

/** One line for a person, with the server's code; never a URL, which holds a password. */
export function keysMessage(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((each) => (each as Error).message).join('; ')
  }
  const { message } = error as Error
  return error instanceof DatabaseError ? `${message} (SQLSTATE ${error.code})` : message
}
