import type { CallFilter } from '../audit/call-index.ts'
import { exporterOf } from '../audit/export.ts'
import { entryAsJson, entryAsText, escapeText } from '../audit/format.ts'
import { findCalls } from '../audit/postgres-calls.ts'
import { entriesSince } from '../audit/postgres-rows.ts'
import { checkSchema, closePool, inSnapshot, openPool, postgresMessage } from '../audit/postgres.ts'
import { writeRemoteBundle } from '../audit/remote-bundle.ts'
import { shownUrl } from '../audit/sink-name.ts'
import { verifyPostgres } from '../audit/verify-postgres.ts'
import type { Snapshot } from '../config/snapshot.ts'
import type { ExportAsked } from './audit-export.ts'
import { showVerified, type VerifyAsked } from './audit.ts'
import { LineBuffer } from './line-buffer.ts'
import { NO_PROGRESS } from './progress.ts'

/** The database that `--url` means: the one given, or that of `audit.ship`; null when there is none. */
export function databaseUrl(given: string | true, { audit }: Snapshot): string | null {
  if (given !== true) return given
  return audit.ship?.kind === 'postgres' ? audit.ship.url : null
}

/** Said where no database is configured or given. */
export const NO_DATABASE =
  'There is no database to ask: set audit.ship.postgres, or give --url <url>\n'
const QUERY_MS = 60_000
/** For a page of the export; the whole may take hours. */
const EXPORT_MS = 10 * 60_000

/** What a command that asks PostgreSQL was asked for. */
interface Asked {
  readonly url: string | null
  readonly json: boolean
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
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
  options: VerifyAsked & Pick<Asked, 'url'>,
): Promise<number> {
  const { progress = NO_PROGRESS } = options
  return ask(options, async () => {
    try {
      const result = await verifyPostgres(options.url ?? '', { ...options, onRows: progress.add })
      progress.end()
      return showVerified(result, options)
    } finally {
      progress.end()
    }
  })
}

/**
 * `audit export --url`: entries of all pods, oldest first, as they stood at one moment. Exit code 0; 2 when
 * it cannot be asked, which goes to `writeError`, apart from the export.
 */
export async function auditExportPostgres(url: string | null, asked: ExportAsked): Promise<number> {
  const { format, sinceUs, version, write, writeError, progress = NO_PROGRESS } = asked
  const lines = new LineBuffer(write)
  return ask({ url, write: writeError }, async () => {
    try {
      await inSnapshot(url ?? '', EXPORT_MS, async (client) => {
        if (format === 'bundle') await writeRemoteBundle(client, lines.add, progress.add)
        else {
          const { head, line } = exporterOf(format, version)
          let isFirst = true
          for await (const entry of entriesSince(client, sinceUs)) {
            if (isFirst) lines.add(head)
            isFirst = false
            lines.add(line(entry))
            progress.add(1)
          }
          if (isFirst) lines.add(head)
        }
      })
      return 0
    } finally {
      lines.flush()
      progress.end()
    }
  })
}

/** Asks the database, and says what went wrong; exit code 2 then. */
export async function ask(
  { url, write, writeError = write }: Pick<Asked, 'url' | 'write' | 'writeError'>,
  act: () => Promise<number>,
): Promise<number> {
  if (url === null) {
    writeError(NO_DATABASE)
    return 2
  }
  try {
    return await act()
  } catch (error) {
    writeError(`Cannot ask ${shownUrl(url)}: ${escapeText(postgresMessage(error))}\n`)
    return 2
  }
}
