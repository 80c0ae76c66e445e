import type { GovernorError } from '../errors.ts'
import { BODY_CHARS_MAX, charsOf, COUNT, putEntry, REQUEST_ID_CHARS_MAX } from './batch.ts'
import type { Shared, TextEntry } from './batch.ts'
import { hasWaiter, type Waiting } from './wal-types.ts'

/** Entries that wait while the log does not answer; at 2 KiB each, 32 MiB. */
const ENTRIES_MAX = 16_384
const CHARS_MAX = 32 * 1024 * 1024

/** The entries of this process that the audit thread has not been handed yet, oldest first, within a maximum. */
export class WaitingEntries {
  #entries: Waiting[] = []
  #chars = 0

  get length(): number {
    return this.#entries.length
  }

  /** Whether a call waits for one of them. */
  get areAwaited(): boolean {
    return this.#entries.some(hasWaiter)
  }

  /** Whether there is room for this entry, and a batch could hold it. */
  fits(entry: TextEntry): boolean {
    const chars = charsOf(entry)
    return (
      chars <= BODY_CHARS_MAX &&
      entry.requestId.length <= REQUEST_ID_CHARS_MAX &&
      this.#entries.length < ENTRIES_MAX &&
      this.#chars + chars <= CHARS_MAX
    )
  }

  /** Takes one that `fits`. */
  push(waiting: Waiting): void {
    this.#entries.push(waiting)
    this.#chars += charsOf(waiting.entry)
  }

  /** Writes as many as one batch holds to the thread's memory, and gives them away. */
  fill(shared: Shared): Waiting[] {
    let count = 0
    let at = 0
    for (const { entry } of this.#entries) {
      const next = putEntry(shared, count, at, entry)
      if (next === -1) break
      at = next
      count++
      this.#chars -= charsOf(entry)
    }
    shared.control[COUNT] = count
    if (count < this.#entries.length) return this.#entries.splice(0, count)
    const batch = this.#entries
    this.#entries = []
    return batch
  }

  /** After a failure: rejects every call that waits, for these or for its own; what nobody waits for stays. */
  refuse(batch: readonly Waiting[], error: GovernorError): void {
    const all = [...batch, ...this.#entries]
    this.clear()
    for (const waiting of all) {
      if (waiting.reject === null) this.push(waiting)
      else waiting.reject(error)
    }
  }

  /** Takes away those that are late and rejects them: what the thread never had cannot land. */
  expire(isLate: (waiting: Waiting) => boolean, error: GovernorError): void {
    this.#entries = this.#entries.filter((waiting) => {
      if (!isLate(waiting)) return true
      this.#chars -= charsOf(waiting.entry)
      waiting.reject?.(error)
      return false
    })
  }

  /** Gives all of them so much more time. */
  putOff(timeMs: number): void {
    for (const waiting of this.#entries) waiting.deadlineMs += timeMs
  }

  some(is: (waiting: Waiting) => boolean): boolean {
    return this.#entries.some(is)
  }

  /** Forgets all of them; answers what they were. */
  clear(): readonly Waiting[] {
    const all = this.#entries
    this.#entries = []
    this.#chars = 0
    return all
  }
}
