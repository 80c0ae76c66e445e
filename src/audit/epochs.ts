import { rmSync, statSync } from 'node:fs'

import Database from 'better-sqlite3'

import { monotonicMs, wallMs } from '../clock.ts'
import { epochFiles, epochPath, newestOf, openForReading, takeNewest } from './file.ts'
import type { Signer } from './signing-key.ts'
import type { Head, Role } from './writer-body.ts'
import { plainBody } from './writer-body.ts'
import { own, Writer } from './writer.ts'
import type { NewEntry } from './writer.ts'

/** What a log is opened with; the writer's own file follows from what lies on the disk. */
export interface EpochsOptions {
  readonly path: string
  readonly writerId: Uint8Array
  readonly role: Role
  readonly version: string
  readonly busyMs: number
  /** Size at which callers stop adding decisions; the file itself may grow by `HEADROOM_BYTES` more. */
  readonly localBytesMax: number
  readonly recover: boolean
  readonly signer?: Signer | null
  readonly onCheckpoint?: (note: string) => void
  /** How long a file may be locked before it is ended; smaller in tests. */
  readonly busyEndsMs?: number
}

/** Room above `localBytesMax`, so that outcomes of accepted calls still fit: 16 MiB or a tenth. */
const HEADROOM_BYTES = 16 * 1024 * 1024
/**
 * Entries of this size are moved from the write-ahead log into the file even under load. The next commit
 * waits for that, so a step is small: 1.1 ms, measured, where 16 MiB took 30. Neither do small steps cost
 * throughput: a log that stays short is written over, and one that grows needs blocks for each sync.
 */
const STEP_BYTES = 256 * 1024
/** Committed one by one, they fill a longer log with copies of the same few pages; that is moved, too. */
const WAL_BYTES = 4 * 1024 * 1024
/** Pages written by a commit beside the bodies: index, leaf, and a margin. */
const COMMIT_BYTES = 3 * 4096
const ENTRY_BYTES = 200
/** Put into the tree at once they take about 0.2 ms; one by one, each call waits for its own. */
const LEAVES = 64
/** How often the directory is looked at under load; three stats cost 6 µs. */
const LOOK_MS = 100
/** Ended files that are kept from being checkpointed; the last ones matter. */
const ENDED_MAX = 8

/**
 * A file that is locked for longer is ended. No command holds it so long: either somebody forgot a
 * transaction, or a lock could not be released (an error of fcntl, which SQLite passes over), and
 * then this connection waits for itself for ever.
 */
const BUSY_ENDS_MS = 30_000

/** After these the transaction is known not to have happened, and the same file may go on. */
const CLEAN = ['SQLITE_FULL', 'SQLITE_BUSY', 'SQLITE_LOCKED', 'SQLITE_NOMEM', 'SQLITE_READONLY']

/**
 * The log as one writer sees it: a current file, and the rule that a file is ended for good when
 * nobody can say what its disk holds. Synchronous; lives in the worker thread.
 */
export class Epochs {
  readonly recovered: number
  readonly #options: EpochsOptions
  #writer: Writer | null
  #epoch: number
  /** Where the ended epoch was acknowledged, while there is no next one yet. */
  #former: { readonly head: Head; readonly openCalls: ReadonlySet<string> } | null = null
  #formerBytes = 0
  #fileBytes = 0
  #healthy = true
  /** Since when every attempt found the file locked; 0 when the last one did not. */
  #busySinceMs = 0
  #identities: (string | null)[] = []
  #lookedMs = 0
  /** What the write-ahead log holds that the file does not: the entries, and with their pages. */
  #entryBytes = 0
  #walBytes = 0
  readonly #ended: Database.Database[] = []

  /** Opens the newest file of the log, or makes the first. Throws when that is not possible. */
  constructor(options: EpochsOptions) {
    this.#options = options
    const newest = options.recover ? takeNewest(options.path) : newestOf(options.path)
    this.#epoch = newest.epoch
    this.#writer = this.#open(newest.epoch, newest.path)
    this.recovered = this.#writer.recovered
  }

  /** Bytes on the disk, all epochs, with their write-ahead logs. */
  get fileBytes(): number {
    return this.#fileBytes
  }

  get epoch(): number {
    return this.#epoch
  }

  /** Last entry of this epoch known to be on the disk; 0 while its file is ended. */
  get durableSeq(): number {
    return this.#writer?.durableSeq ?? 0
  }

  /** The last thing tried worked; only a commit makes a failed log healthy again. */
  get healthy(): boolean {
    return this.#healthy
  }

  /** Appends all or none; returns when they are on the disk. Throws SQLite's error. */
  append(entries: readonly NewEntry[]): void {
    this.look(monotonicMs())
    this.#healthy = false
    const writer = this.#writer ?? this.#next()
    let bytes = 0
    try {
      writer.begin()
      for (const entry of entries) {
        writer.append(entry)
        bytes += entry.body.length + (entry.side?.length ?? 0) + ENTRY_BYTES
      }
      writer.commit()
    } catch (error) {
      this.#failed(writer, error)
      throw error
    }
    this.#healthy = true
    this.#busySinceMs = 0
    this.#entryBytes += bytes
    this.#walBytes += bytes + COMMIT_BYTES
  }

