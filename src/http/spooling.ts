import { createHash } from 'node:crypto'

import { GovernorError } from '../errors.ts'
import { tooLarge } from './decode.ts'
import type { HttpExchange } from './exchange.ts'
import { BodyReading, type Wanted } from './reading.ts'
import type { SpooledFile } from './spool.ts'

/** This much is collected before it is written. */
const WRITTEN_BYTES = 256 * 1024
/** What is held meanwhile: what is written, in pieces and whole, and what came since. */
export const SPOOLING_BYTES = 3 * WRITTEN_BYTES

/** Where a body is written, and its bounds. */
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
    new Spooling(exchange, options, { resolve, reject }).begin()
  })
}

/** One body on its way to disk. */
class Spooling extends BodyReading<string> {
  readonly #file: SpooledFile
  readonly #bytesMax: number
  readonly #hash = createHash('sha256')
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #length = 0
  #isWriting = false
  #hasEnded = false

  constructor(
    exchange: HttpExchange,
    { file, bytesMax, timeoutMs }: SpoolingOptions,
    wanted: Wanted<string>,
  ) {
    super(exchange, timeoutMs, wanted)
    this.#file = file
    this.#bytesMax = bytesMax
  }

  protected override end(): void {
    this.#hasEnded = true
    if (!this.#isWriting) void this.#write()
  }

  protected override take(chunk: Buffer): void {
    this.#length += chunk.length
    if (this.#length > this.#bytesMax) {
      this.refuse(tooLarge(this.#bytesMax))
      return
    }
    this.#hash.update(chunk)
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.length
    if (this.#chunkBytes < WRITTEN_BYTES) return
    this.exchange.incoming.pause()
    if (!this.#isWriting) void this.#write()
  }

  /** What is there, and again while there is more; then goes on reading, or is done. */
  async #write(): Promise<void> {
    this.#isWriting = true
    try {
      while (this.#chunkBytes > 0 && !this.over) {
        const chunks = this.#chunks
        this.#chunks = []
        this.#chunkBytes = 0
        await this.#file.append(chunks)
      }
    } catch (error) {
      this.refuse(GovernorError.from(error))
    }
    this.#isWriting = false
    if (this.over) return
    if (this.#hasEnded) this.finish(this.#hash.digest('hex'))
    else this.exchange.incoming.resume()
  }
}
