import { Worker } from 'node:worker_threads'

import bcrypt from 'bcrypt'

import { GovernorError } from '../errors.ts'
import type { Comparison } from './bcrypt-worker.ts'

/** So many wrong secrets of any keys, less one a second, and somebody guesses. */
const GUESSED = 4
const GUESSED_MAX = 30
const FORGET_MS = 1000
/** The thread ends when it has had nothing to do for so long; it takes some 10 MB. */
const IDLE_MS = 30_000

interface Waiting {
  readonly resolve: (isRight: boolean) => void
  readonly reject: (error: GovernorError) => void
}

/**
 * Compares secrets with bcrypt hashes: on libuv's threads, and while secrets are guessed on one thread of
 * its own with a low priority, so that who guesses takes no time of other callers where cores are few.
 */
export class Comparer {
  #worker: Worker | null = null
  /** In the order in which the thread answers. */
  #waiting: Waiting[] = []
  #idle: NodeJS.Timeout | undefined
  #wrong = 0
  #wrongAtMs = 0

  /** Whether secrets have been guessed lately; `nowMs` is monotonic. */
  isGuessed(nowMs: number): boolean {
    return this.#level(nowMs) >= GUESSED
  }

  /** Whether the thread of its own runs. */
  get hasThread(): boolean {
    return this.#worker !== null
  }

  /** Rejects with AUTH_UNAVAILABLE (503) when the thread dies. */
  compare(secret: string, written: string, nowMs: number): Promise<boolean> {
    const hash = asBcryptReads(written)
    const isAside = this.isGuessed(nowMs) && this.#hasStarted()
    return isAside ? this.#aside({ secret, hash }) : bcrypt.compare(secret, hash)
  }

  /** A secret was none's. */
  noteWrong(nowMs: number): void {
    this.#wrong = Math.min(GUESSED_MAX, this.#level(nowMs) + 1)
    this.#wrongAtMs = nowMs
  }

  #level(nowMs: number): number {
    return Math.max(0, this.#wrong - (nowMs - this.#wrongAtMs) / FORGET_MS)
  }

  /** False where the system has no thread left. */
  #hasStarted(): boolean {
    try {
      this.#worker ??= this.#start()
      return true
    } catch {
      return false
    }
  }

  #aside(comparison: Comparison): Promise<boolean> {
    this.#idle?.refresh()
    // Only somebody who waits keeps the process alive.
    this.#worker?.ref()
    this.#worker?.postMessage(comparison)
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  #start(): Worker {
    const worker = new Worker(new URL('./bcrypt-worker.ts', import.meta.url), {
      // What this process was told to load first (the check of its Node, a loader) is not for the thread.
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
    })
    worker.on('message', (isRight: boolean) => {
      this.#waiting.shift()?.resolve(isRight)
      if (this.#waiting.length === 0) worker.unref()
    })
    worker.on('error', (cause) => this.#lost(worker, cause))
    worker.on('exit', () => this.#lost(worker, new Error('The thread that compares secrets ended')))
    this.#idle ??= setTimeout(() => this.#rest(), IDLE_MS).unref()
    return worker
  }

  /** Whoever waited may try again; the next one starts another thread. */
  #lost(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) return
    this.#worker = null
    const waiting = this.#waiting
    this.#waiting = []
    const headers = { 'retry-after': '1' }
    for (const { reject } of waiting) {
      reject(new GovernorError('AUTH_UNAVAILABLE', { cause, headers }))
    }
  }

  #rest(): void {
    this.#idle = undefined
    const worker = this.#worker
    if (worker === null) return
    if (this.#waiting.length > 0) {
      this.#idle = setTimeout(() => this.#rest(), IDLE_MS).unref()
      return
    }
    this.#worker = null
    void worker.terminate()
  }
}

/** `$2y$`, as PHP and htpasswd write it, is another name of `$2b$`, and one that bcrypt's package has not. */
function asBcryptReads(hash: string): string {
  return hash.startsWith('$2y$') ? `$2b$${hash.slice('$2y$'.length)}` : hash
}
