import { randomBytes } from 'node:crypto'
import { Worker } from 'node:worker_threads'

import { monotonicMs, wallMs } from '../clock.ts'
import {
  BATCH,
  CLOSE,
  COMMIT_MS,
  DURABLE_EPOCH,
  DURABLE_SEQ,
  ENDED,
  FAILED,
  FILE_BYTES,
  HEALTHY,
  newMemory,
  shareMemory,
  STATE,
} from './batch.ts'
import type { Shared, TextEntry } from './batch.ts'
import { WaitingEntries } from './waiting.ts'
import { hasWaiter, unavailable } from './wal-types.ts'
import type { Waiting, WalOptions, WalStats } from './wal-types.ts'
import type { WorkerAnswer, WorkerOptions } from './wal-worker.ts'
import { lostOutcomeBody } from './writer-body.ts'

export type { WalOptions, WalStats } from './wal-types.ts'

/** An entry nobody waits for is durable at latest after this and one commit. */
const QUEUE_MS = 100
/** How long the thread waits for a command that writes to the same file. */
const BUSY_MS = 2_000
/** How often what a failed batch left over is tried again. */
const RETRY_MS = 250
/** The longest step of the clock that looks for records that waited too long. */
const DEADLINE_STEP_MS = 250

/**
 * The audit log of this process. One batch is in flight, the next gathers here meanwhile: one
 * message and one fsync serve every entry of it, so cost per entry falls as load grows.
 */
export class Wal {
  readonly #options: WalOptions
  readonly #worker: Worker
  readonly #shared: Shared
  #recovered = 0
  readonly #waiting = new WaitingEntries()
  #inFlight: Waiting[] = []
  #alive = true
  #stuck = false
  #sending = false
  /** More than one call waited for the batch that landed last. */
  #hadCompany = false
  #closing: Promise<void> | null = null
  #committed = 0
  #lostTotal = 0
  #flushTimer: NodeJS.Timeout | null = null
  #deadlineTimer: NodeJS.Timeout | null = null
  #idle: (() => void)[] = []

  /** Of this process's chain; 16 bytes. */
  readonly writerId: Uint8Array

  private constructor(options: WalOptions, worker: Worker, data: WorkerOptions) {
    this.writerId = data.writerId
    this.#options = options
    this.#worker = worker
    this.#shared = shareMemory(data.memory)
  }

