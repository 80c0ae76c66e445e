import { escapeText } from '../audit/format.ts'
import { migrate } from '../audit/migrate.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { shownUrl } from '../audit/sink-name.ts'

/** What `governor migrate` was asked for. */
export interface MigrateOptions {
  /** Null where the configuration names no PostgreSQL. */
  readonly url: string | null
  readonly nowMs: number
  readonly write: (text: string) => void
}

/** Brings the database to this version. Exit code 0, or 2 with the reason. */
export async function runMigrate({ url, nowMs, write }: MigrateOptions): Promise<number> {
  if (url === null) {
    write('Nothing to migrate: set audit.ship.postgres, or give --url\n')
    return 2
  }
  try {
    const { from, to, partitions, notes } = await migrate(url, nowMs)
    for (const note of notes) write(`note     ${escapeText(note)}\n`)
    const made = partitions.length === 0 ? 'no' : `${partitions.length} new`
    const what = from === to ? `is at schema ${to} already` : `went from schema ${from} to ${to}`
    const span = partitions.length === 0 ? '' : ` (${partitions[0]} to ${partitions.at(-1)})`
    write(`${shownUrl(url)} ${what}, ${made} monthly partitions${span}\n`)
    return 0
  } catch (error) {
    write(`Cannot migrate ${shownUrl(url)}: ${escapeText(postgresMessage(error))}\n`)
    return 2
  }
}
