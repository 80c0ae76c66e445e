import { existsSync } from 'node:fs'

import { aboutLog } from '../audit/file.ts'
import { escapeText } from '../audit/format.ts'
import { pruneLog } from '../audit/prune.ts'
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
 * verified: of a log that does not hold nothing is removed. Exit code 0 done · 1 the log does not
 * hold · 2 no retention is given, or the log cannot be written.
 */
export function auditPrune({ snapshot, version, olderThanMs, write }: PruneOptions): number {
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
    const { entries, chains, shrunk } = pruneLog(path, version, wallMs() - keptMs)
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
