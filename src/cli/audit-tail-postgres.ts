import { setTimeout as sleep } from 'node:timers/promises'

import { PostgresTail } from '../audit/postgres-tail.ts'
import { checkSchema, closePool, openPool } from '../audit/postgres.ts'
import type { StoredEntry } from '../audit/query.ts'
import { ask } from './audit-postgres.ts'
import { shown } from './audit.ts'

/** How often the heads of chains are looked at; shipping moves them a few times a second. */
const FOLLOW_MS = 500
const QUERY_MS = 60_000

/** What `governor audit tail --url` was asked for. */
export interface TailPostgresOptions {
  /** Null where the configuration names no database. */
  readonly url: string | null
  /** How many entries are shown first. */
  readonly lines: number
  /** Go on with those that arrive until `signal` is aborted. */
  readonly follow: boolean
  readonly json: boolean
  readonly write: (text: string) => void
  /** Where is said what cannot be done, so that results stay readable by machines; `write` by default. */
  readonly writeError?: (text: string) => void
  readonly signal: AbortSignal
}

/**
 * Shows the last entries of all pods, and with `follow` those that arrive, each chain in its order. Exit
 * code 0; 2 when the database cannot be asked, also later.
 */
export async function auditTailPostgres(options: TailPostgresOptions): Promise<number> {
  const { url, lines, follow, json, write, signal } = options
  const show = (entries: readonly StoredEntry[]) =>
    write(entries.map((entry) => shown(entry, [], json)).join(''))
  return ask(options, async () => {
    const pool = openPool(url ?? '', QUERY_MS)
    try {
      await checkSchema(pool)
      const tail = new PostgresTail(pool)
      show(await tail.last(lines))
      if (follow) await followTail(tail, show, signal)
      return 0
    } finally {
      await closePool(pool)
    }
  })
}

async function followTail(
  tail: PostgresTail,
  show: (entries: readonly StoredEntry[]) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await sleep(FOLLOW_MS, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    for await (const entries of tail.next()) show(entries)
  }
}
