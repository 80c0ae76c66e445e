import { accessSync, closeSync, constants, openSync } from 'node:fs'
import { dirname } from 'node:path'

import Database from 'better-sqlite3'

import { monotonicMs } from '../clock.ts'
import { makeDirectories, openWithin } from '../directories.ts'

const WAIT_MS = 5_000
const RETRY_MS = 20
/** What a directory that may not be written to answers. */
const READ_ONLY = ['EROFS', 'EACCES', 'EPERM']

/**
 * Holds the lock of the file at `path`: resolves with what releases it, or with null where its directory
 * may not be written to. Rejects with an Error after five seconds in which others held it.
 *
 * It is an open transaction of SQLite on an empty file beside it, which never goes. So it is the system
 * that knows who holds it, and whether that one is still alive: a process id says nothing to another
 * container, nor does a clock. One that is killed holds nothing, one that is stopped still does.
 */
export async function takeFileLock(path: string): Promise<(() => void) | null> {
  const lock = `${path}.lock`
  if (!isWritable(lock)) return null
  const db = openWithin(lock, () => new Database(lock, { timeout: 0 }))
  try {
    const untilMs = monotonicMs() + WAIT_MS
    while (!isTaken(db)) {
      if (monotonicMs() > untilMs) throw new Error(`Another command changes ${path}: try again`)
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    return () => db.close()
  } catch (error) {
    db.close()
    if (!(error instanceof Database.SqliteError)) throw error
    const isOther = error.code === 'SQLITE_NOTADB'
    const why = `its lock ${lock} cannot be taken: ${error.message}${isOther ? ': remove it' : ''}`
    throw new Error(`Cannot change ${path} (auth.keys.path): ${why}`, { cause: error })
  }
}

/** Whether there is such a file now, and others may be made beside it. Throws what the system says. */
function isWritable(lock: string): boolean {
  const directory = dirname(lock)
  try {
    makeDirectories(directory)
    accessSync(directory, constants.W_OK | constants.X_OK)
    // Only one that is new: to close a file lets go of all locks that this process has on it (fcntl(2)).
    closeSync(openSync(lock, 'wx', 0o600))
    return true
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code)
    if (code === 'EEXIST') return true
    if (READ_ONLY.includes(code)) return false
    throw error
  }
}

function isTaken(db: Database.Database): boolean {
  try {
    db.exec('BEGIN IMMEDIATE')
    return true
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return false
    throw error
  }
}
