/** Reads a request body as strict JSON and answers questions about it without building objects. */
import { isAscii, isUtf8 } from 'node:buffer'

import { GovernorError } from '../errors.ts'
import { type JsonMaximums, JsonScanner } from './json-scan.ts'
import { escapeBytes } from './json-string.ts'
import {
  decodeToken,
  END_CELL,
  ESCAPED,
  KIND,
  KIND_MASK,
  NEXT_CELL,
  PARENT_CELL,
  pointerToken,
  POSITION_CELL,
  START_CELL,
  STRIDE,
  WIDE,
} from './json-tape.ts'
import type { Kind, Tape } from './json-tape.ts'
import { STRETCH_BYTES } from './steps.ts'

/** What is decoded in one go: about a millisecond where every second byte is an escape. */
const DECODED_BYTES = 64 * 1024
const BACKSLASH = 0x5c
/** No name and no word of any API needs more: 1024 characters as escapes. */
const WORD_BYTES_MAX = 6 * 1024 + 2
const INTEGER = /^(?:0|[1-9][0-9]{0,15})$/

/**
 * Reads `bytes`, yielding every 64 KiB. Throws BODY_INVALID for all that RFC 8259 does not allow,
 * for what parsers read differently (duplicate keys, lone surrogates), for a text that is not one
 * object, and for one deeper than `depthMax` or larger than the maximums of the scanner.
 */
export function* readJson(
  bytes: Buffer,
  depthMax: number,
  maximums?: JsonMaximums,
): Generator<void, JsonDocument> {
  checkEncoding(bytes)
  const scanner = new JsonScanner(bytes, depthMax, null, maximums)
  while (!scanner.step(STRETCH_BYTES)) yield
  return new JsonDocument(bytes, scanner.tape, bytes.toString('latin1'))
}

/** Cells of the texts that are read at once; off the heap, so that a new array a call costs the collector. */
let reused: Int32Array = new Int32Array(4096 * STRIDE)

/**
 * As `readJson`, at once, for short texts. The document is good until the next one is read this way:
 * it must not be kept beyond the turn of the event loop.
 */
export function readJsonNow(bytes: Buffer, depthMax: number): JsonDocument {
  checkEncoding(bytes)
  const latin1 = bytes.toString('latin1')
  const scanner = new JsonScanner(bytes, depthMax, { latin1, cells: reused })
  scanner.step(bytes.length)
  reused = scanner.tape.cells
  return new JsonDocument(bytes, scanner.tape, latin1)
}

function checkEncoding(bytes: Buffer): void {
  const [first, second] = [bytes[0], bytes[1]]
  if (first === 0xef && second === 0xbb && bytes[2] === 0xbf) throw notUtf8('a byte order mark')
  // No JSON text begins with NUL; in UTF-16 and UTF-32 the first brace has one beside it.
  const isMarked = (first === 0xfe && second === 0xff) || (first === 0xff && second === 0xfe)
  if (isMarked || first === 0 || second === 0) throw notUtf8('UTF-16 or UTF-32')
  if (!isUtf8(bytes)) throw notUtf8('bytes that are not UTF-8')
}

function notUtf8(detail: string): GovernorError {
  return new GovernorError('BODY_INVALID', {
    detail,
    hint: 'Send UTF-8 without a byte order mark.',
  })
}

/** A JSON text that was accepted. Nodes are numbers; the root, always an object, is 0. */
export class JsonDocument {
  readonly bytes: Buffer
  /** Nodes, keys included. */
  readonly count: number
  readonly #cells: Int32Array
  /** One character a byte, so that byte offsets are string offsets and a plain text is a slice. */
  readonly #latin1: string

  constructor(bytes: Buffer, { cells, count }: Tape, latin1: string) {
    this.bytes = bytes
    this.count = count
    this.#cells = cells
    this.#latin1 = latin1
  }

  /** The text itself where it is plain ASCII without a backslash, so that all strings are in it as they are. */
  get plain(): string | undefined {
    const isPlain = isAscii(this.bytes) && !this.bytes.includes(BACKSLASH)
    return isPlain ? this.#latin1 : undefined
  }

