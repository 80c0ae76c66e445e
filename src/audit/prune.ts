import Database from 'better-sqlite3'

import { wallMs } from '../clock.ts'
import { appendOnce } from './append-once.ts'
import { dropUnusedKeys, hasContent } from './content.ts'
import { epochFiles, openForReading } from './file.ts'
import { takeLock } from './lock.ts'
import { hasPersonal } from './personal.ts'
import { type Retention, retentionBody } from './retention.ts'

/** Rows a transaction removes: a sidecar's commit waits for no longer than one of them. */
const ROWS_A_DELETE = 1_000
const BUSY_MS = 5_000
const TRUNCATE_MS = 250
/** Chains one entry `retention` names. */
const CHAINS_AN_ENTRY = 500
const KEPT = "('checkpoint', 'retention', 'redaction')"

/** Up to which entry of a chain (its writer as hex, its epoch) something is so; 0 is not at all. */
export type UpTo = (writer: string, epoch: number) => number

/** What has to hold of an entry beside its age; nothing more when absent. */
export interface PruneBounds {
  /** It was shipped. */
  readonly shippedTo?: UpTo | undefined
  /** A published root covers it. */
  readonly publishedTo?: UpTo | undefined
  /** About how many of a chain go at once. */
  readonly entriesMax?: number
}

const ANY: UpTo = () => Number.MAX_SAFE_INTEGER

/** What may be removed from one chain. */
interface Candidate extends Retention {
  readonly file: string
  readonly chain: number
  readonly entries: number
}

/** What a run removed: entries, of so many chains. */
export interface Pruned {
  readonly entries: number
  readonly chains: number
  /** Whether the files were also made smaller; not while a sidecar writes, which uses the room itself. */
  readonly shrunk: boolean
}

interface ChainRow {
  readonly id: number
  readonly writer_id: Buffer
  readonly epoch: number
  readonly state: string
  readonly marked_seq: number
}

/**
 * Removes the entries of sidecars that are older than `olderThanMs` (since 1970) and that a signed
 * checkpoint covers; checkpoints, each chain's first entry and the chains of commands stay. An entry
 * `retention` that names what goes is durable before anything is removed, so that killed at any point
 * the log verifies, and the next run goes on. Where the log is shipped, or a root is published, what was
 * not yet, or is not covered, stays. The caller has verified the log. Throws SQLite's errors.
 */
export function pruneLog(
  path: string,
  version: string,
  olderThanMs: number,
  bounds: PruneBounds = {},
): Pruned {
  const candidates = epochFiles(path).flatMap((file) => {
    return candidatesOf(file.path, olderThanMs, bounds)
  })
  if (candidates.length === 0) return { entries: 0, chains: 0, shrunk: false }
  const entries = []
  for (let at = 0; at < candidates.length; at += CHAINS_AN_ENTRY) {
    const pruned = candidates
      .slice(at, at + CHAINS_AN_ENTRY)
      .map(({ writer_id, epoch, to }) => ({ writer_id, epoch, to }))
    const body = retentionBody(pruned, olderThanMs, wallMs())
    entries.push({ kind: 'retention' as const, body })
  }
  appendOnce(path, version, entries)
  for (const candidate of candidates) remove(candidate)
  const files = new Set(candidates.map(({ file }) => file))
  return {
    entries: candidates.reduce((sum, each) => sum + each.entries, 0),
    chains: candidates.length,
    shrunk: shrink(path, files),
  }
}

function candidatesOf(
  file: string,
  olderThanMs: number,
  { shippedTo = ANY, publishedTo = ANY, entriesMax = Infinity }: PruneBounds,
): Candidate[] {
  const db = openForReading(file)
  try {
    const chains = db
      .prepare<[], ChainRow>(
        "SELECT id, writer_id, epoch, state, marked_seq FROM chains WHERE role = 'run' ORDER BY id",
      )
      .all()
    return chains
      .map((chain) => {
        const place = [chain.writer_id.toString('hex'), chain.epoch] as const
        // The last one that was shipped stays: shipping finds its place by it.
        const step = firstOf(db, chain) + entriesMax
        const upTo = Math.min(shippedTo(...place), publishedTo(...place) + 1, step)
        return candidateOf(db, chain, { olderThanMs, upTo })
      })
      .filter((candidate) => candidate !== null)
      .map((candidate) => ({ ...candidate, file }))
  } finally {
    db.close()
  }
}

