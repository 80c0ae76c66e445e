import { closeSync, openSync } from 'node:fs'

import Database from 'better-sqlite3'

import { openWithin } from '../directories.ts'

/**
 * Whose turn it is to bring an index up to date: an open transaction on an empty database beside it, which
 * the operating system ends however the process does. Many who ask at once would otherwise each read the
 * whole log, and one who waits for a lock of the index itself while it becomes one of a write-ahead log
 * is refused at once instead of after its time.
 */

/** A log of ten million entries is read in less. */
const TURN_MS = 5 * 60_000

/** A held turn; `release` may be called twice. */
export interface Turn {
  release(): void
}

/** Waits for the turn at `index`, a file. Throws an Error when another keeps it for five minutes. */
export function takeTurn(index: string, timeoutMs: number = TURN_MS): Turn {
  const file = `${index}.lock`
  closeSync(openSync(file, 'a', 0o600))
  const db = openWithin(file, () => new Database(file, { timeout: timeoutMs }))
  try {
    db.exec('BEGIN EXCLUSIVE')
    return { release: () => db.close() }
  } catch (error) {
    db.close()
    const isBusy = error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')
    if (!isBusy) throw error
    const minutes = `${Math.round(timeoutMs / 60_000)} minutes`
    throw new Error(
      `Another process has been making the index ${index} for ${minutes}: ask again when it is done`,
      { cause: error },
    )
  }
}
