import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import type Database from 'better-sqlite3'

import { bodyMember, bodyOfLine, miscounted } from './bundle-line.ts'
import { epochFiles, epochPath, openForAppend, openForReading } from './file.ts'
import { chainRows, everyRow } from './rows.ts'
import { keyListPath } from './signing-key.ts'

/**
 * A whole log as lines of JSON: a head with the key list, then each file's writers and entries as
 * stored, and a last line that counts them. It holds everything `verify` looks at, so that it can be
 * verified elsewhere, with no network and without the files.
 */

const FORMAT = 'governor-audit/1'
const ROWS_A_COMMIT = 5_000

/**
 * Writes the log at `path` as a bundle, telling `onRows` of each entry; returns how many there were. Throws
 * when there is no log.
 */
export function writeBundle(
  path: string,
  write: (text: string) => void,
  onRows: (rows: number) => void = () => {},
): number {
  const files = epochFiles(path)
  if (files.length === 0) throw new Error(`There is no audit log at ${path}`)
  const list = keyListPath(path)
  const keys: unknown = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : null
  const say = (line: object) => write(`${JSON.stringify(line)}\n`)
  say({ bundle: FORMAT, keys })
  let entries = 0
  for (const file of files) {
    const db = openForReading(file.path)
    try {
      say({ file: file.epoch })
      // One moment of the file: entries that come meanwhile would be without their writer.
      db.exec('BEGIN')
      entries += writeFile(db, say, onRows)
    } finally {
      db.close()
    }
  }
  say({ end: entries })
  return entries
}

function writeFile(
  db: Database.Database,
  say: (line: object) => void,
  onRows: (rows: number) => void,
): number {
  for (const row of chainRows(db)) {
    const { id, writer_id, epoch, role, state, opened_at } = row
    say({ chain: id, writer: writer_id.toString('hex'), epoch, role, state, opened_at })
  }
  let entries = 0
  for (const { hash, body, ...columns } of everyRow(db)) {
    say({ ...columns, hash: hash.toString('hex'), ...bodyMember(body) })
    entries++
    onRows(1)
  }
  return entries
}

/** A bundle put back into files. */
export interface Restored {
  /** The log, in a directory of its own. */
  readonly path: string
  remove(): void
}

/**
 * Puts a bundle back into files in a new temporary directory, as they were. Rejects with an Error
 * that names the line of a bundle that is cut short or none at all.
 */
export async function restoreBundle(file: string): Promise<Restored> {
  const directory = mkdtempSync(join(tmpdir(), 'governor-audit-'))
  const remove = () => rmSync(directory, { recursive: true, force: true })
  const path = join(directory, 'audit.db')
  const restorer = new Restorer(path)
  let line = 0
  try {
    const lines = createInterface({ input: createReadStream(file), crlfDelay: Infinity })
    for await (const text of lines) {
      line++
      restorer.take(JSON.parse(text) as Line)
    }
    restorer.end()
    return { path, remove }
  } catch (error) {
    restorer.close()
    remove()
    const why = (error as Error).message
    const where = line === 0 ? '' : `, line ${line}`
    throw new Error(`Cannot read the bundle ${file}${where}: ${why}`, { cause: error })
  }
}

type Line = Readonly<Record<string, unknown>>

class Restorer {
  readonly #path: string
  #db: Database.Database | null = null
  #entries = 0
  #uncommitted = 0
  #begun = false
  #ended = false

  constructor(path: string) {
    this.#path = path
  }

  take(line: Line): void {
    if (this.#ended) throw new Error('there are lines behind its end')
    if (!this.#begun) this.#head(line)
    else if (typeof line['file'] === 'number') this.#open(line['file'])
    else if ('end' in line) {
      if (line['end'] !== this.#entries) throw new Error(miscounted(line['end'], this.#entries))
      this.#ended = true
    } else if ('seq' in line) this.#entry(line)
    else this.#chain(line)
  }

  end(): void {
    this.close()
    if (!this.#ended) throw new Error('it is cut short')
  }

  close(): void {
    if (this.#db?.inTransaction === true) this.#db.exec('COMMIT')
    this.#db?.close()
    this.#db = null
  }

  #head(line: Line): void {
    if (line['bundle'] !== FORMAT) throw new Error(`it does not begin with ${FORMAT}`)
    this.#begun = true
    const keys = line['keys']
    if (keys !== null) writeFileSync(keyListPath(this.#path), JSON.stringify(keys), { mode: 0o600 })
  }

  #open(epoch: number): void {
    this.close()
    const file = epochPath(this.#path, epoch)
    this.#db = openForAppend({ path: file, busyMs: 0, pageBytesMax: 0 })
    this.#db.pragma('synchronous = OFF')
    this.#db.exec('BEGIN')
  }

  #chain(line: Line): void {
    const { chain, writer, epoch, role, state, opened_at } = line
    this.#file
      .prepare('INSERT INTO chains VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?)')
      .run(chain, Buffer.from(String(writer), 'hex'), epoch, role, state, opened_at, '[]')
  }

  #entry(line: Line): void {
    const { id, chain, seq, occurred_at, kind, request_id, awaits, hash } = line
    const digest = Buffer.from(String(hash), 'hex')
    this.#file
      .prepare('INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(id, chain, seq, occurred_at, kind, request_id, awaits, digest, bodyOfLine(line))
    this.#entries++
    if (++this.#uncommitted < ROWS_A_COMMIT) return
    this.#uncommitted = 0
    this.#file.exec('COMMIT; BEGIN')
  }

  get #file(): Database.Database {
    if (this.#db === null) throw new Error('it has entries before a file')
    return this.#db
  }
}
