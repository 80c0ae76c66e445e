import type { CallFilter, CallPlace } from '../audit/call-index.ts'
import type { RemoteFilter, RemotePlace } from '../audit/postgres-rows.ts'
import type { Snapshot } from '../config/snapshot.ts'
import type { ExplainedCall } from '../explain-recorded.ts'

/** What is asked of the thread that reads the audit, and what it says. */

/** One question; `path` is the log, `tenant` null where all tenants may be seen. */
export type AuditQuestion =
  | {
      readonly kind: 'explain'
      readonly snapshot: Snapshot
      readonly requestId: string
      readonly tenant: string | null
    }
  | { readonly kind: 'query'; readonly path: string; readonly filter: CallFilter }
  | RemoteQuestion

/** Calls of all writers, from the database that they are shipped to. */
export interface RemoteQuestion {
  readonly kind: 'remote'
  readonly url: string
  readonly filter: RemoteFilter
}

/** The answer to a question of the same `kind`, or why there is none. */
export type AuditAnswer =
  | { readonly kind: 'explain'; readonly found: ExplainedLines | null }
  /** Oldest first, as `audit query --json` writes them; `next` is where the page before begins. */
  | { readonly kind: 'query'; readonly lines: readonly string[]; readonly next: CallPlace | null }
  | {
      readonly kind: 'remote'
      readonly lines: readonly string[]
      readonly next: RemotePlace | null
    }
  /** The database could not be asked; `isForbidden`: its user may not read. */
  | { readonly kind: 'away'; readonly message: string; readonly isForbidden: boolean }
  /** What could not be read; for the log, not for a caller. */
  | { readonly kind: 'failed'; readonly message: string }

/** An explained call whose entries are lines of JSON. */
export interface ExplainedLines {
  readonly lines: readonly string[]
  readonly told: ExplainedCall['told']
}
