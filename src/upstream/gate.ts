import type { ConcurrencyConfig } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'

/** Lets so many calls through at once; others wait their turn, up to a number and for a while. */
export class Gate {
  readonly #options: ConcurrencyConfig
  /** In the order they came. */
  readonly #waiting = new Set<() => void>()
  #inside = 0

  constructor(options: ConcurrencyConfig) {
    this.#options = options
  }

  get inside(): number {
    return this.#inside
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether a call need not wait. */
  get isFree(): boolean {
    return this.#inside < this.#options.calls
  }

  /** Takes a place that is free; nobody waits then. */
  enter(): boolean {
    if (!this.isFree) return false
    this.#inside += 1
    return true
  }

  /**
   * Waits for a place. Rejects with UPSTREAM_BUSY when too many wait or it takes too long, and with the
   * reason of `signal` when that is aborted.
   */
  async wait(signal: AbortSignal): Promise<void> {
    const { queue, waitMsMax } = this.#options
    signal.throwIfAborted()
    if (this.#waiting.size >= queue) throw busy(`${queue} calls wait for it`)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // At once out of the queue: a place given to a call that has gone would never come back.
    const giveUp = (error: unknown): void => {
      this.#waiting.delete(resolve)
      reject(error)
    }
    const late = setTimeout(() => giveUp(busy(`no place within ${waitMsMax} ms`)), waitMsMax)
    const aborted = (): void => giveUp(signal.reason)
    signal.addEventListener('abort', aborted)
    this.#waiting.add(resolve)
    try {
      await promise
    } finally {
      clearTimeout(late)
      signal.removeEventListener('abort', aborted)
    }
  }

  /** Gives a place back; whoever waits longest has it. */
  leave(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#inside -= 1
      return
    }
    this.#waiting.delete(next)
    next()
  }
}

function busy(detail: string): GovernorError {
  return new GovernorError('UPSTREAM_BUSY', { detail })
}
