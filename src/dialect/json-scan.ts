/**
 * One pass over the bytes of a JSON text (RFC 8259), strict where parsers differ: what this accepts
 * every parser reads alike. Resumable after any byte, so that a large body never holds the loop.
 */
import { KeyLedger } from './json-keys.ts'
import { numberEnd } from './json-number.ts'
import { BACKSLASH, CONTROL, escapeBytes, PLAIN, QUOTE, STRING_CLASS } from './json-string.ts'
import {
  bodyInvalid,
  END_CELL,
  ESCAPED,
  KIND,
  KIND_MASK,
  NEXT_CELL,
  PARENT_CELL,
  POSITION_CELL,
  STRIDE,
  Tape,
  WIDE,
} from './json-tape.ts'

/** Members of all objects of a body together. */
export const MEMBERS_MAX = 100_000
/** Values of a body: members, elements and the body itself. */
export const VALUES_MAX = 500_000

/** The most a text may hold, where that is not what a body may. */
export interface JsonMaximums {
  readonly members: number
  readonly values: number
}

const OF_BODIES: JsonMaximums = { members: MEMBERS_MAX, values: VALUES_MAX }

/** What the grammar expects next. */
const ROOT = 0
const VALUE = 1
const ELEMENT_OR_END = 2
const KEY = 3
const KEY_OR_END = 4
const COLON = 5
const COMMA_OR_END = 6
const NOTHING = 7
const IN_STRING = 8
type State = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8

/** Keys and words are looked at one by one; of longer strings the engine's search takes half the time. */
const LOOKED_AT = 16
const PLAIN_RUN = /[ !#-[\]-\x7f]*/y

const WHITE = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d ? 1 : 0,
)

const LITERALS = [
  { kind: KIND.NULL, text: 'null' },
  { kind: KIND.FALSE, text: 'false' },
  { kind: KIND.TRUE, text: 'true' },
].map(({ kind, text }) => ({ kind, first: text.charCodeAt(0), bytes: Buffer.from(text) }))

/** Scans one JSON text; `step` until it returns true, then take `tape`. */
export class JsonScanner {
  readonly tape: Tape
  readonly #bytes: Buffer
  readonly #depthMax: number
  readonly #latin1: string | null
  readonly #maximums: JsonMaximums
  readonly #keys: KeyLedger
  #at = 0
  #state: State = ROOT
  /** The innermost open container; the tape's parents are the stack. */
  #container = -1
  #depth = 0
  #members = 0
  #values = 0
  /** The string being read: its first byte, its kind and flags. */
  #stringStart = 0
  #stringKind: number = KIND.STRING

  /**
   * With `short`, a text that is read in one step: its bytes as characters, and cells to write over,
   * which are let go where they are too few.
   */
  constructor(
    bytes: Buffer,
    depthMax: number,
    short?: { readonly latin1: string; readonly cells: Int32Array } | null,
    maximums = OF_BODIES,
  ) {
    this.#bytes = bytes
    this.#depthMax = depthMax
    this.#latin1 = short?.latin1 ?? null
    this.#maximums = maximums
    this.tape = new Tape(bytes.length, short?.cells)
    this.#keys = new KeyLedger(bytes, this.tape)
  }

