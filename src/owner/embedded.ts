import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import { every, wallMs } from '../clock.ts'
import type { OwnerAnswer } from './embedded-worker.ts'
import { Shares } from './shares.ts'
import { OwnerReader, type OwnerResult, type OwnerWork, type Swept } from './sqlite.ts'
import {
  AWAY,
  counted,
  FULL,
  type Owned,
  type OwnerBounds,
  type OwnerStore,
  SWEEP_MS,
  SWEPT_MAX,
  within,
} from './store.ts'

interface Waiting {
  readonly work: OwnerWork
  resolve(result: OwnerResult): void
  reject(error: Error): void
}

/** More than these at once is a disk that has stopped. */
const WAITING_MAX = 10_000

/**
 * Ownership in one SQLite file, for one sidecar. Records are read here, a few microseconds each, and
 * written by a thread: one batch in flight, all that comes meanwhile is the next.
 */
export class EmbeddedOwners implements OwnerStore {
  readonly #reader: OwnerReader
  readonly #worker: Worker
  readonly #bounds: OwnerBounds
  readonly #stopSweeping: () => void
  #queue: Waiting[] = []
  #running: readonly Waiting[] = []
  readonly #shares: Shares
  #failure: string | null = null

  private constructor(path: string, worker: Worker, bounds: OwnerBounds) {
    this.#reader = new OwnerReader(path)
    this.#worker = worker
    this.#bounds = bounds
    this.#shares = new Shares(bounds.recordsMax)
    worker.on('message', (answer: OwnerAnswer) => this.#answered(answer))
    worker.on('error', (error) => this.#end(String(error)))
    worker.on('exit', () => this.#end('its thread has ended'))
    this.#stopSweeping = every(SWEEP_MS, () => void this.sweep())
  }

  /** Opens the file, making it where it is missing. Rejects with an Error that names it. */
  static async open(path: string, bounds: OwnerBounds): Promise<EmbeddedOwners> {
    const file = new URL('embedded-worker.ts', import.meta.url)
    const worker = new Worker(file, { workerData: { path }, execArgv: [] })
    const [first] = (await once(worker, 'message')) as [OwnerAnswer]
    if (first.kind === 'refused') {
      await worker.terminate()
      throw new Error(first.message)
    }
    const store = new EmbeddedOwners(path, worker, bounds)
    await store.sweep()
    return store
  }

  get records(): number {
    return this.#shares.total
  }

  fault(tenant: string): string | null {
    if (this.#failure !== null) return AWAY
    return this.#shares.isFull(tenant) ? FULL : null
  }

  async find(ids: readonly string[]): Promise<ReadonlyMap<string, Owned>> {
    const found = this.#reader.find(ids, wallMs() - this.#bounds.expiresMs)
    return counted(found, ids, this.#bounds)
  }

  async claim(claims: readonly Owned[], nowMs: number): Promise<readonly string[]> {
    const others = (await this.#do({ kind: 'claim', claims, nowMs })) as readonly string[]
    this.#shares.add(claims.map(({ tenant }) => tenant))
    return others
  }

  async contest(ids: readonly string[]): Promise<void> {
    await this.#do({ kind: 'contest', ids })
  }

  async settle(id: string): Promise<boolean> {
    return (await this.#do({ kind: 'settle', id })) === true
  }

  async forget(id: string, tenant: string): Promise<void> {
    await this.#do({ kind: 'forget', id, tenant })
  }

  async close(): Promise<void> {
    this.#stopSweeping()
    const ended = once(this.#worker, 'exit')
    this.#tell(null)
    await ended
    this.#reader.close()
  }

  async sweep(): Promise<void> {
    const beforeMs = wallMs() - this.#bounds.expiresMs
    try {
      const work = this.#do({ kind: 'sweep', beforeMs, rowsMax: SWEPT_MAX })
      const { removed, left } = (await work) as Swept
      this.#shares.recount(left)
      if (removed > 0) this.#bounds.count('expired', removed)
      this.#failure = null
    } catch (error) {
      this.#failure ??= String(error)
    }
  }

  #do(work: OwnerWork): Promise<OwnerResult> {
    if (this.#queue.length >= WAITING_MAX) return Promise.reject(new Error('the disk has stopped'))
    const { promise, resolve, reject } = Promise.withResolvers<OwnerResult>()
    this.#queue.push({ work, resolve, reject })
    if (this.#running.length === 0) this.#send()
    return within(this.#bounds.timeoutMs, promise)
  }

  #send(): void {
    this.#running = this.#queue
    this.#queue = []
    if (this.#running.length > 0) this.#tell(this.#running.map(({ work }) => work))
  }

  /** The next batch; null ends the thread. */
  #tell(works: readonly OwnerWork[] | null): void {
    const port: Worker | null = this.#worker
    port?.postMessage(works)
  }

  #answered(answer: OwnerAnswer): void {
    const done = this.#running
    if (answer.kind === 'done') {
      done.forEach((each, index) => each.resolve(answer.results[index] ?? null))
      this.#failure = null
    } else if (answer.kind === 'failed') {
      this.#failure = answer.message
      for (const each of done) each.reject(new Error(answer.message))
    }
    this.#send()
  }

  #end(why: string): void {
    this.#failure = why
    for (const each of [...this.#running, ...this.#queue]) each.reject(new Error(why))
    this.#queue = []
    this.#running = []
  }
}
