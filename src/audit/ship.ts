import { Worker } from 'node:worker_threads'

import type { ShipConfig } from '../config/snapshot.ts'
import type { Log } from '../log.ts'
import type { Metrics, PoolState } from '../metrics.ts'
import type { Room } from './make-room.ts'
import { poolCells, poolState } from './pool-cells.ts'
import { backoffMs } from './ship-backoff.ts'
import type { ShipWorkerOptions } from './ship-worker.ts'
import type { Fork } from './shipper.ts'
import { sinkName } from './sink-name.ts'

/** How far shipping is, as its thread tells it. */
export interface ShipState {
  /** Entries that wait. */
  readonly entries: number
  /** µs since 1970 of the oldest; 0 when none waits. */
  readonly oldestUs: number
  /** Where the chain of this process stands in the sink. */
  readonly epoch: number
  readonly seq: number
  /** Whether the last attempt worked and this process's own chain is not forked. */
  readonly takes: boolean
  /** Why the last attempt did not work. */
  readonly why: string | null
  readonly forks: number
}

/** What the thread says. */
export type ShipWord =
  | { readonly kind: 'state'; readonly state: ShipState }
  | { readonly kind: 'fork'; readonly fork: Fork }
  | { readonly kind: 'dead'; readonly entries: number }
  /** Shipped entries were removed, or could not be. */
  | { readonly kind: 'room'; readonly room: Room }
  | { readonly kind: 'no room'; readonly why: string }

/** What it is told. */
export type ShipOrder =
  | { readonly kind: 'wake' }
  | { readonly kind: 'drain' }
  | { readonly kind: 'sink'; readonly sink: ShipConfig }

/** What is shipped from the log at `path`, and where to. */
export interface ShippingOptions {
  readonly path: string
  readonly sink: ShipConfig
  /** 16 bytes: the writer of this process. */
  readonly writerId: Uint8Array
  /** `audit.local_max`: near it shipped entries are removed. */
  readonly localBytesMax: number
  readonly version: string
  readonly metrics: Metrics
  readonly log: Log
  /** The thread's program; another one in tests. */
  readonly program?: URL
}

interface Waiter {
  readonly epoch: number
  readonly seq: number
  readonly done: (shipped: boolean) => void
}

const NOTHING: ShipState = {
  entries: 0,
  oldestUs: 0,
  epoch: 0,
  seq: 0,
  takes: true,
  why: null,
  forks: 0,
}

/**
 * Shipping as this process sees it: a thread that reads the log and sends it on, what it says in
 * metrics and log lines, and whoever waits for it with `ack: postgres`. Nothing it does, or fails to
 * do, reaches a call otherwise.
 */
export class Shipping {
  readonly #options: ShippingOptions
  /** Null between its death and the next start. */
  #worker: Worker | null = null
  /** True, when it ends. */
  #exited: Promise<true> = Promise.resolve(true)
  readonly #cells = poolCells()
  #sink: ShipConfig
  #state = NOTHING
  /** Deaths in a row without anything shipped in between. */
  #deaths = 0
  #restart: NodeJS.Timeout | null = null
  #isOver = false
  #waiters: Waiter[] = []

  private constructor(options: ShippingOptions) {
    this.#options = options
    this.#sink = options.sink
  }

  /**
   * Starts the thread; whether the place can be reached shows later, in `state`. A thread that dies is
   * said, and started again after a while: what it had not shipped is on the disk.
   */
  static start(options: ShippingOptions): Shipping {
    const shipping = new Shipping(options)
    shipping.#startThread()
    return shipping
  }

