import { escapeText } from '../audit/format.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { restoreInto } from '../audit/restore.ts'
import { shownUrl } from '../audit/sink-name.ts'
import { verifyPostgres } from '../audit/verify-postgres.ts'
import { monotonicMs } from '../clock.ts'
import { NO_DATABASE } from './audit-postgres.ts'
import { showVerified } from './audit.ts'
import type { CommandContext } from './command-context.ts'

/** What `governor audit import` was asked for. */
export interface ImportOptions {
  /** The bundle. */
  readonly file: string
  /** Null where the configuration names no database. */
  readonly url: string | null
  /** Public keys; without them signatures are not checked. */
  readonly keys: string | null
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
  readonly progress: CommandContext['progress']
}

/**
 * Restores a bundle into an empty database and verifies what is there then, saying how long each took.
 * Exit code 0 it is there and holds · 1 it does not hold · 2 it cannot be restored.
 */
export async function auditImport(options: ImportOptions): Promise<number> {
  const { file, url, keys, write, writeError = write, progress } = options
  if (url === null) {
    writeError(NO_DATABASE)
    return 2
  }
  const restoring = progress('restored', 'at the end')
  const verifying = progress('verified', 'at the end')
  try {
    const startedMs = monotonicMs()
    const { entries, chains } = await restoreInto(url, file, restoring.add)
    const restoredMs = monotonicMs()
    restoring.end()
    const took = seconds(restoredMs - startedMs)
    write(`Restored ${entries} entries of ${chains} chains in ${took} to ${shownUrl(url)}.\n`)
    const result = await verifyPostgres(url, { strict: false, keys, onRows: verifying.add })
    verifying.end()
    const code = showVerified(result, { json: false, write })
    write(`Verified in ${seconds(monotonicMs() - restoredMs)}.\n`)
    return code
  } catch (error) {
    restoring.end()
    verifying.end()
    writeError(`Not restored: ${escapeText(postgresMessage(error))}\n`)
    return 2
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
