import type { Database } from 'better-sqlite3'

/** What an entry `retention` says of one chain: entries up to `to` were removed. */
export interface Retention {
  /** Hex, 32 digits. */
  readonly writer_id: string
  readonly epoch: number
  /** Everything from entry 2 to here is gone, except checkpoints. */
  readonly to: number
}

/** JSON of an entry `retention`; `olderThanMs` is milliseconds since 1970. */
export function retentionBody(
  pruned: readonly Retention[],
  olderThanMs: number,
  occurredAtMs: number,
): string {
  return JSON.stringify({
    kind: 'retention',
    time: new Date(occurredAtMs).toISOString(),
    older_than: new Date(olderThanMs).toISOString(),
    pruned,
  })
}

/** Everything the entries `retention` of one file say. */
export function retentionsOf(db: Database): Retention[] {
  const bodies = db
    .prepare<[], Buffer>(
      `SELECT body FROM entries
       WHERE kind = 'retention' ORDER BY id`,
    )
    .pluck()
    .all()
  return bodies.flatMap(retentionsIn)
}

/** What one entry `retention` says. */
export function retentionsIn(body: Buffer): Retention[] {
  try {
    const { pruned } = JSON.parse(body.toString('utf8')) as { readonly pruned?: unknown }
    return Array.isArray(pruned) ? pruned.filter(isRetention) : []
  } catch {
    // That this body was altered is found where the entry itself is read.
    return []
  }
}

function isRetention(value: unknown): value is Retention {
  if (typeof value !== 'object' || value === null) return false
  const { writer_id, epoch, to } = value as Partial<Record<keyof Retention, unknown>>
  return typeof writer_id === 'string' && Number.isSafeInteger(epoch) && Number.isSafeInteger(to)
}
