import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

import type { Database } from 'better-sqlite3'

import type { PersonalRow, SideValue } from './personal.ts'

/**
 * Prompts and answers (`audit.content: full`): encrypted with AES-256-GCM (NIST SP 800-38D) in a table
 * beside the entries, by a key of the subject they belong to, in another table of the same file. An
 * entry commits to each as to other personal values; the salt of the commitment is encrypted with
 * the text. Whoever deletes the key has deleted all of it, wherever the encrypted rows were copied to.
 */

const ALGORITHM = 'aes-256-gcm'
const KEY_BYTES = 32
/** SP 800-38D §8.2.2: a random nonce of 96 bits, far fewer than 2^32 values under one key. */
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SALT_BYTES = 32

/** An encrypted value with its key; the key is null where it is gone, or is that of somebody else. */
interface SealedRow {
  readonly name: string
  readonly subject: string
  readonly key: Buffer | null
  readonly nonce: Buffer
  readonly data: Buffer
}

/** The entry that commits to a text. */
interface ChainPlace {
  /** Hex, 32 digits. */
  readonly writer: string
  readonly epoch: number
  readonly seq: number
}

/** A text that was kept, and the entry that commits to it. */
export interface KeptText extends ChainPlace {
  /** `prompt` or `answer`. */
  readonly name: string
  /** Null where it cannot be decrypted, which `verify` has something to say about. */
  readonly text: string | null
}

/** Makes both tables; inside the transaction of whoever opens the file for appending, or alone. */
export function createContent(db: Database): void {
  db.exec(`
    CREATE TABLE IF NOT EXISTS content_keys (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      subject TEXT NOT NULL,
      secret BLOB NOT NULL,
      retired INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS content_keys_subject ON content_keys (subject);
    CREATE TABLE IF NOT EXISTS content (
      chain INTEGER NOT NULL,
      seq INTEGER NOT NULL,
      name TEXT NOT NULL,
      request_id TEXT NOT NULL,
      subject TEXT NOT NULL,
      key INTEGER NOT NULL,
      nonce BLOB NOT NULL,
      data BLOB NOT NULL,
      PRIMARY KEY (chain, seq, name)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS content_subject ON content (subject);
    CREATE INDEX IF NOT EXISTS content_request ON content (request_id);
  `)
}

/** Whether the file has the tables: an older one has not. */
export function hasContent(db: Database): boolean {
  const found = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'content'")
  return found.get() !== undefined
}

/** Where a value belongs. */
interface Place {
  readonly chain: number
  readonly seq: number
  readonly requestId: string
}

/**
 * Gives a function that encrypts and stores a value within the caller's transaction. The key is looked
 * up each time: another process may have taken it out of use a moment ago.
 */
export function contentInserter(db: Database): (place: Place, value: SideValue) => void {
  const find = db
    .prepare<[string], number>('SELECT id FROM content_keys WHERE subject = ? AND retired = 0')
    .pluck()
  const secretOf = db
    .prepare<[number], Buffer>('SELECT secret FROM content_keys WHERE id = ?')
    .pluck()
  const make = db.prepare('INSERT INTO content_keys (subject, secret, retired) VALUES (?, ?, 0)')
  const insert = db.prepare('INSERT INTO content VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
  return ({ chain, seq, requestId }, { subject, name, salt, value }) => {
    const known = find.get(subject)
    const id = known ?? Number(make.run(subject, randomBytes(KEY_BYTES)).lastInsertRowid)
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, secretOf.get(id)!, nonce)
    cipher.setAAD(boundTo(subject, name))
    const parts = [cipher.update(salt, 'hex'), cipher.update(value, 'base64'), cipher.final()]
    const data = Buffer.concat([...parts, cipher.getAuthTag()])
    insert.run(chain, seq, name, requestId, subject, id, nonce, data)
  }
}

/**
 * Gives a function that decrypts what an entry commits to; null in place of what cannot be, or would be looked
 * for, and erased, as of another call or by another caller's key.
 */
export function contentOpener(
  db: Database,
): (chain: number, seq: number, requestId: string) => (PersonalRow | null)[] {
  const read = db.prepare<[number, number], SealedRow & { readonly request_id: string }>(
    `SELECT name, request_id, content.subject, secret AS key, nonce, data
     FROM content LEFT JOIN content_keys AS keys
       ON keys.id = content.key AND keys.subject = content.subject
     WHERE chain = ? AND seq = ?`,
  )
  return (chain, seq, requestId) =>
    read.all(chain, seq).map((row) => (row.request_id === requestId ? open(row) : null))
}

/** The texts of one call in one file, in the order they were stored. */
export function keptTexts(db: Database, requestId: string): KeptText[] {
  const rows = db
    .prepare<[string], SealedRow & ChainPlace>(
      `SELECT content.name, content.subject, keys.secret AS key, content.nonce, content.data,
         lower(hex(chains.writer_id)) AS writer, chains.epoch, content.seq
       FROM content JOIN chains ON chains.id = content.chain
       LEFT JOIN content_keys AS keys
         ON keys.id = content.key AND keys.subject = content.subject
       WHERE content.request_id = ? ORDER BY content.rowid`,
    )
    .all(requestId)
  return rows.map((row) => {
    const { name, writer, epoch, seq } = row
    return { name, writer, epoch, seq, text: open(row)?.value ?? null }
  })
}

function open({ name, subject, key, nonce, data }: SealedRow): PersonalRow | null {
  if (key === null || data.length < SALT_BYTES + TAG_BYTES) return null
  try {
    const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(boundTo(subject, name))
    decipher.setAuthTag(data.subarray(data.length - TAG_BYTES))
    const sealed = data.subarray(0, data.length - TAG_BYTES)
    const plain = Buffer.concat([decipher.update(sealed), decipher.final()])
    const value = plain.toString('utf8', SALT_BYTES)
    return { name, subject, salt: plain.subarray(0, SALT_BYTES), value }
  } catch {
    return null
  }
}

/** A row that is given to another subject, or another name, does not decrypt. */
function boundTo(subject: string, name: string): Buffer {
  return Buffer.from(JSON.stringify([subject, name]))
}

/**
 * Takes the keys of a subject out of use: what is encrypted by them is from now on a closed set, and whoever
 * writes next makes a new one.
 */
export function retireKeys(db: Database, subject: string): void {
  db.prepare('UPDATE content_keys SET retired = 1 WHERE subject = ?').run(subject)
}

/** Deletes keys by which nothing is encrypted any more: those out of use, or with `all` every one. */
export function dropUnusedKeys(db: Database, all: boolean): void {
  const which = all ? '' : 'retired = 1 AND '
  db.exec(`DELETE FROM content_keys WHERE ${which}id NOT IN (SELECT key FROM content)`)
}
