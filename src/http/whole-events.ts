const LF = 0x0a
const CR = 0x0d
const EMPTY = Buffer.alloc(0)

/** An event longer than this is no longer held back: what came of it goes on, and the rest as it comes. */
const HELD_BYTES_MAX = 1024 * 1024
const HELD_BYTES_MIN = 1024

/** What ends an event: in event streams of the web (WHATWG HTML §9.2) an empty line, in lists of JSON the line. */
export type EventEnd = 'empty line' | 'line'

/** By the media type of a stream; null where its bytes may be anything. */
export function eventEndOf(contentType: string): EventEnd | null {
  if (/^text\/event-stream/i.test(contentType)) return 'empty line'
  return /^application\/(?:x-ndjson|jsonl)/i.test(contentType) ? 'line' : null
}

/**
 * Lets whole events pass and keeps the beginning of one that is not complete, so that an error can be said after
 * whatever was sent: a parser that gets half an event and then ours reads neither, and the official clients stop with
 * a syntax error in JSON. Nobody can read half an event, so nothing comes later for it. What ends with an event, which
 * is nearly always, costs a look at two bytes. Bytes are never changed.
 */
export class WholeEvents {
  readonly #end: EventEnd
  /** The event that has begun, in a buffer that grows: it may come byte by byte. */
  #held = EMPTY
  #heldBytes = 0
  /** It is too long to be held; what came of it was sent. */
  #isOversize = false
  /** The last two bytes that came: an end may be in two pieces. */
  #lastButOne = LF
  #last = LF

  constructor(end: EventEnd) {
    this.#end = end
  }

  /** The next bytes; returns those of whole events, with what was held of them. */
  push(chunk: Buffer): Buffer {
    if (chunk.length === 0) return chunk
    const end = this.#endIn(chunk)
    this.#lastButOne = chunk.length > 1 ? chunk[chunk.length - 2]! : this.#last
    this.#last = chunk[chunk.length - 1]!
    if (end === 0 && this.#isOversize) return chunk
    const whole = end === 0 ? EMPTY : this.#withHeld(chunk.subarray(0, end))
    this.#isOversize = false
    if (end === chunk.length) return whole
    this.#hold(chunk.subarray(end))
    if (this.#heldBytes <= HELD_BYTES_MAX) return whole
    this.#isOversize = true
    const begun = this.rest()
    return whole.length === 0 ? begun : Buffer.concat([whole, begun])
  }

  /** What was kept of an event whose end did not come; empty when there is none. */
  rest(): Buffer {
    return this.#withHeld(EMPTY)
  }

  #hold(bytes: Buffer): void {
    const size = this.#heldBytes + bytes.length
    if (size > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(HELD_BYTES_MIN, 2 * size))
      this.#held.copy(larger, 0, 0, this.#heldBytes)
      this.#held = larger
    }
    bytes.copy(this.#held, this.#heldBytes)
    this.#heldBytes = size
  }

  #withHeld(tail: Buffer): Buffer {
    if (this.#heldBytes === 0) return tail
    const whole = Buffer.concat([this.#held.subarray(0, this.#heldBytes), tail])
    this.#heldBytes = 0
    return whole
  }

  /** Behind the last end of an event in `chunk`; 0 where none ends in it. */
  #endIn(chunk: Buffer): number {
    if (this.#end === 'line') return chunk.lastIndexOf(LF) + 1
    for (let at = chunk.length - 1; at >= 0; at--) {
      const byte = chunk[at]!
      if (byte !== LF && byte !== CR) continue
      if (this.#isEnd(chunk, at)) return at + 1
    }
    return 0
  }

  /** Whether the line that the byte at `at` ends is empty. */
  #isEnd(chunk: Buffer, at: number): boolean {
    const one = this.#byte(chunk, at - 1)
    // A CR in front of an LF is the same line end: what counts is in front of both.
    const former = chunk[at] === LF && one === CR ? this.#byte(chunk, at - 2) : one
    return former === LF || former === CR
  }

  #byte(chunk: Buffer, at: number): number {
    if (at >= 0) return chunk[at]!
    return at === -1 ? this.#last : this.#lastButOne
  }
}

/** Whether an event that lacks its end is all there, so that a reader gets something of it. */
export function hasWholeData(event: Buffer, end: EventEnd): boolean {
  const text = event.toString('utf8')
  try {
    JSON.parse(end === 'line' ? text : dataOf(text))
    return true
  } catch {
    return false
  }
}

/** The `data:` lines, joined. */
function dataOf(event: string): string {
  const lines = event.split(/\r\n|\n|\r/).filter((line) => line.startsWith('data:'))
  return lines.map((line) => line.slice('data:'.length)).join('\n')
}
