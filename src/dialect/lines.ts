/** Cuts a stream into lines, their ends included, without changing a byte. */
import type { EventSink } from '../nouns/answer.ts'
import { EVENT_BYTES_MAX } from './sse.ts'

const LF = 0x0a
const EMPTY = Buffer.alloc(0)

/** Lines end with LF, however their bytes arrive; one that grows too long is handed on in parts. */
export class LineSplitter {
  readonly #sink: EventSink
  #held: Buffer[] = []
  #heldBytes = 0
  #isOversize = false

  constructor(sink: EventSink) {
    this.#sink = sink
  }

  /** Takes the next bytes of the stream and hands on every line they complete. */
  push(chunk: Buffer): void {
    let start = 0
    for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, start)) {
      this.#cut(chunk.subarray(start, at + 1))
      start = at + 1
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start))
  }

  /** The stream ended: the bytes still held, a line without its end. */
  rest(): Buffer {
    return this.#take(EMPTY)
  }

  #cut(tail: Buffer): void {
    if (this.#isOversize) {
      this.#isOversize = false
      this.#sink.part(tail, true)
    } else this.#sink.event(this.#take(tail))
  }

  #take(tail: Buffer): Buffer {
    if (this.#held.length === 0) return tail
    const whole = Buffer.concat([...this.#held, tail])
    this.#held = []
    this.#heldBytes = 0
    return whole
  }

  #hold(bytes: Buffer): void {
    if (this.#isOversize) return this.#sink.part(bytes, false)
    if (this.#heldBytes + bytes.length > EVENT_BYTES_MAX) {
      this.#isOversize = true
      return this.#sink.part(this.#take(bytes), false)
    }
    // A buffer of a socket is written to again.
    this.#held.push(Buffer.from(bytes))
    this.#heldBytes += bytes.length
  }
}
