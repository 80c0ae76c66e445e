import { existsSync } from 'node:fs'

import { aboutLog } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'
import { postgresMessage } from '../audit/postgres.ts'
import { pruneLog } from '../audit/prune.ts'
import { type ShippedTo, shippedTo } from '../audit/shipped-to.ts'
import { sinkName } from '../audit/sink-name.ts'
import { openSink } from '../audit/sink.ts'
import { verifyLog } from '../audit/verify.ts'
import { wallMs } from '../clock.ts'
import type { Snapshot } from '../config/snapshot.ts'

/** What `governor audit prune` was asked for. */
export interface PruneOptions {
  readonly snapshot: Snapshot
  readonly version: string
  /** Instead of `audit.retention`; null is that. */
  readonly olderThanMs: number | null
  readonly write: (text: string) => void
}

/**
 * Removes what is older than the retention and covered by a signed checkpoint, after the log was
 * verified: of a log that does not hold nothing is removed, and with `audit.ship` nothing that is not there. Exit code 0 done · 1 the log does not
 * hold · 2 no retention is given, or the log cannot be written.
 */
export async function auditPrune(options: PruneOptions): Promise<number> {
  const { snapshot, version, olderThanMs, write } = options
  const { path, retentionMs, checkpoints } = snapshot.audit
  const keptMs = olderThanMs ?? retentionMs
  if (keptMs === null) {
    write('Nothing was removed: set audit.retention, or give --older-than\n')
    return 2
  }
  const published = checkpoints.file !== null && existsSync(checkpoints.file)
  const verified = verifyLog(path, {
    strict: false,
    ...(published && { published: checkpoints.file }),
  })
  if (verified.exitCode !== 0) {
    write('Nothing was removed: the log does not verify. Run governor audit verify\n')
    return verified.exitCode
  }
  try {
    const shipped = await askShipped(snapshot)
    const { entries, chains, shrunk } = pruneLog(path, version, wallMs() - keptMs, shipped)
    if (entries === 0) {
      write('Nothing to remove: no entry is old enough and under a signed checkpoint\n')
      return 0
    }
    const room = shrunk ? 'The files are smaller now' : 'New entries use the room'
    write(`Removed ${entries} entries of ${chains} chains. ${room}.\n`)
    return 0
  } catch (error) {
    write(`${escapeText(aboutLog(path, error).message)}\n`)
    return 2
  }
}

/** With `audit.ship`, only what has arrived there may go. */
async function askShipped({ audit }: Snapshot): Promise<ShippedTo | undefined> {
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