  #startThread(): void {
    const { path, writerId, localBytesMax, version } = this.#options
    const { program = new URL('./ship-worker.ts', import.meta.url) } = this.#options
    const workerData: ShipWorkerOptions = {
      path,
      sink: this.#sink,
      writer: Buffer.from(writerId).toString('hex'),
      localBytesMax,
      version,
      cells: this.#cells,
    }
    // Those of a thread that died are gone.
    this.#cells.fill(0)
    const worker = new Worker(program, {
      workerData,
      // What this process was told to load first (the check of its Node, a loader) is not for the thread.
      execArgv: [],
      // Two batches of a megabyte as they are encoded, and what a client of PostgreSQL needs.
      resourceLimits: { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 96 },
    })
    let why: Error | null = null
    worker.on('message', (word: ShipWord) => this.#hear(word))
    worker.on('error', (error) => (why = error as Error))
    this.#exited = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#worker = null
        this.#die(why)
        resolve(true)
      })
    })
    this.#worker = worker
  }

  /** To PostgreSQL; undefined where it ships to something else. */
  get connections(): PoolState | undefined {
    return this.#sink.kind === 'postgres' ? poolState(this.#cells) : undefined
  }

  get state(): ShipState {
    return this.#state
  }

  /** Ships to another place, or with another password, from now on. */
  use(sink: ShipConfig): void {
    if (JSON.stringify(sink) === JSON.stringify(this.#sink)) return
    this.#sink = sink
    this.#order({ kind: 'sink', sink })
  }

  /** There is something new; without it the thread looks a few times a second. */
  wake(): void {
    this.#order({ kind: 'wake' })
  }

  /** Whether this entry of this process arrives within `withinMs`. */
  arrived(
    place: { readonly epoch: number; readonly seq: number },
    withinMs: number,
  ): Promise<boolean> {
    if (this.#has(place)) return Promise.resolve(true)
    if (this.#worker === null) return Promise.resolve(false)
    return new Promise((resolve) => {
      const done = (shipped: boolean) => {
        clearTimeout(timer)
        resolve(shipped)
      }
      const waiter = { ...place, done }
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter)
        done(false)
      }, withinMs)
      this.#waiters.push(waiter)
    })
  }

  /** Ships what is there, for at most `withinMs`, and says what could not be. */
  async drain(withinMs: number): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#restart ?? undefined)
    const isRunning = this.#worker !== null
    this.#order({ kind: 'drain' })
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), withinMs)
    })
    const whole = (await Promise.race([this.#exited, tooLate])) && isRunning
    clearTimeout(timer)
    await this.#worker?.terminate()
    const { entries, why } = this.#state
    if (whole && entries === 0) return
    // Null: its thread had not come as far as counting them.
    const waiting = this.#state === NOTHING ? null : entries
    this.#options.log.error(
      { entries: waiting, place: sinkName(this.#sink), why },
      'Not shipped before the end: the next start ships them, or governor audit ship',
    )
  }

  #order(order: ShipOrder): void {
    const port = this.#worker
    port?.postMessage(order)
  }

  #has({ epoch, seq }: { readonly epoch: number; readonly seq: number }): boolean {
    const { state } = this
    return state.epoch > epoch || (state.epoch === epoch && state.seq >= seq)
  }

  #hear(word: ShipWord): void {
    const { log, metrics } = this.#options
    if (word.kind === 'dead') {
      metrics.auditDeadLetters.inc({}, word.entries)
      log.error(
        { entries: word.entries },
        'Entries that PostgreSQL cannot take as text went to governor.dead_letters, whole',
      )
    } else if (word.kind === 'fork') {
      log.error(
        { ...word.fork },
        'Fork: this chain stands elsewhere in PostgreSQL than here, and is not shipped. Was the volume copied or restored, or a log edited?',
      )
    } else if (word.kind === 'room') {
      log.info(
        { ...word.room },
        'Shipped entries make room: the oldest are being removed (audit.local_max)',
      )
    } else if (word.kind === 'no room') {
      log.error({ why: word.why }, 'Shipped entries could not be removed to make room')
    } else this.#note(word.state)
  }

  #note(state: ShipState): void {
    const { log } = this.#options
    const place = sinkName(this.#sink)
    if (state.why !== null && state.why !== this.#state.why) {
      log.warn({ place, why: state.why }, 'Entries cannot be shipped; they wait on the disk')
    } else if (state.why === null && this.#state.why !== null) {
      log.info({ place, entries: state.entries }, 'Entries are shipped again')
    }
    this.#state = state
    if (state.why === null) this.#deaths = 0
    if (this.#waiters.length === 0) return
    const waiting: Waiter[] = []
    for (const waiter of this.#waiters) {
      if (this.#has(waiter)) waiter.done(true)
      else waiting.push(waiter)
    }
    this.#waiters = waiting
  }

  #die(error: Error | null): void {
    for (const { done } of this.#waiters.splice(0)) done(false)
    if (this.#isOver) return
    this.#state = { ...this.#state, takes: false }
    this.#deaths++
    const inMs = backoffMs(this.#deaths, Math.random())
    this.#options.log.fatal(
      { err: error, inMs: Math.round(inMs) },
      'The shipping thread died; it is started again, and entries wait on the disk until then',
    )
    this.#restart = setTimeout(() => this.#startAgain(), inMs)
    this.#restart.unref()
  }

  #startAgain(): void {
    try {
      this.#startThread()
    } catch (error) {
      // No thread can be made, for lack of memory, say: a reason to wait, not to end.
      this.#die(error as Error)
    }
  }
}
