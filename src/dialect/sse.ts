import type { EventParts, EventSink, Framing } from '../nouns/answer.ts'

/**
 * Cuts an event stream (WHATWG HTML §9.2) into whole events without changing a byte. Lines end with
 * LF, CRLF or CR, an event with an empty line; the cuts are the same however the bytes arrive.
 */

/** An event longer than this is handed on in parts instead of being held. */
export const EVENT_BYTES_MAX = 1024 * 1024

const HELD_BYTES_MIN = 4096
const LF = 0x0a
const CR = 0x0d

const EMPTY = Buffer.alloc(0)

/** Hands every whole event of one stream to `sink`, its bytes as they came. */
export class SseSplitter {
  readonly #sink: EventSink
  /** Start of the event that is not complete yet. */
  #held = EMPTY
  #heldBytes = 0
  /** Nothing but the line's start was seen since the last line end. */
  #isLineEmpty = true
  /** The last byte was CR, so that an LF would belong to it. */
  #isAfterCr = false
  /** That CR ended an event. */
  #isCrEnd = false
  #isOversize = false

  constructor(sink: EventSink) {
    this.#sink = sink
  }

  /** Bytes held back: the start of an event. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Takes the next bytes of the stream and hands on every event they complete. */
  push(chunk: Buffer): void {
    let start = 0
    let at = 0
    while (at < chunk.length) {
      if (this.#isAfterCr) {
        this.#isAfterCr = false
        if (chunk[at] === LF) at++
        if (this.#isCrEnd) {
          this.#cut(chunk.subarray(start, at))
          start = at
        }
        continue
      }
      const from = at
      while (at < chunk.length && chunk[at]! > CR) at++
      if (at > from) this.#isLineEmpty = false
      if (at < chunk.length && this.#endsEvent(chunk[at++]!)) {
        this.#cut(chunk.subarray(start, at))
        start = at
      }
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start))
  }

  /** The stream ended: the bytes still held, an event without its empty line. */
  rest(): Buffer {
    return this.#take(EMPTY)
  }

  /** Moves the line state past `byte`; true when it ends an event at once. */
  #endsEvent(byte: number): boolean {
    if (byte === LF) {
      const ends = this.#isLineEmpty
      this.#isLineEmpty = true
      return ends
    }
    if (byte === CR) {
      this.#isAfterCr = true
      this.#isCrEnd = this.#isLineEmpty
      this.#isLineEmpty = true
    } else {
      this.#isLineEmpty = false
    }
    return false
  }

  #cut(tail: Buffer): void {
    if (this.#isOversize) {
      this.#isOversize = false
      this.#sink.part(tail, true)
    } else {
      this.#sink.event(this.#take(tail))
    }
  }

  #take(tail: Buffer): Buffer {
    if (this.#heldBytes === 0) return tail
    const whole = Buffer.concat([this.#held.subarray(0, this.#heldBytes), tail])
    this.#heldBytes = 0
    return whole
  }

  #hold(bytes: Buffer): void {
    if (this.#isOversize) return this.#sink.part(bytes, false)
    const size = this.#heldBytes + bytes.length
    if (size > EVENT_BYTES_MAX) {
      this.#isOversize = true
      return this.#sink.part(this.#take(bytes), false)
    }
    if (size > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(HELD_BYTES_MIN, 2 * size))
      this.#held.copy(larger, 0, 0, this.#heldBytes)
      this.#held = larger
    }
    bytes.copy(this.#held, this.#heldBytes)
    this.#heldBytes = size
  }
}

/** The `event:` name and the `data:` lines joined with LF, each '' when the event has none. */
export function readEvent(event: Buffer): { readonly name: string; readonly data: string } {
  let name = ''
  const data: string[] = []
  for (const line of event.toString('utf8').split(/\r\n|\n|\r/)) {
    if (line.startsWith('data:')) data.push(fieldValue(line, 5))
    else if (line.startsWith('event:')) name = fieldValue(line, 6)
  }
  return { name, data: data.join('\n') }
}

/**
 * Whether an event that the stream's end left without its empty line is all there: parsers differ in whether
 * they hand such a one on, none has more of it.
 */
export function isWholeEvent(event: Buffer): boolean {
  const { data } = readEvent(event)
  if (data.trim() === '[DONE]') return true
  try {
    JSON.parse(data)
    return true
  } catch {
    return false
  }
}

function fieldValue(line: string, from: number): string {
  return line.slice(line[from] === ' ' ? from + 1 : from)
}

const BOM = '\u00ef\u00bb\u00bf'
const NO_BYTES = Buffer.alloc(0)

/**
 * Takes an event apart so that its data can be read as bytes and put back: the `data:` lines joined with LF,
 * and all other lines, comments included.
 */
export function eventParts(event: Buffer): EventParts {
  const text = event.toString('latin1')
  const rest: string[] = []
  const lines: { readonly from: number; readonly to: number }[] = []
  let from = text.startsWith(BOM) ? BOM.length : 0
  for (const line of text.slice(from).split(/\r\n|\n|\r/)) {
    const to = from + line.length
    if (line.startsWith('data:')) lines.push({ from: from + (line[5] === ' ' ? 6 : 5), to })
    else if (line !== '') rest.push(event.toString('utf8', from, to))
    from = to + (text.startsWith('\r\n', to) ? 2 : 1)
  }
  const [first] = lines
  const said = rest.join('\n')
  if (first === undefined) return { data: NO_BYTES, at: -1, rest: said }
  if (lines.length === 1) {
    return { data: event.subarray(first.from, first.to), at: first.from, rest: said }
  }
  const data = lines.flatMap((line, index) => [
    ...(index === 0 ? [] : [Buffer.from('\n')]),
    event.subarray(line.from, line.to),
  ])
  return { data: Buffer.concat(data), at: -1, rest: said }
}

/** The event with other data in place of its own; every other byte stays where data is one line. */
export function withData(event: Buffer, { data, at, rest }: EventParts, other: Buffer): Buffer {
  if (at >= 0) {
    return Buffer.concat([event.subarray(0, at), other, event.subarray(at + data.length)])
  }
  const lines = other.toString('utf8').split('\n')
  const all = [...(rest === '' ? [] : [rest]), ...lines.map((line) => `data: ${line}`)]
  return Buffer.from(`${all.join('\n')}\n\n`)
}

/** Lines of an event beside its data: comments, name, id, wait (WHATWG HTML §9.2.6). */
const FIELDS = /^(?:(?::|event:|id:|retry:)[^\n]*\n?)*$/

/** Event streams of the web. */
export const SSE: Framing = {
  type: /^text\/event-stream/i,
  sign: /(?:^(?:\xef\xbb\xbf)?|[\r\n])data:\s*[[{]/,
  splitter: (sink) => new SseSplitter(sink),
  parts: (event) => {
    const parts = eventParts(event)
    return FIELDS.test(parts.rest) ? parts : null
  },
  withData,
}
