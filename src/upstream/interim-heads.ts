import type { Socket } from 'node:net'

/** Where the three digits of a status are in `HTTP/1.1 100`. */
const FIRST_DIGIT = 9
const LAST_DIGIT = 11
/** In the rest of an informational head. */
const IN_HEAD = 12
/** The answer itself has begun: what follows is looked at by others. */
const PAST = 13

const CR = 0x0d
const LF = 0x0a
const ZERO = 0x30
const ONE = 0x31
const TWO = 0x32

/**
 * RFC 9110 §15.2: a client has to bear informational answers that it did not ask for, and `100 Continue` is one that
 * servers and what stands before them send. undici takes it for a broken answer and ends the call, while it passes on
 * all others: so a 100 is made to say 102 (RFC 2518 §10.1, "still at work"), in place, the same length, and is counted
 * as they are. However its bytes arrive; nothing is held back or copied. Of an answer without one a single byte is
 * looked at.
 */
export class InterimHeads {
  #at = PAST
  #isHundred = false
  #isLineEmpty = false

  /** A request goes out: what comes next is the head of an answer. */
  begin(): void {
    this.#at = 0
  }

  /** The next bytes of the connection, which are changed. */
  pass(chunk: Buffer): void {
    for (let index = 0; this.#at !== PAST && index < chunk.length; index++) {
      if (this.#at === IN_HEAD) this.#skip(chunk[index]!)
      else this.#look(chunk, index)
    }
  }

  /** A byte of the status line, up to the last digit. */
  #look(chunk: Buffer, index: number): void {
    const byte = chunk[index]!
    // RFC 9112 §2.2: empty lines before it.
    if (this.#at === 0 && (byte === CR || byte === LF)) return
    if (this.#at === FIRST_DIGIT) {
      this.#isHundred = byte === ONE
      if (byte !== ONE) {
        this.#at = PAST
        return
      }
    } else if (this.#at > FIRST_DIGIT && byte !== ZERO) this.#isHundred = false
    if (this.#at === LAST_DIGIT) {
      if (this.#isHundred) chunk[index] = TWO
      this.#isLineEmpty = false
    }
    this.#at += 1
  }

  /** A byte behind it, up to the empty line. */
  #skip(byte: number): void {
    if (byte === LF) {
      if (this.#isLineEmpty) this.#at = 0
      this.#isLineEmpty = true
    } else if (byte !== CR) this.#isLineEmpty = false
  }
}

/** Lets `heads` see what is read from a new connection, before anybody else does. */
export function watchHeads(socket: Socket, heads: InterimHeads): void {
  const read = socket.read.bind(socket) as (size?: number) => Buffer | null
  socket.read = (size?: number): Buffer | null => {
    const chunk = read(size)
    if (chunk !== null) heads.pass(chunk)
    return chunk
  }
}