/** Where what may be removed begins: behind the first entry, and behind what is gone. */
function firstOf(db: Database.Database, { id }: ChainRow): number {
  const first = db
    .prepare<[number], number>(
      `SELECT seq FROM entries WHERE chain = ? AND seq > 1 AND kind NOT IN ${KEPT} ORDER BY seq LIMIT 1`,
    )
    .pluck()
    .get(id)
  return first ?? 0
}

/** Up to the last checkpoint that is old enough, when everything before it is. */
function candidateOf(
  db: Database.Database,
  chain: ChainRow,
  { olderThanMs, upTo }: { readonly olderThanMs: number; readonly upTo: number },
): Omit<Candidate, 'file'> | null {
  // A crash now would be recovered from the mark on; what lies behind it is still needed.
  const needed = chain.state === 'open' ? chain.marked_seq : Number.MAX_SAFE_INTEGER
  const seqMax = Math.min(needed, upTo)
  const checkpoint = db
    .prepare<[number, number, number], number | null>(
      `SELECT max(seq) FROM entries WHERE kind = 'checkpoint'
       AND chain = ? AND occurred_at < ? AND seq <= ?`,
    )
    .pluck()
    .get(chain.id, olderThanMs * 1000, seqMax)
  const to = (checkpoint ?? 0) - 1
  if (to < 2) return null
  const found = db
    .prepare<[number, number], { entries: number; newest: number | null }>(
      `SELECT count(*) AS entries, max(occurred_at) AS newest FROM entries
       WHERE chain = ? AND seq BETWEEN 2 AND ? AND kind NOT IN ${KEPT}`,
    )
    .get(chain.id, to)
  // A clock that was set back has written newer entries before older ones: these have time.
  if (!found?.entries || (found.newest ?? 0) >= olderThanMs * 1000) return null
  return {
    chain: chain.id,
    writer_id: chain.writer_id.toString('hex'),
    epoch: chain.epoch,
    to,
    entries: found.entries,
  }
}

function remove({ file, chain, to }: Candidate): void {
  const db = new Database(file, { fileMustExist: true, timeout: BUSY_MS })
  try {
    db.pragma('synchronous = FULL')
    db.pragma('secure_delete = ON')
    db.pragma('wal_autocheckpoint = 0')
    const step = db.prepare(
      `DELETE FROM entries WHERE chain = ? AND seq BETWEEN ? AND ? AND kind NOT IN ${KEPT}`,
    )
    const besides = [
      ...(hasPersonal(db) ? ['personal'] : []),
      ...(hasContent(db) ? ['content'] : []),
    ]
    const values = besides.map((table) =>
      db.prepare(`DELETE FROM ${table} WHERE chain = ? AND seq BETWEEN ? AND ?`),
    )
    const removeStep = db.transaction((from: number, upTo: number) => {
      step.run(chain, from, upTo)
      for (const each of values) each.run(chain, from, upTo)
    })
    for (let from = 2; from <= to; from += ROWS_A_DELETE) {
      removeStep.immediate(from, Math.min(to, from + ROWS_A_DELETE - 1))
      // What is overwritten goes through the write-ahead log, which would grow to the size of all of it.
      db.pragma('wal_checkpoint(PASSIVE)')
    }
    if (besides.includes('content')) db.transaction(dropUnusedKeys).immediate(db, true)
    // Its file would stay as large as what was deleted; a sidecar's commit waits no longer than this.
    db.pragma(`busy_timeout = ${TRUNCATE_MS}`)
    db.pragma('wal_checkpoint(TRUNCATE)')
  } finally {
    db.close()
  }
}

/** Gives the room back to the disk, unless a sidecar has the log: it would wait for too long. */
function shrink(path: string, files: ReadonlySet<string>): boolean {
  let lock
  try {
    lock = takeLock(path, wallMs())
  } catch {
    return false
  }
  try {
    for (const file of files) {
      const db = new Database(file, { fileMustExist: true, timeout: BUSY_MS })
      try {
        db.exec('VACUUM')
        db.pragma('wal_checkpoint(TRUNCATE)')
      } finally {
        db.close()
      }
    }
    return true
  } finally {
    lock.release()
  }
}
