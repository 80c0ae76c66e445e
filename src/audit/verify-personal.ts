import type { Database, Statement } from 'better-sqlite3'

import { contentOpener, hasContent } from './content.ts'
import { redactedIn } from './erase.ts'
import { commitment, hasPersonal, type PersonalRow } from './personal.ts'
import type { EntryRow } from './rows.ts'
import type { ChainState, ParsedBody } from './verify-chain.ts'

const MISSING = 'Its personal values are missing, and no entry says that they were erased'
const UNSAID = 'Personal values lie beside it, and it commits to none'
const STRAY = `
  SELECT count(*) FROM personal WHERE NOT EXISTS (
    SELECT 1 FROM entries WHERE entries.chain = personal.chain AND entries.seq = personal.seq)`
const STRAY_TEXTS = STRAY.replaceAll('personal', 'content')
const UNREADABLE =
  'A prompt or answer cannot be decrypted as this call’s: it was altered, or its key is gone'

/** Holds personal values against the commitments in the entries, and what is gone against `redaction`. */
export class PersonalCheck {
  /** False for a bundle, which leaves personal values out. */
  readonly #isWhole: boolean
  /** What entries `redaction` say, and in which chains and places they say it. */
  readonly #said = new Map<string, { readonly chain: string; readonly seq: number }[]>()
  /** Values that are gone with such a word for it. */
  readonly #gone: { readonly key: string; readonly chain: ChainState; readonly seq: number }[] = []
  #read: Statement<[number, number], PersonalRow> | null = null
  #texts: ReturnType<typeof contentOpener> | null = null
  /** Entries whose values could not be looked at, and were not to be. */
  #unseen = 0

  constructor(isWhole: boolean) {
    this.#isWhole = isWhole
  }

  /** Learns what was erased; `chainOf` names a chain by its row in the file. */
  learn(db: Database, chainOf: (chain: number) => string): void {
    const rows = db.prepare<[], { chain: number; seq: number; body: Buffer }>(
      `SELECT chain, seq, body FROM entries
       WHERE kind = 'redaction' ORDER BY id`,
    )
    for (const { chain, seq, body } of rows.iterate()) {
      for (const each of redactedIn(body)) {
        const key = `${each.writer_id}:${each.epoch}:${each.seq}`
        const said = this.#said.get(key) ?? []
        said.push({ chain: chainOf(chain), seq })
        this.#said.set(key, said)
      }
    }
  }

  /** The file whose entries come next; says what of it belongs to none of them. Throws SQLite's errors. */
  open(db: Database): string[] {
    this.#read = null
    this.#texts = null
    const strays = this.#openTexts(db)
    if (!hasPersonal(db)) return strays
    const values = db.prepare<[], number>(STRAY).pluck().get() ?? 0
    if (values > 0) strays.push(`${values} personal values in it belong to no entry`)
    // A log that keeps none is not asked about each of its entries.
    if (db.prepare('SELECT 1 FROM personal LIMIT 1').get() === undefined) return strays
    this.#read = db.prepare(
      'SELECT name, subject, salt, value FROM personal WHERE chain = ? AND seq = ?',
    )
    return strays
  }

  #openTexts(db: Database): string[] {
    if (!hasContent(db)) return []
    const strays = db.prepare<[], number>(STRAY_TEXTS).pluck().get() ?? 0
    if (db.prepare('SELECT 1 FROM content LIMIT 1').get() !== undefined) {
      this.#texts = contentOpener(db)
    }
    return strays > 0 ? [`${strays} prompts or answers in it belong to no entry`] : []
  }

  /** Looks at the values of one entry; says what does not hold. */
  entry(chain: ChainState, row: EntryRow, body: ParsedBody): string[] {
    const said = body.personal
    const rows = this.#rows(row)
    if (rows === null) return [UNREADABLE]
    if (said === undefined) return rows.length === 0 ? [] : [UNSAID]
    if (typeof said !== 'object' || said === null) return ['Its commitments are not a JSON object']
    const wanted = Object.entries(said)
    if (rows.length === 0) return this.#missing(chain, row)
    const found = new Map(rows.map((each) => [each.name, each]))
    const holds =
      rows.length === wanted.length &&
      wanted.every(([name, digest]) => {
        const each = found.get(name)
        return each !== undefined && commitment(each) === digest
      })
    return holds ? [] : ['A personal value differs from its commitment, or one of them is missing']
  }

  /** Erasures in use that no signed checkpoint covers; `isSigned` answers for a chain and a place. */
  unauthorised(
    isSigned: (chain: string, seq: number) => boolean,
  ): { readonly chain: ChainState; readonly seq: number }[] {
    return this.#gone.filter(({ key }) => {
      const said = this.#said.get(key) ?? []
      return !said.some(({ chain, seq }) => isSigned(chain, seq))
    })
  }

  /** What a verifier of a bundle has to know; null when nothing was left out. */
  get unseenNote(): string | null {
    return this.#unseen === 0
      ? null
      : `Personal values of ${this.#unseen} entries are not in the bundle`
  }

  /** Values and texts of an entry; null where one cannot be decrypted. */
  #rows({ chain, seq, request_id }: EntryRow): PersonalRow[] | null {
    const rows = this.#read?.all(chain, seq) ?? []
    for (const text of this.#texts?.(chain, seq, request_id) ?? []) {
      if (text === null) return null
      rows.push(text)
    }
    return rows
  }

  #missing(chain: ChainState, row: EntryRow): string[] {
    const key = `${chain.writer}:${chain.epoch}:${row.seq}`
    if (this.#said.has(key)) {
      this.#gone.push({ key, chain, seq: row.seq })
      return []
    }
    if (this.#isWhole) return [MISSING]
    this.#unseen++
    return []
  }
}
