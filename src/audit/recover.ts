import type { Database } from 'better-sqlite3'

import type { Head } from './writer-body.ts'

/** What a dead sidecar left: calls that were allowed, and of which nobody knows how they ended. */
export interface Leftover {
  /** Ends of the chains that were not closed. */
  readonly heads: readonly Head[]
  /** Request ids of their decisions without an outcome, in the order they were made. */
  readonly openCalls: readonly string[]
}

interface ChainRow {
  readonly id: number
  readonly writer_id: Buffer
  readonly epoch: number
  readonly marked_seq: number
  readonly open_calls: string
}

interface EntryRow {
  readonly seq: number
  readonly kind: string
  readonly request_id: string
  readonly awaits: number
  readonly hash: Buffer
}

const ROWS_A_READ = 1_000
/** A command appends for a moment; one that began so long ago, and has not closed its chain, was killed. */
const COMMAND_US = 60_000_000

/**
 * Finds what former sidecars left open and marks their chains as recovered. Runs inside the
 * caller's transaction, which also appends the outcomes: killed at any point, all of it happens
 * again or none. Reads only what was appended since a chain's last mark, so a file of millions of
 * entries costs a few thousand. The ends of commands that were killed are named with them, so that they are
 * attested; `nowUs` is the wall clock, µs since 1970.
 */
export function recoverChains(db: Database, nowUs: number): Leftover {
  const heads: Head[] = []
  const openCalls: string[] = []
  const chains = db
    .prepare<[number], ChainRow>(
      `SELECT id, writer_id, epoch, marked_seq, open_calls FROM chains
       WHERE state = 'open' AND (role = 'run' OR opened_at < ?) ORDER BY id`,
    )
    .all(nowUs - COMMAND_US)
  for (const chain of chains) {
    const { open, head } = readChain(db, chain)
    openCalls.push(...open)
    if (head !== null) heads.push(head)
    db.prepare("UPDATE chains SET state = 'recovered' WHERE id = ?").run(chain.id)
  }
  return { heads, openCalls }
}

function readChain(db: Database, chain: ChainRow): { open: Set<string>; head: Head | null } {
  const open = new Set(JSON.parse(chain.open_calls) as string[])
  const read = db.prepare<[number, number, number], EntryRow>(
    `SELECT seq, kind, request_id, awaits, hash FROM entries
     WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?`,
  )
  // From the mark itself, so that there is a head even when nothing came after it.
  let seq = chain.marked_seq - 1
  let head: Head | null = null
  for (;;) {
    const rows = read.all(chain.id, seq, ROWS_A_READ)
    for (const row of rows) {
      if (row.seq > chain.marked_seq) noteCall(open, row.kind, row.request_id, row.awaits === 1)
      head = headOf(chain.writer_id, chain.epoch, row)
      seq = row.seq
    }
    if (rows.length < ROWS_A_READ) return { open, head }
  }
}

/** Keeps the set of calls without an outcome, entry by entry. */
export function noteCall(
  open: Set<string>,
  kind: string,
  requestId: string,
  awaits: boolean,
): void {
  if (awaits) open.add(requestId)
  else if (kind === 'outcome') open.delete(requestId)
}

/** How other entries refer to this one. */
export function headOf(
  writerId: Uint8Array,
  epoch: number,
  entry: { readonly seq: number; readonly hash: Uint8Array },
): Head {
  return {
    writer_id: Buffer.from(writerId).toString('hex'),
    epoch,
    seq: entry.seq,
    hash: Buffer.from(entry.hash).toString('hex'),
  }
}
