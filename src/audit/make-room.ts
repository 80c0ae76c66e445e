import { statSync } from 'node:fs'

import { hasContent } from './content.ts'
import { epochFiles, openForReading } from './file.ts'
import { hasPersonal } from './personal.ts'
import { pruneLog, type UpTo } from './prune.ts'

/** From this part of `audit.local_max` on a log line warns, and shipped entries make room. */
export const SOFT_SHARE = 0.8
/** And so many of them go that the log takes no more than this part. */
const TARGET_SHARE = 0.6
/** Entries of a chain that go in one step: it takes a fraction of a second, in which nothing is shipped. */
const ENTRIES_A_STEP = 8_192
const HOUR_MS = 3_600_000
/** The oldest go first: limits with long windows are rebuilt from what stays. */
const AGES_MS = [720, 168, 24, 6, 1, 0].map((hours) => hours * HOUR_MS)

/** What was removed, and what the log takes now. */
export interface Room {
  readonly entries: number
  readonly bytes: number
  /** There is more to remove; call again soon. */
  readonly isPartial: boolean
}

/**
 * One step of removing entries that have arrived where the log is shipped to, oldest first, until it takes
 * less than 60 % of `bytesMax`; as `audit prune` does, so only what a signed checkpoint covers, after an entry
 * `retention`. Chains with values beside their entries stay whole: those are shipped nowhere. Throws
 * SQLite's errors.
 */
export function makeRoom(
  { path, version, bytesMax }: { path: string; version: string; bytesMax: number },
  shipped: UpTo,
  nowMs: number,
): Room {
  const target = bytesMax * TARGET_SHARE
  const held = chainsWithValues(path)
  const may: UpTo = (writer, epoch) => (held.has(`${writer}:${epoch}`) ? 0 : shipped(writer, epoch))
  const taken = logBytes(path)
  if (taken <= target) return { entries: 0, bytes: taken, isPartial: false }
  const bounds = { shippedTo: may, entriesMax: ENTRIES_A_STEP }
  for (const olderThanMs of timesFor(path, nowMs)) {
    const { entries } = pruneLog(path, version, olderThanMs, bounds)
    if (entries === 0) continue
    const bytes = logBytes(path)
    return { entries, bytes, isPartial: bytes > target }
  }
  return { entries: 0, bytes: taken, isPartial: false }
}

/** Entries older than this may go; each time is tried once those before it made no room. */
function* timesFor(path: string, nowMs: number): Generator<number> {
  for (const ageMs of AGES_MS) yield nowMs - ageMs
  // A clock that was ahead has written entries of a time to come, which would keep all that follow them.
  const newestMs = newestOf(path)
  if (newestMs >= nowMs) yield newestMs + 1
}

/** When the newest entry occurred, milliseconds since 1970. */
function newestOf(path: string): number {
  let newestUs = 0
  for (const file of epochFiles(path)) {
    const db = openForReading(file.path)
    try {
      const newest = db.prepare<[], number | null>('SELECT max(occurred_at) FROM entries').pluck()
      newestUs = Math.max(newestUs, newest.get() ?? 0)
    } finally {
      db.close()
    }
  }
  return Math.ceil(newestUs / 1000)
}

/** Bytes of all files of the log with their write-ahead logs, without what is free in them. */
export function logBytes(path: string): number {
  let bytes = 0
  for (const file of epochFiles(path)) {
    for (const suffix of ['', '-wal']) {
      bytes += statSync(file.path + suffix, { throwIfNoEntry: false })?.size ?? 0
    }
    bytes -= freeBytes(file.path)
  }
  return bytes
}

function freeBytes(file: string): number {
  const db = openForReading(file)
  try {
    const figure = (name: string) => Number(db.pragma(name, { simple: true }))
    return figure('freelist_count') * figure('page_size')
  } finally {
    db.close()
  }
}

function chainsWithValues(path: string): ReadonlySet<string> {
  const found = new Set<string>()
  for (const file of epochFiles(path)) {
    const db = openForReading(file.path)
    try {
      const tables = [hasPersonal(db) ? 'personal' : null, hasContent(db) ? 'content' : null]
      for (const table of tables) {
        if (table === null) continue
        const rows = db.prepare<[], { writer: string; epoch: number }>(
          `SELECT lower(hex(writer_id)) AS writer, epoch FROM chains
           WHERE EXISTS (SELECT 1 FROM ${table} WHERE ${table}.chain = chains.id)`,
        )
        for (const { writer, epoch } of rows.iterate()) found.add(`${writer}:${epoch}`)
      }
    } finally {
      db.close()
    }
  }
  return found
}
