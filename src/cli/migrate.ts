import { escapeText } from '../audit/format.ts'
import { migrate } from '../audit/migrate.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { shownUrl } from '../audit/sink-name.ts'
import { migrateKeys } from '../auth/key-migrate.ts'

/** What `governor migrate` was asked for. */
export interface MigrateOptions {
  /** Of the audit; null where the configuration names no PostgreSQL for it. */
  readonly url: string | null
  /** Of who owns what, whose table is made with those of the audit; null or absent where it is kept elsewhere. */
  readonly ownersUrl?: string | null
  /** Of the keys; null where they are kept elsewhere. */
  readonly keysUrl: string | null
  readonly nowMs: number
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/** Brings the databases to this version. Exit code 0, or 2 with the reason. */
export async function runMigrate(options: MigrateOptions): Promise<number> {
  const { url, ownersUrl = null, keysUrl, nowMs, write, writeError = write } = options
  const urls = new Set([url, ownersUrl].filter((each) => each !== null))
  if (urls.size === 0 && keysUrl === null) {
    const where = 'audit.ship.postgres, ownership.postgres or auth.keys.url'
    writeError(`Nothing to migrate: set ${where}, or give --url\n`)
    return 2
  }
  const codes: number[] = []
  for (const each of urls) codes.push(await migrateAudit(each, nowMs, { write, writeError }))
  if (keysUrl !== null) codes.push(await migrateKeysOf(keysUrl, { write, writeError }))
  return Math.max(...codes)
}

type Outputs = Required<Pick<MigrateOptions, 'write' | 'writeError'>>

async function migrateAudit(url: string, nowMs: number, outputs: Outputs): Promise<number> {
  const { write, writeError } = outputs
  try {
    const { from, to, partitions, notes } = await migrate(url, nowMs)
    for (const note of notes) write(`note     ${escapeText(note)}\n`)
    const made = partitions.length === 0 ? 'no' : String(partitions.length)
    const span = partitions.length === 0 ? '' : ` (${partitions[0]} to ${partitions.at(-1)})`
    write(`${shownUrl(url)} ${went(from, to)}, ${made} new monthly partitions${span}\n`)
    return 0
  } catch (error) {
    return failed(url, error, writeError)
  }
}

async function migrateKeysOf(url: string, { write, writeError }: Outputs): Promise<number> {
  try {
    const { from, to, notes } = await migrateKeys(url)
    for (const note of notes) write(`note     ${escapeText(note)}\n`)
    write(`${shownUrl(url)} ${went(from, to)} of keys\n`)
    return 0
  } catch (error) {
    return failed(url, error, writeError)
  }
}

function went(from: number, to: number): string {
  return from === to ? `is at schema ${to} already` : `went from schema ${from} to ${to}`
}

function failed(url: string, error: unknown, writeError: Outputs['writeError']): number {
  writeError(`Cannot migrate ${shownUrl(url)}: ${escapeText(postgresMessage(error))}\n`)
  return 2
}
