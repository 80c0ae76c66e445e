const LF = 0x0a
const CR = 0x0d
const EMPTY = Buffer.alloc(0)
/** The first byte of a line that has not begun. */
const NONE = -1
/** `event`, `id` and `retry` say something about data that are still to come. */
const NAMING = new Set(Buffer.from('eir'))
/** How lines of events begin; any other is nobody's event, and does not wait. */
const FIELDS = new Set(Buffer.from('deir:'))
const COLON = 0x3a

/** A line longer than this is no longer held back: what came of it goes on, and the rest as it comes. */
const HELD_BYTES_MAX = 1024 * 1024
const HELD_BYTES_MIN = 1024

/** What a stream consists of: events of the web (WHATWG HTML §9.2), or JSON in lines. */
export type LineKind = 'events' | 'json'

/** By the media type of a stream; null where its bytes may be anything. */
export function lineKindOf(contentType: string): LineKind | null {
  if (/^text\/event-stream/i.test(contentType)) return 'events'
  return /^application\/(?:x-ndjson|jsonl)/i.test(contentType) ? 'json' : null
}

/**
 * Lets whole lines pass and keeps half a line, so that an error can be said after whatever was sent: a parser that gets
 * half a line and then ours reads neither, and the official clients stop with a syntax error in JSON. The name of an
 * event waits for its data, since clients read a name alone as an event with nothing in it. Comments, which keep
 * connections alive, and data pass before the empty line behind them. Bytes are never changed; a piece that ends with an
 * event, as nearly all do, costs a look at two bytes.
 */
export class WholeLines {
  readonly #isEvents: boolean
  /** What is kept, in a buffer that grows: it may come byte by byte. */
  #held = EMPTY
  #heldBytes = 0
  /** The line is too long to be held; what came of it was sent. */
  #isOversize = false
  /** Of the line that has begun; `NONE` at the start of one. */
  #firstByte = NONE
  /** The line before ended with a CR: an LF now belongs to it. */
  #afterCr = false
  #isMidEvent = false

  constructor(kind: LineKind) {
    this.#isEvents = kind === 'events'
  }

  /** Whether a reader still waits for the empty line behind what passed. */
  get isMidEvent(): boolean {
    return this.#isMidEvent
  }

  /** The next bytes; returns those that may pass, with what was held of them. */
  push(chunk: Buffer): Buffer {
    if (this.#isWhole(chunk)) return chunk
    const end = this.#endIn(chunk)
    if (end === 0 && this.#isOversize) return chunk
    const whole = end === 0 ? EMPTY : this.#withHeld(chunk.subarray(0, end))
    if (end > 0) this.#isOversize = false
    if (end === chunk.length) return whole
    this.#hold(chunk.subarray(end))
    if (this.#heldBytes <= HELD_BYTES_MAX) return whole
    this.#isOversize = true
    const begun = this.rest()
    return whole.length === 0 ? begun : Buffer.concat([whole, begun])
  }

  /** What was kept and its end did not come; empty when there is nothing. */
  rest(): Buffer {
    return this.#withHeld(EMPTY)
  }

  /** The usual piece: some events and the empty line of the last one. */
  #isWhole(chunk: Buffer): boolean {
    const { length } = chunk
    if (length < 2 || chunk[length - 1] !== LF || chunk[length - 2] !== LF) return length === 0
    if (this.#heldBytes > 0 || this.#isOversize) return false
    this.#firstByte = NONE
    this.#afterCr = this.#isMidEvent = false
    return true
  }

  /** Behind the last line in `chunk` that may pass; 0 where none ends in it. */
  #endIn(chunk: Buffer): number {
    let end = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (byte !== LF && (byte !== CR || !this.#isEvents)) {
        if (this.#firstByte === NONE) this.#firstByte = byte
        this.#afterCr = false
        continue
      }
      const isSecondHalf = byte === LF && this.#afterCr
      this.#afterCr = byte === CR
      if (isSecondHalf ? this.#passedUpTo(at, end) : this.#endLine()) end = at + 1
    }
    const isField = this.#firstByte === NONE || FIELDS.has(this.#firstByte)
    return isField || !this.#isEvents ? end : chunk.length
  }

  /** Whether what is in front of the LF at `at`, its CR last, has passed: then the LF follows. */
  #passedUpTo(at: number, end: number): boolean {
    return end === at && (at > 0 || this.#heldBytes === 0)
  }

  /** Ends the line; whether it may pass, with what is in front of it. */
  #endLine(): boolean {
    const first = this.#firstByte
    this.#firstByte = NONE
    if (!this.#isEvents) return true
    if (first === NONE) this.#isMidEvent = false
    else if (NAMING.has(first)) return false
    else if (first !== COLON) this.#isMidEvent = true
    return true
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
}

/** Whether an event that lacks its end is all there, so that a reader gets something of it. */
export function hasWholeData(event: Buffer, kind: LineKind): boolean {
  const text = event.toString('utf8')
  try {
    JSON.parse(kind === 'json' ? text : dataOf(text))
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
