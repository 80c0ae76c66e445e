import { parentPort, workerData } from 'node:worker_threads'

import { monotonicMs, wallMs } from '../clock.ts'
import {
  BATCH,
  CLOSE,
  COMMIT_MS,
  COUNT,
  DURABLE_EPOCH,
  DURABLE_SEQ,
  ENDED,
  FAILED,
  FILE_BYTES,
  HEALTHY,
  IDLE,
  shareMemory,
  STATE,
  takeEntries,
} from './batch.ts'
import type { Shared, SharedMemory } from './batch.ts'
import { Epochs } from './epochs.ts'
import type { EpochsOptions } from './epochs.ts'
import { aboutLog } from './file.ts'
import { takeLock } from './lock.ts'
import type { Lock } from './lock.ts'
import { Signer } from './signing-key.ts'

/**
 * The thread that owns the audit log's connection. It sleeps until the main thread sets a state,
 * commits the batch, answers with one message, and never turns its event loop in between.
 */

/** What `wal.ts` starts this thread with. */
export interface WorkerOptions extends Omit<EpochsOptions, 'signer' | 'onCheckpoint'> {
  readonly memory: SharedMemory
  readonly exclusive: boolean
  readonly sinceMs: number
  /** Sign checkpoints, and make the key when there is none. */
  readonly signs: boolean
}

/** What this thread says; of a batch that was committed it only counts that it ended. */
export type WorkerAnswer =
  | { readonly kind: 'open'; readonly recovered: number }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'checkpoint'; readonly note: string }
  | { readonly kind: 'closed' }

/** How long the thread sleeps when nothing is wrong; then it checkpoints and looks at the files. */
const IDLE_MS = 1_000
/**
 * What can wait is done once no batch came for so long: right behind a commit it would hold up, on a
 * machine with few cores, the very call that the commit let go.
 */
const SOON_MS = 5
/** How often a log that failed is tried again. */
const RETRY_MS = 250
const HEARTBEAT_MS = 60_000

function answer(message: WorkerAnswer): void {
  const port = parentPort
  port?.postMessage(message)
}

function main(options: WorkerOptions): void {
  const shared = shareMemory(options.memory)
  let lock: Lock | null = null
  let log: Epochs
  try {
    if (options.exclusive) lock = takeLock(options.path, options.sinceMs)
    const signer = options.signs ? Signer.open(options.path, wallMs()) : null
    const onCheckpoint = (signed: string) => answer({ kind: 'checkpoint', note: signed })
    log = new Epochs({ ...options, signer, onCheckpoint })
  } catch (error) {
    lock?.release()
    answer({ kind: 'refused', message: aboutLog(options.path, error).message })
    return
  }
  note(shared, log)
  answer({ kind: 'open', recovered: log.recovered })
  serve(shared, log)
  lock?.release()
  answer({ kind: 'closed' })
}

function serve(shared: Shared, log: Epochs): void {
  let committedMs = monotonicMs()
  let isBehind = false
  for (;;) {
    Atomics.wait(shared.control, STATE, IDLE, isBehind ? SOON_MS : log.healthy ? IDLE_MS : RETRY_MS)
    const state = Atomics.load(shared.control, STATE)
    if (state === BATCH) {
      commitBatch(shared, log)
      attempt(() => log.checkpoint(false))
      if (log.isBehind) attempt(() => log.sign(false))
      committedMs = monotonicMs()
      isBehind = true
    } else if (state === IDLE && isBehind) {
      attempt(() => log.sign(false))
      isBehind = false
    } else if (state === CLOSE) {
      attempt(() => log.close())
      return
    } else {
      const beatDue = !log.healthy || monotonicMs() - committedMs >= HEARTBEAT_MS
      if (beatDue) committedMs = monotonicMs()
      attempt(() => rest(log, beatDue))
    }
    note(shared, log)
  }
}

/** Housekeeping of a quiet moment. */
function rest(log: Epochs, beatDue: boolean): void {
  log.look(monotonicMs())
  if (beatDue) log.heartbeat()
  log.sign(true)
  log.checkpoint(true)
}

function commitBatch(shared: Shared, log: Epochs): void {
  const startedMs = monotonicMs()
  let failure: WorkerAnswer | null = null
  try {
    log.append(takeEntries(shared, shared.control[COUNT] ?? 0))
  } catch (error) {
    failure = { kind: 'failed', message: (error as Error).message }
  }
  shared.figures[COMMIT_MS] = monotonicMs() - startedMs
  note(shared, log)
  // Before the answer, so that the next batch is never taken for the end of this one.
  Atomics.store(shared.control, STATE, IDLE)
  Atomics.store(shared.control, FAILED, failure === null ? 0 : 1)
  // Also after a failure: who still waited for this batch would take the end of the next for its own.
  Atomics.add(shared.control, ENDED, 1)
  Atomics.notify(shared.control, ENDED)
  if (failure !== null) answer(failure)
}

/** Work nobody waits for; that it failed shows in `healthy`, and the retry is the next round. */
function attempt(work: () => void): void {
  try {
    work()
  } catch {
    // The log has noted it.
  }
}

function note(shared: Shared, log: Epochs): void {
  shared.figures[FILE_BYTES] = log.fileBytes
  shared.figures[DURABLE_EPOCH] = log.epoch
  shared.figures[DURABLE_SEQ] = log.durableSeq
  Atomics.store(shared.control, HEALTHY, log.healthy ? 1 : 0)
}

main(workerData as WorkerOptions)
