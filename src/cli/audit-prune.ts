import { existsSync } from 'node:fs'

import { aboutLog } from '../audit/file.ts'
import type { FleetRoot } from '../audit/fleet-root.ts'
import { escapeText } from '../audit/format.ts'
import { originOf } from '../audit/note.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { pruneLog, type UpTo } from '../audit/prune.ts'
import { shippedTo } from '../audit/shipped-to.ts'
import { sinkName } from '../audit/sink-name.ts'
import { openSink } from '../audit/sink.ts'
import { verifyLog } from '../audit/verify.ts'
import { wallMs } from '../clock.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { entriesOf } from './counted.ts'
import { publishedRootOf } from './published-root.ts'

/** What `governor audit prune` was asked for. */
export interface PruneOptions {
  readonly snapshot: Snapshot
  readonly version: string
  /** Instead of `audit.retention`; null is that. */
  readonly olderThanMs: number | null
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
}

/**
 * Removes what is older than the retention and covered by a signed checkpoint, after the log was
 * verified: of a log that does not hold nothing is removed, with `audit.ship` nothing that is not there, and
 * with `audit.root` nothing that the published root does not cover. Exit code 0 done · 1 the log does not
 * hold · 2 no retention is given, the log cannot be written, or there is no root to go by.
 */
export async function auditPrune(options: PruneOptions): Promise<number> {
  const { snapshot, version, olderThanMs, write, writeError = write } = options
  const { path, retentionMs, checkpoints } = snapshot.audit
  const keptMs = olderThanMs ?? retentionMs
  if (keptMs === null) {
    writeError(NO_RETENTION)
    return 2
  }
  const published = checkpoints.file !== null && existsSync(checkpoints.file)
  const verified = verifyLog(path, {
    strict: false,
    ...(published && { published: checkpoints.file }),
  })
  if (verified.exitCode !== 0) {
    writeError('Nothing was removed: the log does not verify. Run governor audit verify\n')
    return verified.exitCode
  }
  try {
    const publishedTo = await askPublished(snapshot)
    const shipped = await askShipped(snapshot)
    const bounds = { shippedTo: shipped, publishedTo }
    const { entries, chains, shrunk } = pruneLog(path, version, wallMs() - keptMs, bounds)
    if (entries === 0) {
      const root = publishedTo === undefined ? '' : ' that the published root covers'
      write(`Nothing to remove: no entry is old enough and under a signed checkpoint${root}\n`)
      return 0
    }
    const room = shrunk ? 'The files are smaller now' : 'New entries use the room'
    write(`Removed ${entriesOf(entries, chains)}. ${room}.\n`)
    return 0
  } catch (error) {
    writeError(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}

/** Said where nobody says how old is old. */
export const NO_RETENTION = 'Nothing was removed: set audit.retention, or give --older-than\n'

/** With `audit.root`, only what a root that was published, and is signed, covers may go. */
async function askPublished(snapshot: Snapshot): Promise<UpTo | undefined> {
  const root = await rootToPruneUnder(snapshot)
  if (root === null) return undefined
  return (writer, epoch) => root.leaves.get(originOf(writer, epoch))?.size ?? 0
}

/** As `publishedRootOf`; what it rejects with says that nothing was removed. */
export async function rootToPruneUnder(snapshot: Snapshot): Promise<FleetRoot | null> {
  try {
    return await publishedRootOf(snapshot)
  } catch (error) {
    throw new Error(`Nothing was removed: ${(error as Error).message}`, { cause: error })
  }
}

/** With `audit.ship`, only what has arrived there may go. */
async function askShipped({ audit }: Snapshot): Promise<UpTo | undefined> {
  if (audit.ship === null) return undefined
  const sink = openSink(audit.ship, audit.path)
  try {
    await sink.check()
    return await shippedTo(audit.path, sink)
  } catch (error) {
    throw new Error(
      `Nothing was removed: ${sinkName(audit.ship)} does not say what was shipped: ${postgresMessage(error)}`,
      { cause: error },
    )
  } finally {
    await sink.close()
  }
}
