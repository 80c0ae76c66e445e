/**
 * Large forms on disk: written as they arrive, looked at, sent, gone. A file has no name from the moment it
 * is there, so that the system takes it back however the process ends.
 */
import { readdirSync, rmSync } from 'node:fs'
import { type FileHandle, open, statfs, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pid } from 'node:process'

import { GovernorError } from '../errors.ts'

/** What a disk keeps whatever is written: the audit log is on it, too. */
const DISK_BYTES_LEFT = 64 * 1024 * 1024
/** The part of all that one caller may have on disk. */
const SHARE_OF_ONE = 1 / 2

/** The directory, and how much is in it. One of a process. */
export class Spool {
  readonly #directory: string
  readonly #prefix: string
  readonly #leftBytes: number
  readonly #heldBytes = new Map<string, number>()
  #bytes = 0
  #count = 0

  /**
   * `beside` is a file whose directory may be written. Removes what a crash left there with a name.
   * Nothing is written that would leave the disk less than `leftBytes`.
   */
  constructor(beside: string, leftBytes = DISK_BYTES_LEFT) {
    this.#leftBytes = leftBytes
    this.#prefix = `${basename(beside)}.spool-`
    this.#directory = dirname(beside)
    for (const name of namesIn(this.#directory)) {
      if (name.startsWith(this.#prefix)) removeLeft(join(this.#directory, name))
    }
  }

  /** Bytes of all files. */
  get bytes(): number {
    return this.#bytes
  }

  /** An empty file. Throws SPOOL_UNAVAILABLE. */
  async create(holder: string, bytesMax: number): Promise<SpooledFile> {
    this.#count += 1
    const path = join(this.#directory, `${this.#prefix}${pid}-${this.#count}`)
    try {
      await this.#checkRoom(0)
      const handle = await open(path, 'wx+', 0o600)
      await unlink(path).catch(async (error: unknown) => {
        await handle.close()
        throw error
      })
      return new SpooledFile(handle, {
        hold: (bytes) => this.#hold(holder, bytes, bytesMax),
        checkRoom: (bytes) => this.#checkRoom(bytes),
      })
    } catch (cause) {
      throw new GovernorError('SPOOL_UNAVAILABLE', { cause })
    }
  }

  /** Others fill the disk, too, while a form arrives. */
  async #checkRoom(bytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#directory)
    if (bavail * bsize < this.#leftBytes + bytes) throw new Error('the disk is nearly full')
  }

  /** Counts more bytes, or fewer, of one caller. Throws OVERLOADED. */
  #hold(holder: string, bytes: number, bytesMax: number): void {
    const own = (this.#heldBytes.get(holder) ?? 0) + bytes
    const isShared = own > bytesMax * SHARE_OF_ONE
    if (bytes > 0 && (isShared || this.#bytes + bytes > bytesMax)) {
      throw new GovernorError('OVERLOADED', {
        detail: isShared ? 'forms of this caller on disk' : 'forms of all callers on disk',
        headers: { 'retry-after': '1' },
      })
    }
    this.#bytes += bytes
    if (own === 0) this.#heldBytes.delete(holder)
    else this.#heldBytes.set(holder, own)
  }
}

/** What a file asks of its spool; both throw where it does not get it. */
interface Room {
  readonly hold: (bytes: number) => void
  readonly checkRoom: (bytes: number) => Promise<void>
}

/** One file without a name. Not for several writers at once. */
export class SpooledFile {
  readonly #handle: FileHandle
  readonly #room: Room
  #bytes = 0
  #heldBytes = 0
  #isClosed = false

  constructor(handle: FileHandle, room: Room) {
    this.#handle = handle
    this.#room = room
  }

  /** Its length. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Throws OVERLOADED before, and SPOOL_UNAVAILABLE where the disk does not take them; the file is given
   * back then, so that the refusal can be recorded on that disk.
   */
  async append(chunks: readonly Buffer[]): Promise<void> {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    this.#room.hold(bytes)
    this.#heldBytes += bytes
    // It may have been closed meanwhile, and what it held given back.
    if (this.#isClosed) this.#release()
    try {
      await this.#room.checkRoom(bytes)
      // Where several writes are needed for all of it, `writev` says so; `write` of one buffer, too.
      const whole = Buffer.concat(chunks, bytes)
      for (let at = 0; at < bytes;) {
        const { bytesWritten } = await this.#handle.write(whole, at, bytes - at, this.#bytes)
        at += bytesWritten
        this.#bytes += bytesWritten
      }
    } catch (cause) {
      await this.#end()
      throw new GovernorError('SPOOL_UNAVAILABLE', { cause })
    }
  }

  /** The bytes from `start` up to `end`, all of them. Throws SPOOL_UNAVAILABLE. */
  async read(start: number, end: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(end - start)
    try {
      for (let at = 0; at < buffer.length;) {
        const { bytesRead } = await this.#handle.read(buffer, at, buffer.length - at, start + at)
        if (bytesRead === 0) throw new Error('the file is shorter than it was')
        at += bytesRead
      }
    } catch (cause) {
      throw new GovernorError('SPOOL_UNAVAILABLE', { cause })
    }
    return buffer
  }

  /** Gives it back, after what is being read or written. Safe to call twice; never throws. */
  close(): void {
    void this.#end()
  }

  async #end(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#release()
    await this.#handle.close().catch(() => {})
  }

  #release(): void {
    this.#room.hold(-this.#heldBytes)
    this.#heldBytes = 0
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** On a disk that cannot be written it stays: whatever is wrong there is said by those who write. */
function removeLeft(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // See above.
  }
}
