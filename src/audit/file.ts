import { chmodSync, closeSync, openSync, readdirSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

import Database from 'better-sqlite3'

import { makeDirectories, openWithin, syncDirectory } from '../directories.ts'
import { createContent } from './content.ts'
import { createPersonal } from './personal.ts'

/**
 * The files of one audit log. `audit.db` is epoch 1; when a file has to be ended, the next epoch
 * begins beside it in `audit.e2.db`, then `audit.e3.db`, and so on. The highest number is the one
 * that is written; the others are only read.
 */

/** Stored in `user_version`. */
export const SCHEMA_VERSION = 1

/** u32 in the hash; more epochs than this is a disk that needs replacing, not a bigger number. */
const EPOCH_MAX = 9_999
const EPOCH_NAME = /\.e([2-9]|[1-9]\d{1,3})$/

/** One file of the log. */
export interface EpochFile {
  readonly epoch: number
  readonly path: string
}

/** Where an epoch of the log at `path` is kept: `audit.db`, `audit.e2.db`, … */
export function epochPath(path: string, epoch: number): string {
  if (epoch > EPOCH_MAX) throw new Error(`Cannot begin epoch ${epoch} of ${path}: too many files`)
  if (epoch === 1) return path
  const { stem, extension } = split(path)
  return join(dirname(path), `${stem}.e${epoch}${extension}`)
}

/**
 * The files of the log at `path` that exist, oldest first; empty when there are none. Throws when its
 * directory cannot be read.
 */
export function epochFiles(path: string): EpochFile[] {
  const { stem, extension } = split(path)
  const found: EpochFile[] = []
  for (const name of list(dirname(path))) {
    if (name === basename(path)) found.push({ epoch: 1, path })
    if (!name.startsWith(`${stem}.e`) || !name.endsWith(extension)) continue
    const epoch = EPOCH_NAME.exec(name.slice(0, name.length - extension.length))?.[1]
    if (epoch !== undefined && name === `${stem}.e${epoch}${extension}`) {
      found.push({ epoch: Number(epoch), path: join(dirname(path), name) })
    }
  }
  return found.sort((a, b) => a.epoch - b.epoch)
}

/** Throws where it cannot be told what is there: a log nobody may look at is not one that is absent. */
function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    const why = code === 'EACCES' ? 'no permission' : code
    throw new Error(`Cannot look for the audit log in ${directory}: ${why}`, { cause: error })
  }
}

function split(path: string): { stem: string; extension: string } {
  const name = basename(path)
  const dot = name.lastIndexOf('.')
  return dot <= 0
    ? { stem: name, extension: '' }
    : { stem: name.slice(0, dot), extension: name.slice(dot) }
}

/** How a file is opened for appending. */
export interface AppendOptions {
  readonly path: string
  /** How long another writer's commit is waited for. */
  readonly busyMs: number
  /** Hard stop of the file; 0 is none. */
  readonly pageBytesMax: number
}

/**
 * Opens one file of the log for appending, and makes it when it is missing (file 0600, directory
 * 0700). Throws an Error that says what is wrong: newer schema, not a database, a trigger in it, not
 * writable, or a disk that does not take `synchronous=FULL`.
 */
export function openForAppend(options: AppendOptions): Database.Database {
  makeDirectories(dirname(options.path))
  // Made by us first, so that there is no moment in which the umask decides who may read it.
  closeSync(openSync(options.path, 'a', 0o600))
  const db = openWithin(options.path, () => new Database(options.path, { timeout: options.busyMs }))
  try {
    refuseNewerSchema(db, options.path)
    refuseStrangeObjects(db, options.path)
    db.pragma('journal_mode = WAL')
    // WAL's default NORMAL loses acknowledged rows on power loss at almost every crash point.
    db.pragma('synchronous = FULL')
    db.pragma('wal_autocheckpoint = 0')
    // Who appends comes back to the last pages only; better-sqlite3's own 16 MB would fill with the rest.
    db.pragma('cache_size = -2000')
    assertPragma(db, 'journal_mode', 'wal')
    assertPragma(db, 'synchronous', 2)
    chmodSync(options.path, 0o600)
    if (version(db) === 0) createTables(db)
    createIndexes(db)
    createPersonal(db)
    createContent(db)
    syncNames(options.path)
    if (options.pageBytesMax > 0) limitPages(db, options.pageBytesMax)
  } catch (error) {
    db.close()
    throw error
  }
  return db
}

/**
 * SQLite syncs the name of a write-ahead log only when it made that log itself. A process that was
 * killed in between left one whose name the next power loss would take, and all that was added since.
 */
function syncNames(path: string): void {
  const directory = dirname(resolve(path))
  syncDirectory(directory)
  syncDirectory(dirname(directory))
}

/** The newest file of the log at `path`, which is the one to write; epoch 1 when there is none. */
export function newestOf(path: string): EpochFile {
  return epochFiles(path).at(-1) ?? { epoch: 1, path }
}

/**
 * The file that is written next: the newest. One without any entry is what a crash leaves between the
 * end of a file and the first commit in the next; it is removed, so that the file before it is taken up
 * and its calls are closed. Only for who holds the lock of the log. Throws SQLite's errors.
 */
export function takeNewest(path: string): EpochFile {
  const files = epochFiles(path)
  for (const file of files.toReversed()) {
    if (file.epoch === 1 || files[0] === file || !isEmpty(file.path)) return file
    for (const suffix of ['-wal', '-shm', '-journal', ''])
      rmSync(file.path + suffix, { force: true })
  }
  return { epoch: 1, path }
}

