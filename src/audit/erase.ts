import Database from 'better-sqlite3'

import { wallMs } from '../clock.ts'
import { appendOnce } from './append-once.ts'
import { dropUnusedKeys, hasContent, retireKeys } from './content.ts'
import { epochFiles, openForReading } from './file.ts'
import { hasPersonal } from './personal.ts'

/** Whose values go: of a subject, or of one call. */
export type EraseTarget = { readonly subject: string } | { readonly requestId: string }

/** An entry whose values are gone, as `redaction` names it. */
export interface Redacted {
  readonly writer_id: string
  readonly epoch: number
  readonly seq: number
}

interface Found extends Redacted {
  readonly file: string
  readonly chain: number
}

/** Entries one `redaction` names. */
const ENTRIES_A_REDACTION = 1_000
const BUSY_MS = 5_000

/**
 * Deletes personal values, in every file of the log; entries stay as they are. The entries
 * `redaction` that allow it are durable first: killed at any point, what is still there verifies, and
 * the next run finds it. Returns from how many entries. Throws SQLite's errors.
 */
export function erasePersonal(path: string, version: string, target: EraseTarget): number {
  if ('subject' in target) retire(path, target.subject)
  const found = epochFiles(path).flatMap((file) => find(file.path, target))
  if (found.length === 0) return 0
  const entries = []
  for (let at = 0; at < found.length; at += ENTRIES_A_REDACTION) {
    const erased = found.slice(at, at + ENTRIES_A_REDACTION)
    entries.push({ kind: 'redaction' as const, body: redactionBody(target, erased, wallMs()) })
  }
  appendOnce(path, version, entries)
  for (const file of new Set(found.map((each) => each.file))) {
    remove(
      file,
      found.filter((each) => each.file === file),
    )
  }
  return found.length
}

/** So that no call of this moment is encrypted by a key that is about to go. */
function retire(path: string, subject: string): void {
  for (const file of epochFiles(path)) {
    if (!hasKeys(file.path, subject)) continue
    const db = openToErase(file.path)
    try {
      retireKeys(db, subject)
    } finally {
      db.close()
    }
  }
}

function hasKeys(file: string, subject: string): boolean {
  const db = openForReading(file)
  try {
    if (!hasContent(db)) return false
    const key = db.prepare('SELECT 1 FROM content_keys WHERE subject = ? AND retired = 0')
    return key.get(subject) !== undefined
  } finally {
    db.close()
  }
}

interface Row {
  readonly writer_id: Buffer
  readonly epoch: number
  readonly seq: number
  readonly chain: number
}

function find(file: string, target: EraseTarget): Found[] {
  const db = openForReading(file)
  try {
    const rows = new Map<string, Row>()
    for (const table of tablesOf(db)) {
      for (const row of rowsOf(db, table, target)) rows.set(`${row.chain}:${row.seq}`, row)
    }
    return [...rows.values()].map(({ writer_id, ...row }) => {
      return { ...row, writer_id: writer_id.toString('hex'), file }
    })
  } finally {
    db.close()
  }
}

type Table = 'personal' | 'content'

function tablesOf(db: Database.Database): Table[] {
  return [
    ...(hasPersonal(db) ? ['personal' as const] : []),
    ...(hasContent(db) ? ['content' as const] : []),
  ]
}

function rowsOf(db: Database.Database, table: Table, target: EraseTarget): Row[] {
  const isSubject = 'subject' in target
  const where = isSubject
    ? 'side.subject = ?'
    : '(side.chain, side.seq) IN (SELECT chain, seq FROM entries WHERE request_id = ?)'
  return db
    .prepare<[string], Row>(
      `SELECT DISTINCT writer_id, epoch, side.seq, side.chain
       FROM ${table} AS side JOIN chains ON chains.id = side.chain WHERE ${where}`,
    )
    .all(isSubject ? target.subject : target.requestId)
}

/** Overwrites what it deletes. */
function openToErase(file: string): Database.Database {
  const db = new Database(file, { fileMustExist: true, timeout: BUSY_MS })
  db.pragma('synchronous = FULL')
  db.pragma('secure_delete = ON')
  db.pragma('wal_autocheckpoint = 0')
  return db
}

/** Also the write-ahead log in which they lay; with the last text of a key goes the key. */
function remove(file: string, found: readonly Found[]): void {
  const db = openToErase(file)
  try {
    const tables = tablesOf(db)
    const steps = tables.map((table) =>
      db.prepare(`DELETE FROM ${table} WHERE chain = ? AND seq = ?`),
    )
    for (let at = 0; at < found.length; at += ENTRIES_A_REDACTION) {
      db.transaction(() => {
        for (const { chain, seq } of found.slice(at, at + ENTRIES_A_REDACTION)) {
          for (const step of steps) step.run(chain, seq)
        }
        if (tables.includes('content')) dropUnusedKeys(db, false)
      }).immediate()
    }
    db.pragma('wal_checkpoint(TRUNCATE)')
  } finally {
    db.close()
  }
}

function redactionBody(target: EraseTarget, erased: readonly Redacted[], nowMs: number): string {
  return JSON.stringify({
    kind: 'redaction',
    time: new Date(nowMs).toISOString(),
    ...('subject' in target ? { subject: target.subject } : { erased_request: target.requestId }),
    erased: erased.map(({ writer_id, epoch, seq }) => ({ writer_id, epoch, seq })),
  })
}

/** What one entry `redaction` names. */
export function redactedIn(body: Buffer): Redacted[] {
  try {
    const { erased } = JSON.parse(body.toString('utf8')) as { readonly erased?: unknown }
    return Array.isArray(erased) ? erased.filter(isRedacted) : []
  } catch {
    // That this body was altered is found where the entry itself is read.
    return []
  }
}

function isRedacted(value: unknown): value is Redacted {
  if (typeof value !== 'object' || value === null) return false
  const { writer_id, epoch, seq } = value as Partial<Record<keyof Redacted, unknown>>
  return typeof writer_id === 'string' && Number.isSafeInteger(epoch) && Number.isSafeInteger(seq)
}
