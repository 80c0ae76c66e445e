import type { CallFilter } from '../audit/call-index.ts'
import { entryAsJson, entryAsText, escapeText } from '../audit/format.ts'
import { findCalls } from '../audit/postgres-rows.ts'
import { checkSchema, closePool, openPool, postgresMessage } from '../audit/postgres.ts'
import { shownUrl } from '../audit/sink-name.ts'
import { verifyPostgres } from '../audit/verify-postgres.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { showVerified } from './audit.ts'

/** The database that `--url` means: the one given, or that of `audit.ship`; null when there is none. */
export function databaseUrl(given: string | true, { audit }: Snapshot): string | null {
  if (given !== true) return given
  return audit.ship?.kind === 'postgres' ? audit.ship.url : null
}

const NO_DATABASE = 'There is no database to ask: set audit.ship.postgres, or give --url <url>\n'
const QUERY_MS = 60_000

/** What a command that asks PostgreSQL was asked for. */
interface Asked {
  readonly url: string | null
  readonly json: boolean
  readonly write: (text: string) => void
}

/** `audit query --url`: calls of all pods. Exit code 0, also for none; 2 when it cannot be asked. */
export async function auditQueryPostgres(asked: Asked, filter: CallFilter): Promise<number> {
  const { url, json, write } = asked
  return ask(asked, async () => {
    const pool = openPool(url ?? '', QUERY_MS)
    try {
      await checkSchema(pool)
      for (const entry of await findCalls(pool, filter)) {
        write(`${json ? entryAsJson(entry) : entryAsText(entry)}\n`)
      }
      return 0
    } finally {
      await closePool(pool)
    }
  })
}

/** `audit verify --url`. Exit code 0 holds · 1 does not · 2 cannot be told. */
export async function auditVerifyPostgres(
  asked: Asked,
  options: { readonly strict: boolean; readonly keys: string | null },
): Promise<number> {
  return ask(asked, async () => {
    const result = await verifyPostgres(asked.url ?? '', options)
    return showVerified(result, asked)
  })
}

async function ask({ url, write }: Asked, act: () => Promise<number>): Promise<number> {
  if (url === null) {
    write(NO_DATABASE)
    return 2
  }
  try {
    return await act()
  } catch (error) {
    write(`Cannot ask ${shownUrl(url)}: ${escapeText(postgresMessage(error))}\n`)
    return 2
  }
}
