import { GovernorError } from '../errors.ts'
import type { HttpExchange, Interruptible } from './exchange.ts'

/** Who waits for what was read. */
export interface Wanted<Result> {
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/**
 * One body as it arrives: how its reading begins, ends, and ends early, by BODY_TIMEOUT after `timeoutMs`
 * or with what interrupts it (CLIENT_CLOSED, or what makes the rest unreadable). What is done with the
 * pieces is the subclass's.
 */
export abstract class BodyReading<Result> implements Interruptible {
  protected readonly exchange: HttpExchange
  protected readonly wanted: Wanted<Result>
  readonly #timeoutMs: number
  #over = false
  #timer: NodeJS.Timeout | undefined

  constructor(exchange: HttpExchange, timeoutMs: number, wanted: Wanted<Result>) {
    this.exchange = exchange
    this.wanted = wanted
    this.#timeoutMs = timeoutMs
  }

  /** One more piece; none comes after the end. */
  protected abstract take(chunk: Buffer): void

  /** There are no more pieces. */
  protected abstract end(): void

  /** Whoever waits was told, or is told now. */
  protected get over(): boolean {
    return this.#over
  }

  begin(): void {
    const { fault, incoming } = this.exchange
    if (fault !== null) {
      this.wanted.reject(fault)
      return
    }
    incoming
      .on('data', (chunk: Buffer) => {
        if (!this.#over) this.take(chunk)
      })
      .on('end', () => {
        if (!this.#over) this.end()
      })
    this.#timer = setTimeout(timedOut, this.#timeoutMs, this)
    this.exchange.interruptible = this
  }

  interrupt(error: unknown): void {
    if (this.#over) return
    this.#done()
    this.wanted.reject(error)
  }

  /** Ends it here: what the client still sends is not read. */
  protected refuse(error: unknown): void {
    if (!this.#over) this.exchange.incoming.pause()
    this.interrupt(error)
  }

  /** Ends it well. */
  protected finish(result: Result): void {
    this.#done()
    this.wanted.resolve(result)
  }

  #done(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.exchange.interruptible = null
  }
}

function timedOut(reading: Interruptible): void {
  reading.interrupt(new GovernorError('BODY_TIMEOUT'))
}
