import type { RawData, WebSocket } from 'ws'

import { GovernorError } from '../errors.ts'
import type { HttpExchange } from '../http/exchange.ts'
import type { Intake } from '../http/intake.ts'
import type { SocketReader } from '../nouns/socket-events.ts'
import { closeSocket, type Message } from './socket.ts'

/**
 * A client's side of a session whose first message says what it is to be: the socket is open, and
 * nothing is known of it yet but whose it is. What comes after that message waits unread.
 */
export class Opening {
  readonly client: WebSocket
  readonly intake: Intake
  readonly #exchange: HttpExchange
  readonly #heard: Message[] = []
  readonly #first = Promise.withResolvers<Buffer>()

  constructor(client: WebSocket, exchange: HttpExchange, intake: Intake) {
    this.client = client
    this.intake = intake
    this.#exchange = exchange
    client.on('message', this.#hear)
    client.on('close', this.#leave)
    // What a socket complains of ends it, and that is heard of as `close`.
    client.on('error', () => {})
  }

  /** The first message. Throws BODY_TIMEOUT (408), CLIENT_CLOSED, BODY_INVALID, DRAINING, and why it is cut. */
  async first(timeoutMs: number): Promise<Buffer> {
    const late = setTimeout(() => {
      const detail = 'the first message of the session names its model'
      this.#first.reject(new GovernorError('BODY_TIMEOUT', { detail }))
    }, timeoutMs)
    this.client.resume()
    this.#exchange.interruptible = {
      interrupt: (error) => this.#first.reject(error),
      drain: () => this.#first.reject(new GovernorError('DRAINING')),
    }
    try {
      return await this.#first.promise
    } finally {
      this.#exchange.interruptible = null
      clearTimeout(late)
      this.client.pause()
    }
  }

  /** What has been heard since; from here on somebody else listens. */
  release(): readonly Message[] {
    this.client.off('message', this.#hear)
    this.client.off('close', this.#leave)
    return this.#heard
  }

  /** Tells of an error, and that there will be no session (RFC 6455 §7.4.1). */
  refuse(error: GovernorError, reader: SocketReader, requestId: string): void {
    const about = { requestId, eventId: null, endsTurn: true }
    if (this.client.readyState === this.client.OPEN) {
      this.client.send(reader.errorEvent(error, about), () => {})
    }
    closeSocket(this.client, error.source === 'client' ? 1008 : 1011, error.code)
  }

  readonly #hear = (data: RawData, isBinary: boolean): void => {
    const bytes = data as Buffer
    this.client.pause()
    this.#heard.push({ bytes, isBinary, heldBytes: this.intake.taken() })
    if (!isBinary) return this.#first.resolve(bytes)
    this.#first.reject(new GovernorError('BODY_INVALID', { detail: 'events are text' }))
  }

  readonly #leave = (): void => {
    this.#first.reject(new GovernorError('CLIENT_CLOSED'))
    this.#exchange.leave()
  }
}