  /** Reads on for about `budgetBytes`; true when the text is complete. Throws BODY_INVALID. */
  step(budgetBytes: number): boolean {
    const until = Math.min(this.#at + budgetBytes, this.#bytes.length)
    while (this.#at < until) {
      if (this.#state === IN_STRING) this.#readString(until)
      else if (WHITE[this.#bytes[this.#at]!] === 1) this.#at++
      else this.#readToken(this.#bytes[this.#at]!)
    }
    if (this.#at < this.#bytes.length) return false
    if (this.#state === NOTHING) return true
    throw bodyInvalid(this.#at, this.#state === ROOT ? 'an empty body' : 'the body ends too early')
  }

  #readToken(byte: number): void {
    switch (this.#state) {
      case ROOT:
        return this.#readRoot(byte)
      case VALUE:
        return this.#readValue(byte)
      case ELEMENT_OR_END:
        return byte === 0x5d ? this.#close() : this.#readValue(byte)
      case KEY:
      case KEY_OR_END:
        return this.#readKey(byte)
      case COLON:
        return this.#readColon(byte)
      case COMMA_OR_END:
        return this.#readComma(byte)
      case NOTHING:
      case IN_STRING:
        throw bodyInvalid(this.#at, 'bytes after the JSON object', 'Send exactly one object.')
    }
  }

  #readRoot(byte: number): void {
    if (byte === 0x7b) return this.#open(KIND.OBJECT)
    throw bodyInvalid(this.#at, 'the body is not a JSON object', 'It must begin with {.')
  }

  #readValue(byte: number): void {
    if (byte === 0x22) return this.#beginString(KIND.STRING)
    if (byte === 0x7b) return this.#open(KIND.OBJECT)
    if (byte === 0x5b) return this.#open(KIND.ARRAY)
    const start = this.#at
    if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) {
      this.#at = numberEnd(this.#bytes, start)
      this.#addValue(KIND.NUMBER, start, this.#at)
    } else {
      this.#readLiteral(byte, start)
    }
    this.#state = COMMA_OR_END
  }

  #readLiteral(byte: number, start: number): void {
    const literal = LITERALS.find((each) => each.first === byte)
    const end = start + (literal?.bytes.length ?? 0)
    if (literal?.bytes.equals(this.#bytes.subarray(start, end)) !== true) {
      throw bodyInvalid(start, 'not a JSON value', hintFor(byte))
    }
    this.#at = end
    this.#addValue(literal.kind, start, end)
  }

  #readKey(byte: number): void {
    if (byte === 0x22) {
      const { members } = this.#maximums
      if (++this.#members > members) {
        throw bodyInvalid(this.#at, `more than ${members} object members`)
      }
      return this.#beginString(KIND.KEY)
    }
    if (byte === 0x7d && this.#state === KEY_OR_END) return this.#close()
    throw bodyInvalid(this.#at, 'a key in double quotes is missing', hintFor(byte))
  }

  #readColon(byte: number): void {
    if (byte !== 0x3a) throw bodyInvalid(this.#at, 'a colon is missing')
    this.#at++
    this.#state = VALUE
  }

  #readComma(byte: number): void {
    const isArray = this.tape.cells[this.#container * STRIDE] === KIND.ARRAY
    if (byte === (isArray ? 0x5d : 0x7d)) return this.#close()
    if (byte !== 0x2c) throw bodyInvalid(this.#at, 'a comma is missing', hintFor(byte))
    this.#at++
    this.#state = isArray ? VALUE : KEY
  }

  #open(kind: number): void {
    if (++this.#depth > this.#depthMax) {
      throw bodyInvalid(this.#at, `nested deeper than ${this.#depthMax}`)
    }
    const node = this.#addValue(kind, this.#at, 0)
    this.tape.cells[node * STRIDE + NEXT_CELL] = 0
    this.#container = node
    this.#at++
    this.#state = kind === KIND.ARRAY ? ELEMENT_OR_END : KEY_OR_END
  }

  #close(): void {
    const { cells } = this.tape
    const cell = this.#container * STRIDE
    if ((cells[cell]! & KIND_MASK) === KIND.OBJECT) this.#keys.close(this.#depth)
    this.#at++
    cells[cell + END_CELL] = this.#at
    cells[cell + NEXT_CELL] = this.tape.count
    this.#container = cells[cell + PARENT_CELL]!
    this.#depth--
    this.#state = this.#container === -1 ? NOTHING : COMMA_OR_END
  }

  #addValue(kind: number, start: number, end: number): number {
    const { values } = this.#maximums
    if (++this.#values > values) throw bodyInvalid(start, `more than ${values} values`)
    const parent = this.#container
    const node = this.tape.add(kind, start, end, parent)
    const { cells } = this.tape
    if (parent !== -1) cells[node * STRIDE + POSITION_CELL] = cells[parent * STRIDE + NEXT_CELL]!++
    return node
  }

  #beginString(kind: number): void {
    this.#stringStart = this.#at
    this.#stringKind = kind
    this.#at++
    this.#state = IN_STRING
  }

  #readString(until: number): void {
    const bytes = this.#bytes
    let at = this.#at
    while (at < until) {
      const soon = Math.min(at + LOOKED_AT, until)
      while (at < soon && STRING_CLASS[bytes[at]!] === PLAIN) at++
      if (at === soon && at < until) at = this.#plainEnd(at, until)
      if (at >= until) break
      const kind = STRING_CLASS[bytes[at]!]
      if (kind === QUOTE) return this.#endString(at + 1)
      if (kind === CONTROL) {
        throw bodyInvalid(at, 'a control character in a string', 'Escape it, like \\n.')
      }
      this.#stringKind |= kind === BACKSLASH ? ESCAPED : WIDE
      at += kind === BACKSLASH ? escapeBytes(bytes, at) : 1
    }
    this.#at = at
  }

  /** Where plain characters end that begin at `at`. */
  #plainEnd(from: number, until: number): number {
    if (this.#latin1 !== null) {
      PLAIN_RUN.lastIndex = from
      PLAIN_RUN.test(this.#latin1)
      return PLAIN_RUN.lastIndex
    }
    const bytes = this.#bytes
    let at = from
    while (at < until && STRING_CLASS[bytes[at]!] === PLAIN) at++
    return at
  }

  #endString(end: number): void {
    this.#at = end
    if ((this.#stringKind & KIND_MASK) === KIND.STRING) {
      this.#addValue(this.#stringKind, this.#stringStart, end)
      this.#state = COMMA_OR_END
      return
    }
    const object = this.#container
    const key = this.tape.add(this.#stringKind, this.#stringStart, end, object)
    this.#keys.add(key, object, this.tape.cells[object * STRIDE + NEXT_CELL]!, this.#depth)
    this.#state = COLON
  }
}

function hintFor(byte: number): string | undefined {
  if (byte === 0x27) return 'Strings take double quotes.'
  if (byte === 0x2f || byte === 0x23) return 'JSON has no comments.'
  if (byte === 0x7d || byte === 0x5d) return 'JSON has no trailing commas.'
  if (byte === 0x4e || byte === 0x49) return 'NaN and Infinity are not JSON.'
  return undefined
}
