import { GovernorError } from '../errors.ts'
import type { TextEntry } from './batch.ts'

/** How a log is opened; see `Wal.open`. */
export interface WalOptions {
  /** The log; later epochs lie beside it (`audit.db`, `audit.e2.db`, …). */
  readonly path: string
  /** At this size of all files together `record` refuses. */
  readonly localBytesMax: number
  /** How long `record` waits for the disk; a time in which this process stood still does not count. */
  readonly commitMs: number
  /** Governor's version, for `writer.open`. */
  readonly version: string
  /** The one sidecar of this log: takes the lock and closes what a crash left open. */
  readonly exclusive: boolean
  /** Sign checkpoints; the key is made when there is none. */
  readonly signs?: boolean
  /** Takes each signed checkpoint once it is durable. */
  readonly onCheckpoint?: (note: string) => void
  /** After each commit: how long it took in the worker and how many entries it made durable. */
  readonly onCommit?: (durationMs: number, entries: number) => void
  /** The worker thread died, which only a bug or lost memory does; nothing can be recorded again. */
  readonly onDeath?: (error: Error) => void
}

/** What the log looks like from outside, for metrics and the operator's page. */
export interface WalStats {
  readonly fileBytes: number
  /** Entries not yet durable. */
  readonly queued: number
  readonly committed: number
  readonly lastCommitMs: number
  /** Entries given to `queue` that were dropped because the log failed for too long. */
  readonly lostTotal: number
  /** Interrupted calls closed when the log was opened. */
  readonly recovered: number
}

/** An entry on its way to the disk. */
export interface Waiting {
  readonly entry: TextEntry
  /** Null for entries nobody waits for. */
  readonly resolve: (() => void) | null
  readonly reject: ((error: GovernorError) => void) | null
  deadlineMs: number
  expired: boolean
}

/** Whether somebody still waits for this entry. */
export function hasWaiter(waiting: Waiting): boolean {
  return waiting.reject !== null && !waiting.expired
}

/** The detail is shown to clients, so it is ours; what the disk said goes to the log as the cause. */
export function unavailable(detail: string, cause?: string): GovernorError {
  return new GovernorError('AUDIT_UNAVAILABLE', {
    detail,
    headers: { 'retry-after': '1' },
    ...(cause === undefined ? {} : { cause: new Error(cause) }),
  })
}
