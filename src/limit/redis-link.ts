import { hash } from 'node:crypto'

import { Cluster } from 'ioredis'

import { monotonicMs } from '../clock.ts'
import type { RedisPlace } from '../config/snapshot.ts'
import { type PoolState, sharedPool } from '../metrics.ts'
import { openClient, type RedisClient } from './redis-client.ts'
import { CALLS, PRESENT, RENEW } from './redis-scripts.ts'
import { Shards } from './redis-shards.ts'

/** The longest a call waits for Redis. */
const COMMAND_MS = 100
/** How long a start waits for the first answer; it goes on without. */
const START_MS = 1_000
/** So many failures in a row, or a closed connection, and Redis is left alone for a while. */
const FAILURES_MAX = 3
const REST_MS = 500
const REST_MS_MAX = 8_000
/** A Redis that fails again within this time of coming back rests twice as long. */
const SETTLED_MS = 30_000
/** An answer that is so much older than thought comes from a clock that went back. */
const CLOCK_STEP_MS = 1_000
const WHY_CHARS_MAX = 200

const SCRIPTS = { CALLS, RENEW, PRESENT } as const
/** A script that Redis runs for us. */
export type ScriptName = keyof typeof SCRIPTS

/** What a script is called with. */
export interface ScriptCall {
  /** Of all its keys: names the node of a cluster. */
  readonly tag: string
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
  /** How many ask for something in it, each of whom fails with it; 1. */
  readonly askers?: number
}

/** Where Redis is, and who is told whether it can be used. */
export interface LinkOptions {
  /** A redis:// or rediss:// URL, with user and password where needed, or more than a URL says. */
  readonly place: string | RedisPlace
  readonly onChange: (usable: boolean) => void
  /** The longest an answer is waited for; 100 ms. */
  readonly waitMs?: number
}

/**
 * A connection to Redis that never makes anybody wait for longer than 100 ms: what cannot be asked now
 * fails at once, nothing is queued or sent again. After failures it rests, then asks for itself
 * before calls may again (a circuit breaker; the rest grows while Redis comes and goes). Of a cluster
 * only the keys whose node fails are left alone, and a call tries it for the others.
 */
export class RedisLink {
  readonly #redis: RedisClient
  /** Null where there is one node. */
  readonly #shards: Shards | null
  readonly #waitMs: number
  readonly #onChange: (usable: boolean) => void
  readonly #shas: Readonly<Record<ScriptName, string>>
  #usable = false
  #said = false
  #closed = false
  #failures = 0
  /** Scripts whose answer is waited for. */
  #asked = 0
  #restMs = REST_MS
  #restUntilMs = -Infinity
  #usableSinceMs = -Infinity
  #probe: NodeJS.Timeout | undefined
  #why = ''
  /** Time of Redis less our monotonic time, at least. */
  #offsetMs = 0

