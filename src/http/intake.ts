import type { GovernorError } from '../errors.ts'
import type { ActiveCalls } from './active-calls.ts'
import { type BodyMaximums, giveBack, hold, type InFlight } from './body.ts'
import type { HttpExchange } from './exchange.ts'

/** What came since the last whole message is counted from here on: one read of a socket is no message. */
const COUNTED_BYTES_MIN = 128 * 1024

/** What the messages of a session are counted against. */
export interface IntakeOptions {
  readonly maximums: BodyMaximums
  readonly inFlight: InFlight
  /** Whose messages they are, as of bodies. */
  readonly holder: string
  readonly active: ActiveCalls
}

/**
 * Counts the long messages of a session's client against `maximums.in_flight` while they arrive and as
 * long as somebody works on them, as bodies of calls are. Where there is no room the session is cut
 * with OVERLOADED.
 */
export class Intake {
  readonly #exchange: HttpExchange
  readonly #options: IntakeOptions
  #arrivedBytes = 0
  #heldBytes = 0

  /** The connection has been upgraded, and is not read yet. */
  constructor(exchange: HttpExchange, options: IntakeOptions) {
    this.#exchange = exchange
    this.#options = options
    exchange.holder = options.holder
    exchange.incoming.socket.on('data', (chunk: Buffer) => {
      this.#arrivedBytes += chunk.length
      if (this.#arrivedBytes > COUNTED_BYTES_MIN) this.#hold(this.#arrivedBytes - this.#heldBytes)
    })
  }

  /** A message is whole: how much is held for it, to be given back when it is done with. */
  taken(): number {
    const bytes = this.#heldBytes
    this.#arrivedBytes = this.#heldBytes = 0
    return bytes
  }

  giveBack(bytes: number): void {
    giveBack(this.#exchange, this.#options.inFlight, Math.min(bytes, this.#exchange.heldBytes))
  }

  #hold(bytes: number): void {
    // What says goodbye is read, and counts no more.
    if (!this.#options.active.has(this.#exchange)) return
    try {
      hold(this.#exchange, this.#options, bytes)
      this.#heldBytes += bytes
    } catch (error) {
      this.#exchange.cut(error as GovernorError)
    }
  }
}
