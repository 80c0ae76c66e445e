import { closeSync, openSync } from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories, openWithin } from '../directories.ts'

/**
 * One sidecar a log. The lock is an open write transaction on a small database beside the log: the
 * operating system releases it however the process ends, and unlike an exclusive transaction it
 * leaves the row that names the owner readable.
 */

/** Long enough for a rival to write its name and notice that it lost, short for a person. */
const RIVAL_MS = 250
const ATTEMPTS = 5

/** A held lock; `release` may be called twice. */
export interface Lock {
  release(): void
}

/** Takes the lock of the log at `path`. Throws an Error that names the process that holds it. */
export function takeLock(path: string, sinceMs: number): Lock {
  const file = `${path}.lock`
  makeDirectories(dirname(file))
  closeSync(openSync(file, 'a', 0o600))
  const db = openWithin(file, () => new Database(file, { timeout: RIVAL_MS }))
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (tryLock(db, sinceMs)) return { release: () => db.close() }
    }
    throw new Error('another process keeps taking it')
  } catch (error) {
    if (!isBusy(error)) {
      db.close()
      const why = `its lock ${file} cannot be taken: ${(error as Error).message}`
      throw new Error(`Cannot write the audit log ${path} (audit.path): ${why}`, { cause: error })
    }
    const holder = owner(db)
    db.close()
    throw new Error(
      `Cannot write the audit log ${path}: it is in use by ${holder}. ` +
        'Stop that process, or give this one another audit.path',
      { cause: error },
    )
  }
}

/** The name is committed first and the lock taken again, since nobody can read an open transaction. */
function tryLock(db: Database.Database, sinceMs: number): boolean {
  db.exec('BEGIN IMMEDIATE')
  db.exec('CREATE TABLE IF NOT EXISTS owner (pid INTEGER NOT NULL, since TEXT NOT NULL)')
  db.exec('DELETE FROM owner')
  db.prepare('INSERT INTO owner VALUES (?, ?)').run(process.pid, new Date(sinceMs).toISOString())
  const mine = db.prepare('SELECT max(rowid) FROM owner').pluck().get()
  db.exec('COMMIT')
  db.exec('BEGIN IMMEDIATE')
  const pid = db.prepare('SELECT pid FROM owner WHERE rowid = ?').pluck().get(mine)
  if (pid === process.pid) return true
  db.exec('ROLLBACK')
  return false
}

function isBusy(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')
}

function owner(db: Database.Database): string {
  try {
    const row = db.prepare<[], { pid: number; since: string }>('SELECT pid, since FROM owner').get()
    if (row !== undefined) return `process ${row.pid} since ${row.since}`
  } catch {
    // The holder has not written its name yet; the lock is held all the same.
  }
  return 'another process'
}