  /**
   * Opens the log or makes it, appends `writer.open` and, when exclusive, one outcome `interrupted`
   * for each call a former sidecar left open. Rejects with an Error that says why not: in use (with
   * the process that has it), newer schema, not writable.
   */
  static async open(options: WalOptions): Promise<Wal> {
    const memory = newMemory()
    const workerData: WorkerOptions = {
      path: options.path,
      writerId: randomBytes(16),
      role: options.exclusive ? 'run' : 'command',
      version: options.version,
      busyMs: BUSY_MS,
      localBytesMax: options.localBytesMax,
      recover: options.exclusive,
      exclusive: options.exclusive,
      sinceMs: wallMs(),
      signs: options.signs ?? false,
      memory,
    }
    const worker = new Worker(new URL('./wal-worker.ts', import.meta.url), {
      workerData,
      // What this process was told to load first (the check of its Node, a loader) is not for the thread.
      execArgv: [],
      // It holds one batch and SQLite's pages; V8 would let its heap grow to that of the main thread.
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 },
    })
    const wal = new Wal(options, worker, workerData)
    await wal.#start()
    return wal
  }

  /** False while decisions are refused: the last commit failed, hangs, or the thread is gone. */
  get healthy(): boolean {
    return this.#alive && !this.#stuck && this.#shared.control[HEALTHY] === 1
  }

  /** Why no decision is taken now: a fixed text; null while they are. */
  get refuses(): string | null {
    if (!this.#alive || this.#closing !== null) return 'it is closed'
    if (!this.healthy) return 'its disk does not take entries'
    return this.#fileBytes >= this.#options.localBytesMax ? 'it has reached audit.local_max' : null
  }

  /** Where this process's chain is durable up to: everything recorded until now is at or before it. */
  get place(): { readonly epoch: number; readonly seq: number } {
    const { figures } = this.#shared
    return { epoch: figures[DURABLE_EPOCH] ?? 0, seq: figures[DURABLE_SEQ] ?? 0 }
  }

  get stats(): WalStats {
    return {
      fileBytes: this.#fileBytes,
      queued: this.#waiting.length + this.#inFlight.length,
      committed: this.#committed,
      lastCommitMs: this.#shared.figures[COMMIT_MS] ?? 0,
      lostTotal: this.#lostTotal,
      recovered: this.#recovered,
    }
  }

  /**
   * Resolves when the entry is on the disk. Rejects with AUDIT_UNAVAILABLE when the log fails, is
   * full, or took longer than `commitMs`; a forwarding decision that lands all the same is followed
   * by an outcome `not_forwarded`, made here.
   */
  record(entry: TextEntry): Promise<void> {
    const { refuses } = this
    if (refuses !== null) return Promise.reject(unavailable(refuses))
    if (!this.#waiting.fits(entry)) {
      return Promise.reject(unavailable('too much waits for its disk'))
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = monotonicMs() + this.#options.commitMs
      this.#waiting.push({ entry, resolve, reject, deadlineMs, expired: false })
      this.#sendSoon()
      this.#watch()
    })
  }

  /**
   * Takes an entry nobody waits for: it rides with the next commit, at latest after 100 ms, and is
   * tried again while the log fails. Never throws; what does not fit is counted in `lostTotal`.
   */
  queue(entry: TextEntry): void {
    if (!this.#alive || !this.#waiting.fits(entry)) {
      this.#lostTotal++
      return
    }
    this.#waiting.push({ entry, resolve: null, reject: null, deadlineMs: Infinity, expired: false })
    this.#flushLater(QUEUE_MS)
  }

  /** Resolves when everything given so far is on the disk or was refused, at latest after `commitMs`. */
  flush(): Promise<void> {
    if (this.#waiting.length + this.#inFlight.length === 0 || !this.#alive) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#options.commitMs)
      this.#idle.push(() => {
        clearTimeout(timer)
        resolve()
      })
      this.#send()
    })
  }

  /**
   * Commits what waits, ends the chain with `writer.close` and releases the lock. Gives up after
   * `commitMs` and stops the thread then: the chain stays open and the next start closes its calls.
   */
  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  get #fileBytes(): number {
    return this.#shared.figures[FILE_BYTES] ?? 0
  }

  #start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#worker.on('message', (answer: WorkerAnswer) => {
        if (answer.kind === 'failed') this.#failed(answer.message)
        else if (answer.kind === 'checkpoint') this.#options.onCheckpoint?.(answer.note)
        else if (answer.kind === 'open') {
          this.#recovered = answer.recovered
          resolve()
        } else if (answer.kind === 'refused') {
          this.#alive = false
          reject(new Error(answer.message))
        }
      })
      this.#worker.on('error', (error) => {
        this.#die(error as Error)
        reject(error as Error)
      })
      this.#worker.on('exit', () => this.#die(new Error('The audit thread ended')))
    })
  }

  /**
   * Starts a commit: at once where calls come one by one, else at the end of this turn of the event
   * loop, so that requests which were read in one turn become one batch instead of one and a rest.
   */
  #sendSoon(): void {
    if (this.#sending || this.#inFlight.length > 0) return
    if (!this.#hadCompany) return this.#send()
    this.#sending = true
    setImmediate(() => {
      this.#sending = false
      this.#send()
    })
  }

  /** Starts a commit of what waits, unless one is running: its end starts the next. */
  #send(): void {
    if (this.#inFlight.length > 0 || this.#waiting.length === 0 || !this.#alive) return
    this.#inFlight = this.#waiting.fill(this.#shared)
    const { control } = this.#shared
    // A message would cost a clone, an event and a turn of the loop, 60 to 100 µs of waiting at c=1.
    const ended = Atomics.waitAsync(control, ENDED, control[ENDED] ?? 0)
    const batch = this.#inFlight
    this.#wake(BATCH)
    // A batch that failed is ended by its message; this may come before it or behind the next batch.
    const end = () => this.#inFlight === batch && control[FAILED] === 0 && this.#landed()
    if (ended.async) void ended.value.then(end)
  }

  #wake(state: number): void {
    Atomics.store(this.#shared.control, STATE, state)
    Atomics.notify(this.#shared.control, STATE)
  }

  #landed(): void {
    const batch = this.#inFlight
    this.#inFlight = []
    this.#stuck = false
    this.#committed += batch.length
    let calls = 0
    for (const waiting of batch) {
      if (waiting.resolve !== null) calls++
      if (waiting.expired) this.#landedLate(waiting.entry)
      else waiting.resolve?.()
    }
    this.#hadCompany = calls > 1
    this.#options.onCommit?.(this.#shared.figures[COMMIT_MS] ?? 0, batch.length)
    if (this.#waiting.areAwaited) this.#sendSoon()
    else this.#settle()
  }

  /** Nobody forwarded this call, unless it goes on without a record: it was told so before its decision landed. */
  #landedLate(entry: TextEntry): void {
    if (entry.onLate !== undefined) return entry.onLate()
    if (!entry.awaitsOutcome) return
    const occurredAtUs = wallMs() * 1000
    this.queue({
      kind: 'outcome',
      requestId: entry.requestId,
      occurredAtUs,
      awaitsOutcome: false,
      body: lostOutcomeBody(entry.requestId, occurredAtUs, 'not_forwarded'),
    })
  }

  #failed(message: string): void {
    const batch = this.#inFlight
    this.#inFlight = []
    this.#stuck = false
    this.#waiting.refuse(batch, unavailable('its disk does not take entries', message))
    this.#settle(RETRY_MS)
  }

  /** Nothing urgent is left: says so to `flush`, or sees to what waits a little later. */
  #settle(delayMs = QUEUE_MS): void {
    if (this.#waiting.length > 0) {
      if (this.#idle.length > 0 && this.healthy) this.#send()
      else this.#flushLater(delayMs)
      return
    }
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  #flushLater(delayMs: number): void {
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = null
      this.#send()
    }, delayMs)
  }

  /** One timer for all records: it looks for the expired a few times within `commitMs`. */
  #watch(): void {
    if (this.#deadlineTimer !== null) return
    const stepMs = Math.min(DEADLINE_STEP_MS, Math.max(5, this.#options.commitMs / 8))
    const dueMs = monotonicMs() + stepMs
    this.#deadlineTimer = setTimeout(() => {
      this.#deadlineTimer = null
      const nowMs = monotonicMs()
      // This process stood still, in a reload say: what landed meanwhile has not been heard of yet.
      if (nowMs - dueMs > DEADLINE_STEP_MS) this.#putOff(nowMs - dueMs)
      this.#expire(nowMs)
      if (this.#inFlight.some(hasWaiter) || this.#waiting.areAwaited) this.#watch()
    }, stepMs)
  }

  #putOff(timeMs: number): void {
    for (const waiting of this.#inFlight) waiting.deadlineMs += timeMs
    this.#waiting.putOff(timeMs)
  }

  #expire(nowMs: number): void {
    const late = (waiting: Waiting) => waiting.deadlineMs <= nowMs && !waiting.expired
    if (!this.#inFlight.some(late) && !this.#waiting.some(late)) return
    this.#stuck = true
    const error = unavailable(`its disk took longer than ${this.#options.commitMs} ms`)
    for (const waiting of this.#inFlight) {
      if (!late(waiting)) continue
      waiting.expired = true
      waiting.reject?.(error)
    }
    this.#waiting.expire(late, error)
  }

  async #end(): Promise<void> {
    if (!this.#alive) return
    const exited = new Promise<void>((resolve) => {
      this.#worker.once('exit', () => resolve())
    })
    await this.flush()
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#options.commitMs)
    })
    if (this.#inFlight.length === 0) this.#wake(CLOSE)
    await Promise.race([exited, tooLate])
    clearTimeout(timer)
    await this.#worker.terminate()
  }

  #die(error: Error): void {
    if (!this.#alive) return
    this.#alive = false
    for (const timer of [this.#flushTimer, this.#deadlineTimer]) clearTimeout(timer ?? undefined)
    for (const { reject } of [...this.#inFlight, ...this.#waiting.clear()]) {
      if (reject === null) this.#lostTotal++
      else reject(unavailable('it is closed', error.message))
    }
    this.#inFlight = []
    for (const resolve of this.#idle.splice(0)) resolve()
    if (this.#closing === null) this.#options.onDeath?.(error)
  }
}
