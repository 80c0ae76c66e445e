import { createHash } from 'node:crypto'

import { GovernorError } from '../errors.ts'
import { tooLarge } from './decode.ts'
import type { HttpExchange, Interruptible } from './exchange.ts'
import type { SpooledFile } from './spool.ts'

/** This much is collected before it is written. */
const WRITTEN_BYTES = 256 * 1024
/** What is held meanwhile: what is written, in pieces and whole, and what came since. */
export const SPOOLING_BYTES = 3 * WRITTEN_BYTES

export interface SpoolingOptions {
  readonly file: SpooledFile
  readonly bytesMax: number
  readonly timeoutMs: number
}

/**
 * Writes the body of a request into a file as it arrives, never more of it in memory than two pieces, and
 * resolves with its SHA-256 (hex). Rejects with BODY_TOO_LARGE, BODY_TIMEOUT, CLIENT_CLOSED, OVERLOADED,
 * SPOOL_UNAVAILABLE.
 */
export function spoolBody(exchange: HttpExchange, options: SpoolingOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const spooling = new Spooling(exchange, options, { resolve, reject })
    if (exchange.fault === null) spooling.begin()
    else reject(exchange.fault)
  })
}

interface Wanted {
  readonly resolve: (sha256: string) => void
  readonly reject: (error: unknown) => void
}

/** One body on its way to disk. */
class Spooling implements Interruptible {
  readonly #exchange: HttpExchange
  readonly #options: SpoolingOptions
  readonly #wanted: Wanted
  readonly #hash = createHash('sha256')
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #length = 0
  #isWriting = false
  #hasEnded = false
  #over = false
  #timer: NodeJS.Timeout | undefined

  constructor(exchange: HttpExchange, options: SpoolingOptions, wanted: Wanted) {
    this.#exchange = exchange
    this.#options = options
    this.#wanted = wanted
  }

  begin(): void {
    this.#exchange.incoming
      .on('data', (chunk: Buffer) => {
        if (!this.#over) this.#take(chunk)
      })
      .on('end', () => {
        this.#hasEnded = true
        if (!this.#over && !this.#isWriting) void this.#write()
      })
    this.#timer = setTimeout(
      () => this.interrupt(new GovernorError('BODY_TIMEOUT')),
      this.#options.timeoutMs,
    )
    this.#exchange.interruptible = this
  }

  interrupt(error: GovernorError): void {
    if (this.#over) return
    this.#done()
    this.#wanted.reject(error)
  }

  #done(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#exchange.interruptible = null
  }

  #take(chunk: Buffer): void {
    this.#length += chunk.length
    if (this.#length > this.#options.bytesMax) {
      this.#exchange.incoming.pause()
      this.interrupt(tooLarge(this.#options.bytesMax))
      return
    }
    this.#hash.update(chunk)
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.length
    if (this.#chunkBytes < WRITTEN_BYTES) return
    this.#exchange.incoming.pause()
    if (!this.#isWriting) void this.#write()
  }

  /** What is there, and again while there is more; then goes on reading, or is done. */
  async #write(): Promise<void> {
    this.#isWriting = true
    try {
      while (this.#chunkBytes > 0 && !this.#over) {
        const chunks = this.#chunks
        this.#chunks = []
        this.#chunkBytes = 0
        await this.#options.file.append(chunks)
      }
    } catch (error) {
      if (!this.#over) this.#exchange.incoming.pause()
      this.interrupt(GovernorError.from(error))
    }
    this.#isWriting = false
    if (this.#over) return
    if (this.#hasEnded) {
      this.#done()
      this.#wanted.resolve(this.#hash.digest('hex'))
    } else this.#exchange.incoming.resume()
  }
}