/** Also after a crash while it was made, which is taken back by opening it. */
export function isEmpty(path: string): boolean {
  if (statSync(path).size === 0) return true
  const db = new Database(path, { timeout: 1000 })
  try {
    return version(db) === 0 || db.prepare('SELECT 1 FROM entries LIMIT 1').get() === undefined
  } finally {
    db.close()
  }
}

/** Opens one file of the log for reading only. Throws when it is missing, newer or no audit log. */
export function openForReading(path: string): Database.Database {
  let db: Database.Database | null = null
  try {
    db = openWithin(
      path,
      () => new Database(path, { readonly: true, fileMustExist: true, timeout: 1000 }),
    )
    refuseNewerSchema(db, path)
    if (version(db) === 0) throw new Error(`Cannot read ${path}: it is not an audit log`)
    // Who reads a log goes through it once; better-sqlite3's own 16 MB would fill with what was read.
    db.pragma('cache_size = -2000')
  } catch (error) {
    db?.close()
    throw aboutLog(path, error)
  }
  return db
}

/**
 * Refuses a file with entries in places that no writer gives: SQLite counts from 1. Readers go from
 * place to place, so what stands before the first would be shown by some and missed by others.
 */
export function refuseStrangePlaces(db: Database.Database): void {
  const { first, last } = db
    .prepare<[], { first: number | null; last: number | null }>(
      'SELECT min(id) AS first, max(id) AS last FROM entries',
    )
    .get()!
  const isUsual = (first ?? 1) >= 1 && (last ?? 1) < Number.MAX_SAFE_INTEGER
  if (!isUsual) throw new Error(`it has entries from ${first} to ${last}, and begins with 1`)
}

/**
 * What of a file stands between its tables and who reads or writes them, such as `trigger "quiet"`: nobody but
 * a stranger made it. A view of another name is somebody's question, and harms nothing.
 */
export function strangeObjects(db: Database.Database): string[] {
  return db
    .prepare<[], string>(
      `SELECT type || ' "' || name || '"' FROM sqlite_master WHERE type = 'trigger' OR type = 'view'
       AND lower(name) IN ('chains', 'entries', 'personal', 'content', 'content_keys')`,
    )
    .pluck()
    .all()
}

/** A trigger could drop entries while they are written, and nobody would know before `verify`. */
function refuseStrangeObjects(db: Database.Database, path: string): void {
  const [object] = strangeObjects(db)
  if (object === undefined) return
  throw new Error(
    `Cannot open ${path}: it has a ${object}, which Governor never makes and which could drop ` +
      'entries. Keep the file for who looks into it, and name another audit.path',
  )
}

/** Says which file and key an error of SQLite or of the system is about; ours say so themselves. */
export function aboutLog(path: string, error: unknown): Error {
  const { message, code } = error as Error & { readonly code?: unknown }
  if (typeof code !== 'string') return error as Error
  return new Error(`Cannot use the audit log ${path} (audit.path): ${message}`, { cause: error })
}

function version(db: Database.Database): number {
  return Number(db.pragma('user_version', { simple: true }))
}

function refuseNewerSchema(db: Database.Database, path: string): void {
  const found = version(db)
  if (found <= SCHEMA_VERSION) return
  throw new Error(
    `Cannot open ${path}: it was written by a newer Governor (schema ${found}, this one knows ` +
      `${SCHEMA_VERSION}). Use that version, or another audit.path`,
  )
}

function assertPragma(db: Database.Database, name: string, want: string | number): void {
  const found = db.pragma(name, { simple: true })
  if (found !== want) {
    throw new Error(`Cannot use ${db.name}: ${name} is ${String(found)} where ${want} was set`)
  }
}

function limitPages(db: Database.Database, bytesMax: number): void {
  const pageBytes = Number(db.pragma('page_size', { simple: true }))
  db.pragma(`max_page_count = ${Math.max(16, Math.ceil(bytesMax / pageBytes))}`)
}

/**
 * `chains` has a row for each writer and epoch. `marked_seq` and `open_calls` say which calls were
 * still without an outcome when the chain had that length; they only make recovery short, `verify`
 * trusts neither. Nor does it trust the columns of `entries` that repeat what a body says.
 */
function createTables(db: Database.Database): void {
  db.exec('BEGIN IMMEDIATE')
  // Another process may have been faster; both must end with the same tables.
  if (version(db) === 0) {
    db.exec(`
      CREATE TABLE chains (
        id INTEGER PRIMARY KEY,
        writer_id BLOB NOT NULL,
        epoch INTEGER NOT NULL,
        role TEXT NOT NULL,
        state TEXT NOT NULL,
        opened_at INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        marked_seq INTEGER NOT NULL,
        open_calls TEXT NOT NULL,
        UNIQUE (writer_id, epoch)
      ) STRICT;
      CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        chain INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        occurred_at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        request_id TEXT NOT NULL,
        awaits INTEGER NOT NULL,
        hash BLOB NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (chain, seq)
      ) STRICT;
      PRAGMA user_version = ${SCHEMA_VERSION};
    `)
  }
  db.exec('COMMIT')
}

/**
 * For the few entries that are looked up by kind; an ordinary entry costs it nothing. SQLite fills a table
 * for an IN with each statement, 1 µs of an entry's 6, and takes an index of ORs for each of its kinds.
 */
function createIndexes(db: Database.Database): void {
  db.exec(
    `DROP INDEX IF EXISTS entries_rare;
     CREATE INDEX IF NOT EXISTS entries_few ON entries (kind, chain, seq)
     WHERE kind = 'checkpoint' OR kind = 'retention' OR kind = 'redaction'`,
  )
}
