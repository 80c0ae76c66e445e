import type { WebSocket } from 'ws'

import { every, monotonicMs } from './clock.ts'

/** Both sides are asked this often whether they are there; three silences are an answer. */
const PING_MS = 15_000
/** The providers end their own sessions after an hour. */
const SESSION_MS_MAX = 2 * 3_600_000

export interface PulseOptions {
  readonly client: WebSocket
  readonly upstream: WebSocket
  readonly idleMs: number
  /** Nothing was said for `idleMs`, or the session is as old as one may be. */
  over(why: 'idle' | 'old'): void
}

/**
 * Whether both sides of a session are there (RFC 6455 §5.5.2) and anything is said: who is silent for
 * three pings is gone.
 */
export class Pulse {
  readonly #options: PulseOptions
  readonly #startedMs = monotonicMs()
  #activeMs = this.#startedMs
  #clientSeenMs = this.#startedMs
  #upstreamSeenMs = this.#startedMs
  #stopTicking: () => void = () => {}

  constructor(options: PulseOptions) {
    this.#options = options
  }

  start(): void {
    this.#stopTicking = every(Math.min(PING_MS, this.#options.idleMs / 2), () => this.#tick())
  }

  stop(): void {
    this.#stopTicking()
  }

  /** A side was heard of. */
  seen(side: 'client' | 'upstream'): void {
    if (side === 'client') this.#clientSeenMs = monotonicMs()
    else this.#upstreamSeenMs = monotonicMs()
  }

  /** A side said something. */
  said(side: 'client' | 'upstream'): void {
    this.seen(side)
    this.#activeMs = monotonicMs()
  }

  #tick(): void {
    const nowMs = monotonicMs()
    const { client, upstream, idleMs } = this.#options
    // Whoever is not read cannot be heard.
    if (client.isPaused) this.#clientSeenMs = nowMs
    if (upstream.isPaused) this.#upstreamSeenMs = nowMs
    if (nowMs - this.#clientSeenMs > 3 * PING_MS) client.terminate()
    if (nowMs - this.#upstreamSeenMs > 3 * PING_MS) upstream.terminate()
    for (const socket of [client, upstream]) {
      if (socket.readyState === socket.OPEN) socket.ping()
    }
    if (nowMs - this.#activeMs > idleMs) this.#options.over('idle')
    else if (nowMs - this.#startedMs > SESSION_MS_MAX) this.#options.over('old')
  }
}
