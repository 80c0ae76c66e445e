import { Worker } from 'node:worker_threads'

import { poolCells, poolState } from '../audit/pool-cells.ts'
import { GovernorError } from '../errors.ts'
import type { PoolState } from '../metrics.ts'
import type { AuditAnswer, AuditQuestion } from './questions.ts'

/** The first question of a large log also makes its index. */
const ANSWER_MS = 30_000
/** The thread ends when nobody has asked for as long: it is memory that a sidecar has no use for. */
const IDLE_MS = 10_000
const WAITING_MAX = 8

interface Waiting {
  readonly question: AuditQuestion
  readonly resolve: (answer: AuditAnswer) => void
  readonly reject: (error: GovernorError) => void
}

/**
 * Asks a thread of its own to read the audit, one question at a time, so that no call waits for it. The
 * thread begins with the first question and ends when it is idle, late or dead.
 */
export class AuditReader {
  readonly #waiting: Waiting[] = []
  readonly #cells = poolCells()
  #worker: Worker | null = null
  #asked: Waiting | null = null
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** Connections of its thread to PostgreSQL. */
  get connections(): PoolState {
    return poolState(this.#cells)
  }

  /** Rejects with OVERLOADED (503) when too many wait or the answer is late, and when the thread dies. */
  ask(question: AuditQuestion): Promise<AuditAnswer> {
    if (this.#closed) return Promise.reject(new GovernorError('DRAINING'))
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(busy(`${WAITING_MAX} questions about the audit wait`))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ question, resolve, reject })
      this.#next()
    })
  }

  /** Ends the thread; what is under way is refused. */
  async close(): Promise<void> {
    this.#closed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new GovernorError('DRAINING'))
    await this.#end(new GovernorError('DRAINING'))
  }

  #next(): void {
    if (this.#asked !== null) return
    const next = this.#waiting.shift()
    clearTimeout(this.#timer)
    if (next === undefined) {
      this.#timer = setTimeout(() => void this.#end(busy('idle')), IDLE_MS).unref()
      return
    }
    this.#asked = next
    const port: Worker | null = (this.#worker ??= this.#open())
    port?.postMessage(next.question)
    this.#timer = setTimeout(() => {
      void this.#end(busy(`the audit was not read within ${ANSWER_MS / 1000} s`))
    }, ANSWER_MS).unref()
  }

  #open(): Worker {
    const worker = new Worker(new URL('./reader-worker.ts', import.meta.url), {
      execArgv: [],
      workerData: this.#cells,
    })
    worker.unref()
    worker.on('message', (answer: AuditAnswer) => {
      if (this.#worker !== worker) return
      const asked = this.#asked
      this.#asked = null
      asked?.resolve(answer)
      this.#next()
    })
    const died = (cause: unknown) => {
      if (this.#worker === worker) void this.#end(new GovernorError('INTERNAL', { cause }))
    }
    worker.on('error', died)
    worker.on('exit', died)
    return worker
  }

  async #end(error: GovernorError): Promise<void> {
    clearTimeout(this.#timer)
    const worker = this.#worker
    const asked = this.#asked
    this.#worker = this.#asked = null
    this.#cells.fill(0)
    asked?.reject(error)
    const ended = worker?.terminate()
    if (!this.#closed && this.#waiting.length > 0) this.#next()
    await ended
  }
}

function busy(detail: string): GovernorError {
  return new GovernorError('OVERLOADED', { detail, headers: { 'retry-after': '1' } })
}
