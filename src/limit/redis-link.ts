import { hash } from 'node:crypto'

import { Redis } from 'ioredis'

import { monotonicMs } from '../clock.ts'
import { PRESENT, RENEW, RESERVE, SETTLE } from './redis-scripts.ts'

/** The longest a call waits for Redis. */
const COMMAND_MS = 100
/** How long a start waits for the first answer; it goes on without. */
const START_MS = 1_000
const RECONNECT_MS_MAX = 2_000
/** So many failures in a row, or a closed connection, and Redis is left alone for a while. */
const FAILURES_MAX = 3
const REST_MS = 500
const REST_MS_MAX = 8_000
/** A Redis that fails again within this time of coming back rests twice as long. */
const SETTLED_MS = 30_000
const WHY_CHARS_MAX = 200

const SCRIPTS = { RESERVE, SETTLE, RENEW, PRESENT } as const
export type ScriptName = keyof typeof SCRIPTS

/** What a script is called with. */
export interface ScriptCall {
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
}

export interface LinkOptions {
  /** redis:// or rediss://, with user and password where needed. */
  readonly url: string
  readonly onChange: (usable: boolean) => void
  /** The longest an answer is waited for; 100 ms. */
  readonly waitMs?: number
}

/**
 * A connection to Redis that never makes anybody wait for longer than 100 ms: what cannot be asked now
 * fails at once, nothing is queued or sent again. After failures it rests, then asks for itself
 * before calls may again (a circuit breaker; the rest grows while Redis comes and goes).
 */
export class RedisLink {
  readonly #redis: Redis
  readonly #waitMs: number
  readonly #onChange: (usable: boolean) => void
  readonly #shas: Readonly<Record<ScriptName, string>>
  #usable = false
  #closed = false
  #failures = 0
  #restMs = REST_MS
  #usableSinceMs = -Infinity
  #probe: NodeJS.Timeout | undefined
  #why = ''
  /** Time of Redis less our monotonic time, at least. */
  #offsetMs = 0

  /** Connects by itself. */
  constructor({ url, onChange, waitMs = COMMAND_MS }: LinkOptions) {
    this.#onChange = onChange
    this.#waitMs = waitMs
    const shas = Object.entries(SCRIPTS).map(([name, lua]) => [name, hash('sha1', lua)])
    this.#shas = Object.fromEntries(shas) as Record<ScriptName, string>
    this.#redis = new Redis(url, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      commandTimeout: waitMs,
      connectTimeout: START_MS,
      enableAutoPipelining: true,
      retryStrategy: (times) => Math.min(RECONNECT_MS_MAX, times * 100),
    })
    // Every failure is met where it matters; an unheard 'error' event would end the process.
    this.#redis.on('error', (error) => this.#note(error))
    this.#redis.on('close', () => this.#rest())
    this.#redis.on('ready', () => void this.#ask())
  }

  /** What went wrong last, in the words of Redis or the system; '' when nothing has. */
  get why(): string {
    return this.#why
  }

  /** Whether calls may be made now. */
  get usable(): boolean {
    return this.#usable
  }

  /** The last moment, by the time of Redis, at which a call made now may still take effect, ms. */
  get deadlineMs(): number {
    return Math.floor(monotonicMs() + this.#offsetMs + this.#waitMs)
  }

  /**
   * Redis said at its time `redisMs` that a call was too late, and said it in time: its clock has gone
   * forward, or this machine slept. Without this no call would be in time until it is connected anew.
   */
  late(redisMs: number): void {
    this.#offsetMs = Math.max(this.#offsetMs, redisMs - monotonicMs())
  }

  /** Resolves when Redis has answered, or after a second without. */
  async open(): Promise<void> {
    const deadlineMs = monotonicMs() + START_MS
    while (!this.#usable && monotonicMs() < deadlineMs) await pause(10)
  }

  /** Runs a script. Rejects when Redis does not answer in time or is resting. */
  async run(name: ScriptName, { keys, args }: ScriptCall): Promise<unknown> {
    if (!this.#usable) throw new Error('Redis is not usable')
    try {
      const answer = await this.#redis.evalsha(this.#shas[name], keys.length, ...keys, ...args)
      this.#failures = 0
      return answer
    } catch (error) {
      this.#note(error)
      this.#fail(error)
      throw error
    }
  }

  /** What was sent before is on its way; waits for it as long as for any answer. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#probe)
    // Scripts are written together at the end of a turn; QUIT, at once, would overtake them.
    await new Promise((resolve) => setImmediate(resolve))
    if (this.#usable) await this.#redis.quit().catch(() => null)
    this.#usable = false
    this.#redis.disconnect()
  }

  /** The message alone: the error of a script or of AUTH also has what was sent. */
  #note(error: unknown): void {
    const all = error instanceof AggregateError ? error.errors : [error]
    const why = all.map((each) => (each as Error).message).join('; ')
    this.#why = why.slice(0, WHY_CHARS_MAX)
  }

  #fail(error: unknown): void {
    this.#failures++
    const isForgotten = String(error).includes('NOSCRIPT')
    if (isForgotten || this.#failures >= FAILURES_MAX) this.#rest()
  }

  /** Leaves Redis alone; the next to ask is the link itself. */
  #rest(): void {
    if (this.#closed || !this.#usable) return
    this.#usable = false
    const wasSettled = monotonicMs() - this.#usableSinceMs > SETTLED_MS
    this.#restMs = wasSettled ? REST_MS : Math.min(REST_MS_MAX, this.#restMs * 2)
    this.#onChange(false)
    this.#later()
  }

  #later(): void {
    clearTimeout(this.#probe)
    if (this.#closed) return
    this.#probe = setTimeout(() => void this.#ask(), this.#restMs).unref()
  }

  /** Half open: scripts and the time, before any call depends on them. */
  async #ask(): Promise<void> {
    if (this.#usable || this.#closed || this.#redis.status !== 'ready') return
    try {
      for (const lua of Object.values(SCRIPTS)) await this.#redis.script('LOAD', lua)
      const [seconds = 0, micros = 0] = await this.#redis.time()
      // Taken after the answer, so that a deadline is rather too early than too late.
      this.#offsetMs = seconds * 1000 + micros / 1000 - monotonicMs()
      this.#failures = 0
      this.#usable = true
      this.#usableSinceMs = monotonicMs()
      this.#onChange(true)
    } catch (error) {
      this.#note(error)
      this.#later()
    }
  }
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
