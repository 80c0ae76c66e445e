import { hash, randomBytes } from 'node:crypto'

import type { Database } from 'better-sqlite3'

import { contentInserter } from './content.ts'

/**
 * Values of people (an address, a user agent) do not stand in an entry: it holds salted commitments to
 * them, and the values lie in a table beside the entries. Deleting them leaves every hash as it was;
 * without the salt a commitment cannot be found by trying values.
 */

/** Whose the values are, and the values by name. */
export interface Personal {
  readonly subject: string
  readonly values: Readonly<Record<string, string>>
  /** Texts of the call, which are encrypted. */
  readonly texts?: readonly SealedText[]
}

/** A prompt or an answer, or the beginning of one. */
export interface SealedText {
  readonly name: 'prompt' | 'answer'
  /** Of the whole. */
  readonly bytes: number
  /** Of `value`, in UTF-8; 0 where it is no text. */
  readonly keptBytes: number
  readonly value: string
}

/** What goes where: `said` into the entry's body, `side` into the table, both in one transaction. */
export interface Committed {
  /** JSON: name → 64 hex digits. */
  readonly said: string
  /** JSON of a `SideValue` list. */
  readonly side: string
  /** JSON: how long each text is, and how much of it is kept; '' without any. */
  readonly sizes: string
}

/** A value on its way into the table. */
export interface SideValue {
  readonly subject: string
  readonly name: string
  /** Hex, 64 digits. */
  readonly salt: string
  /** With `isSealed` its UTF-8 bytes in base64. */
  readonly value: string
  /** It goes into the table of encrypted texts. */
  readonly isSealed?: true
}

/** A row of the table. */
export interface PersonalRow {
  readonly name: string
  readonly subject: string
  readonly salt: Buffer
  readonly value: string
}

const SALT_BYTES = 32
/** More than a tenant and a user of 256 characters each take: cut, two users would be one. */
const SUBJECT_CHARS_MAX = 2048
const VALUE_CHARS_MAX = 512

/**
 * What `audit erase --subject` calls a caller: its tenant, and its user, else its key. Names of claims may have
 * a `/`: in a tenant it is written `%2F`, so that no two callers have one name, and none is erased with another.
 */
export function subjectOf(caller: {
  readonly tenant: string
  readonly user: string
  readonly keyId: string
}): string {
  const { tenant, user, keyId } = caller
  const who = user !== '' ? user : keyId
  const first = tenant.replaceAll('%', '%25').replaceAll('/', '%2F')
  return cut(who === '' ? first : `${first}/${who}`, SUBJECT_CHARS_MAX)
}

/** Commits to values: each gets a salt of its own. */
export function commitPersonal({ subject, values, texts = [] }: Personal): Committed {
  const said: Record<string, string> = {}
  const side: SideValue[] = []
  for (const [name, whole] of Object.entries(values)) {
    const value = cut(whole, VALUE_CHARS_MAX)
    const salt = randomBytes(SALT_BYTES)
    said[name] = commitment({ name, subject, salt, value })
    side.push({ subject, name, salt: salt.toString('hex'), value })
  }
  for (const { name, value } of texts) {
    const salt = randomBytes(SALT_BYTES)
    said[name] = commitment({ name, subject, salt, value })
    const encoded = Buffer.from(value).toString('base64')
    side.push({ subject, name, salt: salt.toString('hex'), value: encoded, isSealed: true })
  }
  return { said: JSON.stringify(said), side: JSON.stringify(side), sizes: sizesOf(texts) }
}

/** The body of an entry with its commitments in it. */
export function withCommitments(body: string, { said, sizes }: Committed): string {
  const content = sizes === '' ? '' : `,"content":${sizes}`
  return `${body.slice(0, -1)},"personal":${said}${content}}`
}

/** `{"prompt":{"bytes":5120}}`; `kept` beside it where that is less. */
function sizesOf(texts: readonly SealedText[]): string {
  if (texts.length === 0) return ''
  const sizes = texts.map(({ name, bytes, keptBytes }) => {
    return [name, keptBytes === bytes ? { bytes } : { bytes, kept: keptBytes }] as const
  })
  return JSON.stringify(Object.fromEntries(sizes))
}

/**
 * `SHA-256("governor/commitment/v1\0" ‖ salt(32) ‖ JSON [subject, name, value])`, hex. The subject is
 * in it, so that nobody can move a value to where an erasure does not find it.
 */
export function commitment({ name, subject, salt, value }: PersonalRow): string {
  const said = JSON.stringify([subject, name, value])
  return hash(
    'sha256',
    Buffer.concat([Buffer.from('governor/commitment/v1\0', 'latin1'), salt, Buffer.from(said)]),
  )
}

/** Makes the table; inside the transaction of whoever opens the file for appending, or alone. */
export function createPersonal(db: Database): void {
  db.exec(`
    CREATE TABLE IF NOT EXISTS personal (
      chain INTEGER NOT NULL,
      seq INTEGER NOT NULL,
      name TEXT NOT NULL,
      subject TEXT NOT NULL,
      salt BLOB NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (chain, seq, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS personal_subject ON personal (subject);
  `)
}

/** Whether the file has the table: an older one, or one put back from a bundle, has not. */
export function hasPersonal(db: Database): boolean {
  const found = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'personal'")
  return found.get() !== undefined
}

/** Gives a function that stores the values of one entry. */
export function personalInserter(
  db: Database,
): (place: { chain: number; seq: number; requestId: string }, side: string) => void {
  const insert = db.prepare('INSERT INTO personal VALUES (?, ?, ?, ?, ?, ?)')
  const seal = contentInserter(db)
  return (place, side) => {
    for (const each of JSON.parse(side) as SideValue[]) {
      const { name, subject, salt, value, isSealed } = each
      if (isSealed === true) seal(place, each)
      else insert.run(place.chain, place.seq, name, subject, Buffer.from(salt, 'hex'), value)
    }
  }
}

function cut(value: string, charsMax: number): string {
  return value.slice(0, charsMax).toWellFormed().replaceAll('\0', '\u2400')
}
