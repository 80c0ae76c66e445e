import type { Database, Statement } from 'better-sqlite3'

import { monotonicMs, wallMs } from '../clock.ts'
import { ChainTree, type MadeCheckpoint } from './chain-tree.ts'
import { chainHasher, NO_HASH } from './chain.ts'
import type { Kind } from './chain.ts'
import { openForAppend } from './file.ts'
import { RowInserter } from './insert-rows.ts'
import { personalInserter } from './personal.ts'
import { headOf, noteCall, recoverChains } from './recover.ts'
import type { Leftover } from './recover.ts'
import type { Signer } from './signing-key.ts'
import { lostOutcomeBody, plainBody, writerOpenBody } from './writer-body.ts'
import type { Head, Role } from './writer-body.ts'

/** An entry on its way into the file. */
export interface NewEntry {
  readonly kind: Kind
  /** '' when it belongs to no call. */
  readonly requestId: string
  readonly occurredAtUs: number
  /** A decision whose call will be forwarded, so that an outcome has to follow. */
  readonly awaits: boolean
  /** UTF-8 JSON. */
  readonly body: Uint8Array
  /** Personal values it commits to; see `Committed.side`. */
  readonly side?: string
}

/** How a writer begins its chain in one file. */
export interface WriterOptions {
  readonly path: string
  readonly epoch: number
  readonly writerId: Uint8Array
  readonly role: Role
  readonly version: string
  readonly busyMs: number
  readonly pageBytesMax: number
  /** Close the calls that former sidecars left open; only under the lock. */
  readonly recover: boolean
  /** Last acknowledged entry of the former epoch. */
  readonly continues: Head | null
  /** Calls without an outcome that this writer brings along from the former epoch. */
  readonly openCalls: Iterable<string>
  /** Signs checkpoints; without it there are none. */
  readonly signer?: Signer | null
  /** Takes each checkpoint once it is durable. */
  readonly onCheckpoint?: (note: string) => void
}

/** Entries between two marks; recovery reads at most about this many rows a chain. */
const MARK_EVERY = 4_096
/** Kinds that say nothing new: no checkpoint is made for them alone. */
const NO_NEWS: readonly Kind[] = ['checkpoint', 'heartbeat']
const NOTHING_LEFT: Leftover = { heads: [], openCalls: [] }

/**
 * One writer's chain in one file, synchronous. Entries are appended inside a transaction and count
 * only once `commit` has returned: then they are on the disk. Errors are SQLite's own; after one,
 * `rollback` says whether the file may be used on.
 */
export class Writer {
  readonly path: string
  readonly epoch: number
  readonly recovered: number
  readonly #db: Database
  readonly #writerId: Uint8Array
  readonly #hash: ReturnType<typeof chainHasher>
  readonly #chain: number
  readonly #begin: Statement<[]>
  readonly #commit: Statement<[]>
  readonly #rows: RowInserter
  readonly #insertPersonal: ReturnType<typeof personalInserter>
  readonly #mark: Statement<[number, string, number]>
  readonly #open: Set<string>
  #seq = 0
  #last: Uint8Array = NO_HASH
  #durableSeq = 0
  #durableHash: Uint8Array = NO_HASH
  #markedSeq = 0
  readonly #pending: NewEntry[] = []
  /** Hashes of `#pending`. */
  readonly #hashes: Uint8Array[] = []
  readonly #tree: ChainTree | null
  readonly #onCheckpoint: ((note: string) => void) | undefined
  /** Durable, and not yet in the tree. */
  readonly #leaves: { readonly hash: Uint8Array; readonly isNews: boolean }[] = []
  /** Signed, and not yet durable. */
  #made: MadeCheckpoint | null = null

