import { escapeText } from '../audit/format.ts'
import { migrate } from '../audit/migrate.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { shownUrl } from '../audit/sink-name.ts'
import { migrateKeys } from '../auth/key-migrate.ts'

/** What `governor migrate` was asked for. */
export interface MigrateOptions {
  /** Of the audit; null where the configuration names no PostgreSQL for it. */
  readonly url: string | null
  /** Of the keys; null where they are kept elsewhere. */
  readonly keysUrl: string | null
  readonly nowMs: number
  readonly write: (text: string) => void
}

/** Brings the databases to this version. Exit code 0, or 2 with the reason. */
export async function runMigrate({ url, keysUrl, nowMs, write }: MigrateOptions): Promise<number> {
  if (url === null && keysUrl === null) {
    write('Nothing to migrate: set audit.ship.postgres or auth.keys.url, or give --url\n')
    return 2
  }
  const audit = url === null ? 0 : await migrateAudit(url, nowMs, write)
  const keys = keysUrl === null ? 0 : await migrateKeysOf(keysUrl, write)
  return Math.max(audit, keys)
}

type Write = MigrateOptions['write']

async function migrateAudit(url: string, nowMs: number, write: Write): Promise<number> {
  try {
    const { from, to, partitions, notes } = await migrate(url, nowMs)
    for (const note of notes) write(`note     ${escapeText(note)}\n`)
    const made = partitions.length === 0 ? 'no' : `${partitions.length} new`
    const span = partitions.length === 0 ? '' : ` (${partitions[0]} to ${partitions.at(-1)})`
    write(`${shownUrl(url)} ${went(from, to)}, ${made} monthly partitions${span}\n`)
    return 0
  } catch (error) {
    return failed(url, error, write)
  }
}

async function migrateKeysOf(url: string, write: Write): Promise<number> {
  try {
    const { from, to, notes } = await migrateKeys(url)
    for (const note of notes) write(`note     ${escapeText(note)}\n`)
    write(`${shownUrl(url)} ${went(from, to)} of keys\n`)
    return 0
  } catch (error) {
    return failed(url, error, write)
  }
}

function went(from: number, to: number): string {
  return from === to ? `is at schema ${to} already` : `went from schema ${from} to ${to}`
}

function failed(url: string, error: unknown, write: Write): number {
  write(`Cannot migrate ${shownUrl(url)}: ${escapeText(postgresMessage(error))}\n`)
  return 2
}
