import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  statSync,
} from 'node:fs'
import { dirname } from 'node:path'

/** Deeper is a mistake, not a place for a file. */
const MISSING_MAX = 32

/**
 * Makes a directory and those above it that are missing, mode 0700. Throws what the system says of
 * the first that cannot be made. Step by step, because on Node 24 `mkdirSync` with `recursive` never
 * returns where a parent exists and takes no directories, as in /proc. Each is synced into the one
 * above it: POSIX promises nothing about the files in a directory whose own name the power took.
 */
export function makeDirectories(directory: string): void {
  const missing: string[] = []
  for (let at = directory; !existsSync(at) && at !== dirname(at); at = dirname(at)) {
    missing.push(at)
    if (missing.length > MISSING_MAX) {
      throw new Error(`Cannot make ${directory}: more than ${MISSING_MAX} directories are missing`)
    }
  }
  for (const each of missing.toReversed()) makeDirectory(each)
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 })
    syncDirectory(dirname(directory))
  } catch (error) {
    // Another process may have been faster.
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) throw error
  }
}

/** What a file system answers that cannot sync directories, or a directory that may not be read. */
const CANNOT_SYNC = ['EINVAL', 'ENOTSUP', 'EACCES', 'EPERM']

/**
 * Makes the names in a directory outlive a power loss, where the file system can. Throws what the
 * system says when the disk fails.
 */
export function syncDirectory(directory: string): void {
  let descriptor: number | null = null
  try {
    descriptor = openSync(directory, 'r')
    fsyncSync(descriptor)
  } catch (error) {
    if (!CANNOT_SYNC.includes(String((error as NodeJS.ErrnoException).code))) throw error
  } finally {
    if (descriptor !== null) closeSync(descriptor)
  }
}

/** What better-sqlite3 throws wherever access(2) of the directory fails, whatever the reason. */
const NO_DIRECTORY = /^Cannot open database because the directory does not exist$/

/**
 * Opens the SQLite file at `path` by `open`. Where that says that there is no directory, though the
 * system said another thing (no permission, no directory but a file, a disk that fails), throws what
 * the system says; an error that is over by then is not one, so `open` is tried once more. So it does where
 * SQLite only says that it is unable to (SQLITE_CANTOPEN), as for the file of another user.
 */
export function openWithin<Opened>(path: string, open: () => Opened): Opened {
  try {
    return open()
  } catch (error) {
    const isMute = (error as { readonly code?: unknown }).code === 'SQLITE_CANTOPEN'
    if (isMute) checkAccess(path)
    else if (!(error instanceof TypeError) || !NO_DIRECTORY.test(error.message)) throw error
    else accessSync(dirname(path))
    return open()
  }
}

/** Throws what the system says of a file that is to be read, or made where there is none. */
function checkAccess(path: string): void {
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    accessSync(dirname(path), constants.W_OK | constants.X_OK)
  }
}