  /** Opens or makes the file and commits `writer.open`, with the outcomes of interrupted calls. */
  constructor(options: WriterOptions) {
    const db = openForAppend(options)
    this.path = options.path
    this.epoch = options.epoch
    this.#db = db
    this.#writerId = options.writerId
    this.#hash = chainHasher(options.writerId, options.epoch)
    this.#open = new Set(options.openCalls)
    const chain = { writer: Buffer.from(options.writerId).toString('hex'), epoch: options.epoch }
    this.#tree = options.signer ? new ChainTree(options.signer, chain, monotonicMs()) : null
    this.#onCheckpoint = options.onCheckpoint
    try {
      // What a former process could not make durable is made so now, before anything follows it.
      if (options.recover) db.pragma('wal_checkpoint(TRUNCATE)')
      this.#begin = db.prepare('BEGIN IMMEDIATE')
      this.#commit = db.prepare('COMMIT')
      this.#insertPersonal = personalInserter(db)
      this.#mark = db.prepare('UPDATE chains SET marked_seq = ?, open_calls = ? WHERE id = ?')
      this.#begin.run()
      const nowUs = wallMs() * 1000
      const left = options.recover ? recoverChains(db, nowUs) : NOTHING_LEFT
      this.#chain = this.#register(options, nowUs)
      this.#rows = new RowInserter(db, this.#chain)
      this.#appendOpening(options, left, nowUs)
      this.recovered = left.openCalls.length
      this.commit()
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** Last entry known to be on the disk. */
  get head(): Head {
    return headOf(this.#writerId, this.epoch, { seq: this.#durableSeq, hash: this.#durableHash })
  }

  /** `seq` of that entry. */
  get durableSeq(): number {
    return this.#durableSeq
  }

  /** Durable entries that are not in the tree of checkpoints yet. */
  get unsummed(): number {
    return this.#leaves.length
  }

  /** Calls without an outcome, of what is on the disk. */
  get openCalls(): ReadonlySet<string> {
    return this.#open
  }

  /** Bytes of the file that hold nothing. */
  get freeBytes(): number {
    const pages = Number(this.#db.pragma('freelist_count', { simple: true }))
    return pages === 0 ? 0 : pages * Number(this.#db.pragma('page_size', { simple: true }))
  }

  begin(): void {
    this.#begin.run()
    if (this.#durableSeq - this.#markedSeq >= MARK_EVERY) {
      this.#mark.run(this.#durableSeq, JSON.stringify([...this.#open]), this.#chain)
    }
    // First of all: it covers exactly the entries before it.
    if (this.#made !== null) this.#appendMade(this.#made)
  }

  /** Appends within the transaction; the body is copied by `commit` at the latest. */
  append(entry: NewEntry): void {
    const seq = this.#seq + 1
    const { kind, requestId, occurredAtUs, body, awaits } = entry
    const hash = this.#hash({ seq, occurredAtUs, prevHash: this.#last }, body)
    this.#rows.add({ seq, occurredAtUs, kind, requestId, awaits, hash, body })
    if (entry.side !== undefined) {
      this.#insertPersonal({ chain: this.#chain, seq, requestId }, entry.side)
    }
    this.#seq = seq
    this.#last = hash
    this.#pending.push(entry)
    this.#hashes.push(hash)
  }

  /** Returns when everything appended since `begin` is on the disk. */
  commit(): void {
    this.#rows.flush()
    this.#commit.run()
    if (this.#durableSeq - this.#markedSeq >= MARK_EVERY) this.#markedSeq = this.#durableSeq
    this.#durableSeq = this.#seq
    this.#durableHash = this.#last
    for (const entry of this.#pending) {
      noteCall(this.#open, entry.kind, entry.requestId, entry.awaits)
    }
    if (this.#tree !== null) this.#takeLeaves()
    this.#pending.length = this.#hashes.length = 0
    const made = this.#made
    this.#made = null
    if (made !== null) this.#onCheckpoint?.(made.note)
  }

  /**
   * Brings the tree up to date and signs it when that is due; for moments in which nobody waits.
   * True when a checkpoint is ready: it is the first entry of the next transaction.
   */
  prepareCheckpoint(nowMs: number): boolean {
    const tree = this.#tree
    if (tree === null || this.#made !== null) return this.#made !== null
    this.#growTree(tree)
    if (tree.isDue(nowMs)) this.#made = tree.sign(wallMs(), nowMs)
    return this.#made !== null
  }

  /**
   * Takes the failed transaction back and reads the head from the file. False when the file does
   * not end where it was acknowledged: then nobody knows what the disk holds. Throws SQLite's error.
   */
  rollback(): boolean {
    this.#pending.length = this.#hashes.length = 0
    this.#rows.clear()
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
    const row = this.#db
      .prepare<[number], { seq: number; hash: Buffer }>(
        'SELECT seq, hash FROM entries WHERE chain = ? ORDER BY seq DESC LIMIT 1',
      )
      .get(this.#chain)
    this.#seq = this.#durableSeq
    this.#last = this.#durableHash
    return row?.seq === this.#durableSeq && row.hash.equals(this.#durableHash)
  }

  /** Moves what it can from the write-ahead log into the file, waiting for nobody. */
  checkpoint(): void {
    this.#db.pragma('wal_checkpoint(PASSIVE)')
  }

  /** Ends the chain with `writer.close`, durable and signed, and closes the file. No call stays open behind it. */
  close(): void {
    const nowUs = wallMs() * 1000
    try {
      this.begin()
      for (const requestId of this.#open) {
        const lost = lostOutcomeBody(requestId, nowUs, 'interrupted')
        this.append(own('outcome', requestId, nowUs, lost))
      }
      this.append(own('writer.close', '', nowUs, plainBody('writer.close', nowUs)))
      this.#appendLast()
      this.#db.prepare("UPDATE chains SET state = 'closed' WHERE id = ?").run(this.#chain)
      this.commit()
      this.#db.pragma('wal_checkpoint(TRUNCATE)')
    } finally {
      this.#db.close()
    }
  }

  /** Lets go of the file without another word in it. */
  abandon(): void {
    this.#db.close()
  }

  #appendMade({ occurredAtUs, body }: MadeCheckpoint): void {
    this.append(own('checkpoint', '', occurredAtUs, body))
  }

  /** The checkpoint that covers `writer.close`, in the same transaction: an end that is attested. */
  #appendLast(): void {
    if (this.#tree === null) return
    this.#takeLeaves()
    this.#growTree(this.#tree)
    this.#made = this.#tree.sign(wallMs(), monotonicMs())
    this.#appendMade(this.#made)
  }

  #takeLeaves(): void {
    this.#pending.forEach(({ kind }, index) => {
      this.#leaves.push({ hash: this.#hashes[index]!, isNews: !NO_NEWS.includes(kind) })
    })
  }

  #growTree(tree: ChainTree): void {
    for (const { hash, isNews } of this.#leaves) tree.add(hash, isNews)
    this.#leaves.length = 0
  }

  #register(options: WriterOptions, nowUs: number): number {
    const inserted = this.#db
      .prepare(
        `INSERT INTO chains (writer_id, epoch, role, state, opened_at, pid, marked_seq, open_calls)
         VALUES (?, ?, ?, 'open', ?, ?, 0, ?)`,
      )
      .run(
        options.writerId,
        options.epoch,
        options.role,
        nowUs,
        process.pid,
        JSON.stringify([...options.openCalls]),
      )
    return Number(inserted.lastInsertRowid)
  }

  #appendOpening(options: WriterOptions, left: Leftover, nowUs: number): void {
    const previous = lastEntry(this.#db)
    const { epoch, role, version, continues } = options
    const writer_id = Buffer.from(options.writerId).toString('hex')
    const said = { writer_id, epoch, pid: process.pid, version, role, previous, continues }
    const body = writerOpenBody({ ...said, recovers: left.heads }, nowUs)
    this.append(own('writer.open', '', nowUs, body))
    for (const requestId of left.openCalls) {
      const lost = lostOutcomeBody(requestId, nowUs, 'interrupted')
      this.append(own('outcome', requestId, nowUs, lost))
    }
  }
}

/** An entry the writer makes itself. */
export function own(kind: Kind, requestId: string, occurredAtUs: number, body: string): NewEntry {
  return { kind, requestId, occurredAtUs, awaits: false, body: Buffer.from(body) }
}

function lastEntry(db: Database): Head | null {
  const row = db
    .prepare<[], { writer_id: Buffer; epoch: number; seq: number; hash: Buffer }>(
      `SELECT writer_id, epoch, seq, hash FROM entries JOIN chains ON chains.id = entries.chain
       ORDER BY entries.id DESC LIMIT 1`,
    )
    .get()
  return row === undefined ? null : headOf(row.writer_id, row.epoch, row)
}