  kind(node: number): Kind {
    return (this.#cells[node * STRIDE]! & KIND_MASK) as Kind
  }

  /** Whether a string or key was written with a backslash. */
  isEscaped(node: number): boolean {
    return (this.#cells[node * STRIDE]! & ESCAPED) !== 0
  }

  /** Whether a string or key is ASCII written without a backslash: as long as its token, less two. */
  isPlain(node: number): boolean {
    return (this.#cells[node * STRIDE]! & (ESCAPED | WIDE)) === 0
  }

  /** First byte of the value, opening quote or bracket included. */
  start(node: number): number {
    return this.#cells[node * STRIDE + START_CELL]!
  }

  /** Byte after the value. */
  end(node: number): number {
    return this.#cells[node * STRIDE + END_CELL]!
  }

  /** The container of a key or value; -1 for the root. */
  parent(node: number): number {
    return this.#cells[node * STRIDE + PARENT_CELL]!
  }

  /** The node after a value and everything in it; not for keys. */
  next(node: number): number {
    return this.#cells[node * STRIDE + NEXT_CELL]!
  }

  /** Position of a value among its siblings. */
  position(node: number): number {
    return this.#cells[node * STRIDE + POSITION_CELL]!
  }

  /** Text of a string or key. A slice that shares memory unless it holds escapes or non-ASCII. */
  text(node: number): string {
    const cell = node * STRIDE
    const kind = this.#cells[cell]!
    const start = this.#cells[cell + START_CELL]!
    const end = this.#cells[cell + END_CELL]!
    if ((kind & WIDE) !== 0) return decodeToken(this.bytes, kind, start, end)
    if ((kind & ESCAPED) === 0) return this.#latin1.slice(start + 1, end - 1)
    return JSON.parse(this.#latin1.slice(start, end)) as string
  }

  /** As `text`, decoding an escaped one of many megabytes in stretches. */
  *textInSteps(node: number): Generator<void, string> {
    const start = this.start(node) + 1
    const end = this.end(node) - 1
    if (!this.isEscaped(node) || end - start <= DECODED_BYTES) return this.text(node)
    const parts: string[] = []
    for (let from = start; from < end;) {
      const to = Math.min(end, this.#cut(from, from + DECODED_BYTES))
      parts.push(JSON.parse(`"${this.bytes.toString('utf8', from, to)}"`) as string)
      from = to
      if (from < end) yield
    }
    return parts.join('')
  }

  /** A place from `to` on that is inside no escape, no pair of them and no character. */
  #cut(from: number, to: number): number {
    let at = from
    while (at < to) at += this.bytes[at] === BACKSLASH ? escapeBytes(this.bytes, at) : 1
    while ((this.bytes[at]! & 0xc0) === 0x80) at++
    return at
  }

  /** Text of a name or a word the API knows; '' where a string is longer than any of them. */
  word(node: number): string {
    return this.end(node) - this.start(node) > WORD_BYTES_MAX ? '' : this.text(node)
  }

  /** Text of a string in memory of its own, for what outlives the request (names, models). */
  copy(node: number): string {
    const kind = this.#cells[node * STRIDE]!
    return decodeToken(this.bytes, kind, this.start(node), this.end(node))
  }

  /** An integer from 0 up to 2^53 - 1, written as digits; null for every other value. */
  integer(node: number): number | null {
    if (this.kind(node) !== KIND.NUMBER) return null
    const digits = this.#latin1.slice(this.start(node), this.end(node))
    const value = INTEGER.test(digits) ? Number(digits) : Number.NaN
    return Number.isSafeInteger(value) ? value : null
  }

  /** Whether the key node spells `name`, which must be ASCII without characters JSON escapes. */
  isKey(key: number, name: string): boolean {
    if (this.isEscaped(key)) return this.text(key) === name
    const start = this.start(key) + 1
    return this.end(key) - 1 - start === name.length && this.#latin1.startsWith(name, start)
  }

  /** Whether the value is the string `text`. */
  isString(node: number, text: string): boolean {
    return this.kind(node) === KIND.STRING && this.word(node) === text
  }

  /** Value of the member `name` of an object; -1 when there is none or `node` is no object. */
  member(node: number, name: string): number {
    if (this.kind(node) !== KIND.OBJECT) return -1
    const end = this.next(node)
    for (let key = node + 1; key < end; key = this.next(key + 1)) {
      if (this.isKey(key, name)) return key + 1
    }
    return -1
  }

  /** As `member`, with a null value counted as absent. */
  given(node: number, name: string): number {
    const value = this.member(node, name)
    return value === -1 || this.kind(value) === KIND.NULL ? -1 : value
  }

  /** Elements of an array, or values of an object's members (the key is at `value - 1`). */
  *children(node: number): Generator<number> {
    const skip = this.kind(node) === KIND.OBJECT ? 1 : 0
    const end = this.next(node)
    for (let at = node + 1 + skip; at < end; at = this.next(at) + skip) yield at
  }

  /** JSON pointer (RFC 6901) of a value; of a key, its member's. Built on demand. */
  pointer(node: number): string {
    const tokens: string[] = []
    let at = this.kind(node) === KIND.KEY ? node + 1 : node
    for (let parent = this.parent(at); parent !== -1; parent = this.parent(at)) {
      const inObject = this.kind(parent) === KIND.OBJECT
      tokens.push(inObject ? pointerToken(this.text(at - 1)) : String(this.position(at)))
      at = parent
    }
    return tokens.reduceRight((path, token) => `${path}/${token}`, '')
  }
}
