import type { WebSocket } from 'ws'

import { every, monotonicMs } from '../clock.ts'

/** Both sides are asked this often whether they are there; three silences are an answer. */
const PING_MS = 15_000
/** The providers end their own sessions after an hour. */
const SESSION_MS_MAX = 2 * 3_600_000

/** The two sides of a session, and who is told when it is over. */
export interface PulseOptions {
  readonly client: WebSocket
  readonly upstream: WebSocket
  readonly idleMs: number
  /** Monotonic, as all times here. */
  readonly startedMs: number
  /** Nothing was said for `idleMs`, or the session is as old as one may be. */
  over(why: 'idle' | 'old'): void
}

/**
 * Whether both sides of a session are there (RFC 6455 §5.5.2) and anything is said: who is silent for
 * three pings is gone.
 */
export class Pulse {
  readonly #options: PulseOptions
  #activeMs: number
  #clientSeenMs: number
  #upstreamSeenMs: number
  #stopTicking: () => void = () => {}

  constructor(options: PulseOptions) {
    this.#options = options
    this.#activeMs = this.#clientSeenMs = this.#upstreamSeenMs = options.startedMs
  }

  start(): void {
    const intervalMs = Math.min(PING_MS, this.#options.idleMs / 2)
    this.#stopTicking = every(intervalMs, () => this.tick(monotonicMs()))
  }

  stop(): void {
    this.#stopTicking()
  }

  /** A side was heard of. */
  seen(side: 'client' | 'upstream', nowMs = monotonicMs()): void {
    if (side === 'client') this.#clientSeenMs = nowMs
    else this.#upstreamSeenMs = nowMs
  }

  /** A side said something. */
  said(side: 'client' | 'upstream', nowMs = monotonicMs()): void {
    this.seen(side, nowMs)
    this.#activeMs = nowMs
  }

  /** Looks whether anybody is gone, and asks both sides; every `PING_MS` or sooner. */
  tick(nowMs: number): void {
    const { client, upstream, idleMs, startedMs } = this.#options
    // Whoever is not read cannot be heard.
    if (client.isPaused) this.#clientSeenMs = nowMs
    if (upstream.isPaused) this.#upstreamSeenMs = nowMs
    if (nowMs - this.#clientSeenMs > 3 * PING_MS) client.terminate()
    if (nowMs - this.#upstreamSeenMs > 3 * PING_MS) upstream.terminate()
    for (const socket of [client, upstream]) {
      if (socket.readyState === socket.OPEN) socket.ping()
    }
    if (nowMs - this.#activeMs > idleMs) this.#options.over('idle')
    else if (nowMs - startedMs > SESSION_MS_MAX) this.#options.over('old')
  }
}
