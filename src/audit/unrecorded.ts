import { monotonicMs, wallMs } from '../clock.ts'
import type { Trail } from '../exchange.ts'
import type { Log } from '../log.ts'
import type { TextEntry } from './batch.ts'
import { Losses } from './losses.ts'
import type { Wal } from './wal.ts'

/** How often a log line says that entries are still being lost. */
const SAY_MS = 10_000
/** A disk that takes an entry now and then is not told of each time. */
const TELL_MS = 1_000
const CALLS_UNRECORDED =
  'The audit does not take entries: calls go on without a record (audit.required: false)'
const ENTRIES_LOST = 'The audit does not take entries, and has no room for more: some are lost'

/**
 * Calls that go on though the log does not take their entries (`audit.required: false`), and everything
 * else that the log had no room for. Nothing of it is silent: the answer has a header, the metric counts,
 * log lines say that it goes on, and once the log takes entries again one of them says what is missing.
 */
export class Unrecorded {
  readonly #wal: Wal
  readonly #log: Log
  readonly #losses = new Losses()
  /** Outcomes of calls whose decision may still land late. */
  readonly #ended = new WeakMap<Trail, TextEntry>()
  #seen = 0
  #saidMs = -Infinity
  #toldMs = -Infinity

  constructor(wal: Wal, log: Log) {
    this.#wal = wal
    this.#log = log
  }

  /** Entries lost so far. */
  get total(): number {
    this.#countQueue(wallMs())
    return this.#losses.total
  }

  /** Whether the decision is on the disk; where it is not, `trail` says so and the loss is counted. */
  async record(trail: Trail, entry: TextEntry): Promise<boolean> {
    try {
      await this.#wal.record({ ...entry, onLate: () => this.#landed(trail) })
      return true
    } catch (error) {
      trail.unrecorded = true
      this.#losses.decision(wallMs())
      this.#say(error)
      return false
    }
  }

  /** The outcome of a call without a decision in the log: kept only in case that lands late. */
  outcome(trail: Trail, entry: TextEntry): void {
    this.#ended.set(trail, entry)
    this.#losses.entries(1, entry.occurredAtUs / 1000)
  }

  /** Tells the log what is missing, soon after it `takes` entries again; at the end at once. */
  tell(takes: boolean, isEnd = false): void {
    const nowMs = wallMs()
    this.#countQueue(nowMs)
    const lost = this.#losses.pending
    if (lost === null) return
    if (!takes) return this.#say(null)
    if (!isEnd && monotonicMs() - this.#toldMs < TELL_MS) return
    this.#toldMs = monotonicMs()
    this.#saidMs = -Infinity
    const entry = this.#losses.take(nowMs)
    if (entry !== null) this.#wal.queue({ ...entry, requestId: '', awaitsOutcome: false })
    this.#log.warn({ ...lost }, 'The audit takes entries again; one of them says what was lost')
  }

  /** What the log was never told of, for the end. */
  finish(): void {
    this.#countQueue(wallMs())
    const lost = this.#losses.pending
    if (lost !== null)
      this.#log.error({ ...lost }, 'Ended before the audit could say what was lost')
  }

  #landed(trail: Trail): void {
    trail.recorded = true
    const outcome = this.#ended.get(trail)
    this.#losses.landed(outcome === undefined ? 1 : 2)
    if (outcome !== undefined) this.#wal.queue(outcome)
  }

  #countQueue(nowMs: number): void {
    const { lostTotal } = this.#wal.stats
    this.#losses.entries(lostTotal - this.#seen, nowMs)
    this.#seen = lostTotal
  }

  #say(error: unknown): void {
    const nowMs = monotonicMs()
    if (nowMs - this.#saidMs < SAY_MS) return
    this.#saidMs = nowMs
    this.#log.error(
      { ...this.#losses.pending, err: error ?? undefined },
      this.#losses.pending?.calls === 0 ? ENTRIES_LOST : CALLS_UNRECORDED,
    )
  }
}
