import { randomBytes } from 'node:crypto'

import { wallMs } from '../clock.ts'
import type { Kind } from './chain.ts'
import { aboutLog, isEmpty, newestOf, takeNewest } from './file.ts'
import type { EpochFile } from './file.ts'
import { takeLock } from './lock.ts'
import { Signer } from './signing-key.ts'
import { own, Writer } from './writer.ts'

interface PlainEntry {
  readonly kind: Kind
  readonly body: string
}

/** How long a command waits for the sidecar's commits before it says that the log is busy. */
const BUSY_MS = 5_000

/**
 * Appends entries for a command such as `keys create`, durable when this returns: a writer of its
 * own opens, appends, signs and closes, beside a running sidecar or without one. Throws an Error when the
 * log cannot be written; then the command must not do what it wanted to record.
 */
export function appendOnce(path: string, version: string, entries: readonly PlainEntry[]): void {
  try {
    appendAll(path, version, entries)
  } catch (error) {
    throw aboutLog(path, error)
  }
}

function appendAll(path: string, version: string, entries: readonly PlainEntry[]): void {
  const writer = new Writer({
    ...fileToAppendTo(path),
    writerId: randomBytes(16),
    role: 'command',
    version,
    busyMs: BUSY_MS,
    pageBytesMax: 0,
    recover: false,
    continues: null,
    openCalls: [],
    signer: Signer.open(path, wallMs()),
  })
  try {
    const nowUs = wallMs() * 1000
    writer.begin()
    for (const { kind, body } of entries) writer.append(own(kind, '', nowUs, body))
    writer.commit()
  } catch (error) {
    writer.abandon()
    throw error
  }
  writer.close()
}

/** A file that has no entry yet is one a sidecar makes right now, or one it left so when it died. */
function fileToAppendTo(path: string): EpochFile {
  const newest = newestOf(path)
  if (newest.epoch === 1 || !isEmpty(newest.path)) return newest
  let lock
  try {
    lock = takeLock(path, wallMs())
  } catch {
    return newest
  }
  try {
    return takeNewest(path)
  } finally {
    lock.release()
  }
}