  /** Enough entries wait for the tree of checkpoints that they are put there between two commits. */
  get isBehind(): boolean {
    return (this.#writer?.unsummed ?? 0) >= LEAVES
  }

  /** Says that the writer lives; also how a failed log finds out that it works again. */
  heartbeat(): void {
    const nowUs = wallMs() * 1000
    this.append([own('heartbeat', '', nowUs, plainBody('heartbeat', nowUs))])
  }

  /** Signs a checkpoint when one is due. It rides with the next commit, or, while idle, has its own. */
  sign(idle: boolean): void {
    const isReady = this.#writer?.prepareCheckpoint(monotonicMs()) ?? false
    if (isReady && idle) this.append([])
  }

  /** Checkpoints when there is enough, or anything at all while idle. */
  checkpoint(idle: boolean): void {
    const isMuch = this.#entryBytes > STEP_BYTES || this.#walBytes > WAL_BYTES
    const writer = this.#writer
    if (!(idle ? this.#walBytes > 0 : isMuch) || writer === null) return
    try {
      writer.checkpoint()
      this.#entryBytes = this.#walBytes = 0
    } catch (error) {
      this.#failed(writer, error)
      throw error
    }
  }

  /** Measures the files and notices when they are no longer ours: unlinked, renamed, replaced. */
  look(nowMs: number): void {
    if (this.#writer === null || nowMs - this.#lookedMs < LOOK_MS) return
    this.#lookedMs = nowMs
    const { identities, bytes } = identify(this.#writer.path)
    // What was pruned is free for new entries, though the file stays as large as it was.
    this.#fileBytes = this.#formerBytes + Math.max(0, bytes - this.#writer.freeBytes)
    if (identities.every((identity, index) => identity === this.#identities[index])) return
    this.#end(this.#writer)
  }

  /** Ends the chain with `writer.close`; a log without a working file is only let go of. */
  close(): void {
    this.#writer?.close()
    this.#writer = null
  }

  #open(epoch: number, path: string): Writer {
    const { localBytesMax } = this.#options
    const headroom = Math.max(HEADROOM_BYTES, localBytesMax / 10)
    const writer = new Writer({
      ...this.#options,
      epoch,
      path,
      pageBytesMax: localBytesMax + headroom,
      recover: this.#options.recover && this.#former === null,
      continues: this.#former?.head ?? null,
      openCalls: this.#former?.openCalls ?? [],
    })
    const { identities, bytes } = identify(path)
    this.#identities = identities
    this.#formerBytes = 0
    for (const file of epochFiles(this.#options.path)) {
      if (file.path !== path) this.#formerBytes += identify(file.path).bytes
    }
    this.#fileBytes = this.#formerBytes + bytes
    this.#entryBytes = 0
    this.#walBytes = COMMIT_BYTES
    return writer
  }

  /** Begins the next epoch. A file in which not even `writer.open` could be committed is removed. */
  #next(): Writer {
    const { path } = this.#options
    const epoch = Math.max(this.#epoch, epochFiles(path).at(-1)?.epoch ?? 0) + 1
    const file = epochPath(path, epoch)
    try {
      this.#writer = this.#open(epoch, file)
    } catch (error) {
      for (const suffix of ['-wal', '-shm', '-journal', '']) rmSync(file + suffix, { force: true })
      throw error
    }
    this.#epoch = epoch
    this.#former = null
    return this.#writer
  }

  #failed(writer: Writer, error: unknown): void {
    this.#healthy = false
    let clean = isClean(error) && !this.#isBusyTooLong(error)
    try {
      clean = writer.rollback() && clean
    } catch {
      // The file cannot even be read back, so it is not one to go on with.
      clean = false
    }
    if (!clean) this.#end(writer)
  }

  #isBusyTooLong(error: unknown): boolean {
    const isBusy = error instanceof Database.SqliteError && /_(BUSY|LOCKED)/.test(error.code)
    this.#busySinceMs = isBusy ? this.#busySinceMs || monotonicMs() : 0
    const { busyEndsMs = BUSY_ENDS_MS } = this.#options
    return isBusy && monotonicMs() - this.#busySinceMs >= busyEndsMs
  }

  /**
   * Nothing is appended to this file again. Closing the last connection would checkpoint frames
   * that may never have reached the disk, so a reading one stays open: it cannot checkpoint.
   */
  #end(writer: Writer): void {
    this.#healthy = false
    this.#busySinceMs = 0
    this.#former = { head: writer.head, openCalls: new Set(writer.openCalls) }
    this.#writer = null
    try {
      const reader = openForReading(writer.path)
      this.#ended.push(reader)
      reader.prepare('SELECT max(id) FROM entries').get()
      if (this.#ended.length > ENDED_MAX) this.#ended.shift()?.close()
    } catch {
      // Gone or unreadable: then there is no file left that a checkpoint could harm.
    }
    writer.abandon()
  }
}

function isClean(error: unknown): boolean {
  if (!(error instanceof Database.SqliteError)) return false
  if (error.code === 'SQLITE_READONLY_DBMOVED') return false
  return CLEAN.some((code) => error.code === code || error.code.startsWith(`${code}_`))
}

/** Device and inode of the database, its write-ahead log and the log's index, with their size. */
function identify(path: string): { identities: (string | null)[]; bytes: number } {
  const identities: (string | null)[] = []
  let bytes = 0
  for (const suffix of ['', '-wal', '-shm']) {
    const stat = statSync(path + suffix, { throwIfNoEntry: false })
    identities.push(stat === undefined ? null : `${stat.dev}:${stat.ino}`)
    if (suffix !== '-shm') bytes += stat?.size ?? 0
  }
  return { identities, bytes }
}