  /** Connects by itself. Throws where a URL cannot be used. */
  constructor({ place, onChange, waitMs = COMMAND_MS }: LinkOptions) {
    this.#onChange = onChange
    this.#waitMs = waitMs
    const shas = Object.entries(SCRIPTS).map(([name, lua]) => [name, hash('sha1', lua)])
    this.#shas = Object.fromEntries(shas) as Record<ScriptName, string>
    this.#redis = openClient(place, waitMs)
    this.#shards = this.#redis instanceof Cluster ? new Shards() : null
    // Every failure is met where it matters; an unheard 'error' event would end the process.
    this.#redis.on('error', (error) => this.#note(error))
    this.#redis.on('close', () => this.#rest())
    this.#redis.on('ready', () => {
      // Connected again at once, it may be gone again as soon.
      if (monotonicMs() >= this.#restUntilMs) void this.#ask()
    })
  }

  /** What went wrong last, in the words of Redis or the system; '' when nothing has. */
  get why(): string {
    return this.#why
  }

  /** One connection, or one to each node of a cluster that was asked. */
  get connections(): PoolState {
    const nodes = this.#redis instanceof Cluster ? this.#redis.nodes() : [this.#redis]
    const open = nodes.filter(({ status }) => status === 'ready').length
    return sharedPool(open, this.#asked)
  }

  /** Whether calls may be made now. */
  get usable(): boolean {
    return this.#usable
  }

  /** Whether all calls may be made now: of a cluster every node that was asked answers. */
  get whole(): boolean {
    return this.#usable && this.#shards?.areAway !== true
  }

  /** Whether keys of several tags cannot be in one call. */
  get splits(): boolean {
    return this.#shards !== null
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

  /**
   * Redis answered a call at its time `redisMs`. Where its clock went back, calls that were given up
   * would be in time for hours. The nodes of a cluster differ: there the latest of them counts.
   */
  answered(redisMs: number): void {
    const offsetMs = redisMs - monotonicMs()
    if (this.#shards === null && offsetMs < this.#offsetMs - CLOCK_STEP_MS) {
      this.#offsetMs = offsetMs
    }
  }

  /** Resolves when Redis has answered, or after a second without. */
  async open(): Promise<void> {
    const deadlineMs = monotonicMs() + START_MS
    while (!this.#usable && monotonicMs() < deadlineMs) await pause(10)
  }

  /** Runs a script. Rejects when Redis does not answer in time or is resting. */
  async run(name: ScriptName, call: ScriptCall): Promise<unknown> {
    if (!this.#usable) throw new Error('Redis is not usable')
    const beganMs = monotonicMs()
    if (this.#shards?.allow(call.tag, beganMs) === false) throw new Error('A node is not usable')
    this.#asked++
    try {
      const { keys, args } = call
      const answer = await this.#redis.evalsha(this.#shas[name], keys.length, ...keys, ...args)
      this.#answered(call)
      return answer
    } catch (error) {
      const isForgotten = String(error).includes('NOSCRIPT')
      if (isForgotten && monotonicMs() - beganMs < this.#waitMs / 4) return this.#teach(name, call)
      throw this.#failed(error, call)
    } finally {
      this.#asked--
    }
  }

  /** A Redis that was restarted or has taken over does not know the script. */
  async #teach(name: ScriptName, call: ScriptCall): Promise<unknown> {
    try {
      const { keys, args } = call
      const answer = await this.#redis.eval(SCRIPTS[name], keys.length, ...keys, ...args)
      this.#answered(call)
      return answer
    } catch (error) {
      throw this.#failed(error, call)
    }
  }

  /** Forgets nodes of a cluster that nobody asks for any more. */
  sweep(): void {
    this.#shards?.sweep(monotonicMs())
    this.#say()
  }

  /** What was sent before is on its way; waits for it as long as for any answer. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#probe)
    if (this.#usable) await this.#redis.quit().catch(() => null)
    this.#usable = false
    this.#redis.disconnect()
  }

  /** The message alone: the error of a script or of AUTH also has what was sent. */
  #note(error: unknown): void {
    const all = error instanceof AggregateError ? error.errors : [error]
    const why = all.map((each) => wordsOf(each as Error)).join('; ')
    this.#why = why.slice(0, WHY_CHARS_MAX)
  }

  #answered({ tag }: ScriptCall): void {
    this.#failures = 0
    this.#shards?.answered(tag)
    if (!this.#said) this.#say()
  }

  #failed(error: unknown, { tag, askers = 1 }: ScriptCall): unknown {
    this.#note(error)
    if (this.#shards !== null) {
      for (let each = 0; each < askers; each++) this.#shards.failed(tag, monotonicMs())
      this.#say()
      return error
    }
    this.#failures += askers
    if (this.#failures >= FAILURES_MAX) this.#rest()
    return error
  }

  /** Tells when it is lost, wholly or in part, and when it is whole again. */
  #say(): void {
    if (this.#closed || this.#said === this.whole) return
    this.#said = this.whole
    this.#onChange(this.#said)
  }

  /** Leaves Redis alone; the next to ask is the link itself. */
  #rest(): void {
    if (this.#closed || !this.#usable) return
    this.#usable = false
    this.#shards?.clear()
    const wasSettled = monotonicMs() - this.#usableSinceMs > SETTLED_MS
    this.#restMs = wasSettled ? REST_MS : Math.min(REST_MS_MAX, this.#restMs * 2)
    this.#restUntilMs = monotonicMs() + this.#restMs
    this.#say()
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
      await this.#load()
      const [seconds = 0, micros = 0] = await this.#redis.time()
      // Taken after the answer, so that a deadline is rather too early than too late.
      this.#offsetMs = seconds * 1000 + micros / 1000 - monotonicMs()
      this.#failures = 0
      this.#usable = true
      this.#usableSinceMs = monotonicMs()
      this.#say()
    } catch (error) {
      this.#note(error)
      // Connected, and no answer: it may be another one by now.
      if (!this.#closed && this.#redis.status === 'ready') this.#redis.disconnect(true)
      this.#later()
    }
  }

  /** A node of a cluster that is away learns the scripts when it is asked for them. */
  async #load(): Promise<void> {
    const nodes = this.#redis instanceof Cluster ? this.#redis.nodes('master') : [this.#redis]
    const loads = nodes.map(async (node) => {
      for (const lua of Object.values(SCRIPTS)) await node.script('LOAD', lua)
    })
    if (this.#shards === null) await Promise.all(loads)
    // All are waited for: until they are connected, nobody's keys can be asked for there.
    else await Promise.allSettled(loads).then(() => Promise.any(loads))
  }
}

/** A cluster of which no node can be asked says no more than that; the last node says why. */
function wordsOf({ message, lastNodeError }: Error & { readonly lastNodeError?: Error }): string {
  return lastNodeError === undefined ? message : `${message} ${lastNodeError.message}`
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
