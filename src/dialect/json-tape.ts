/**
 * The tape: a JSON text as one flat array of numbers, six cells a node, in document order. Objects
 * hold key, value, key, value …; an array holds its elements. It costs 24 bytes a node, is built
 * without recursion, and nothing a client sends ever becomes a property of a JavaScript object.
 */
import { GovernorError } from '../errors.ts'

/** What a node is; a key stands before its value. */
export const KIND = {
  NULL: 0,
  FALSE: 1,
  TRUE: 2,
  NUMBER: 3,
  STRING: 4,
  KEY: 5,
  OBJECT: 6,
  ARRAY: 7,
} as const
export type Kind = (typeof KIND)[keyof typeof KIND]

/** The kind without its flags. */
export const KIND_MASK = 7
/** Flag of a string or key that holds at least one backslash escape. */
export const ESCAPED = 8
/** Flag of a string or key that holds at least one byte above 0x7f. */
export const WIDE = 16

/** Cells of a node: kind and flags; first byte; byte after the last (quotes included). */
export const STRIDE = 6
export const KIND_CELL = 0
export const START_CELL = 1
export const END_CELL = 2
/** The container's node; -1 for the root. */
export const PARENT_CELL = 3
/** The node after the whole value. While a container is open: children so far. Of a key: its hash. */
export const NEXT_CELL = 4
/** Position of an element in its array. */
export const POSITION_CELL = 5

const CAPACITY_MIN = 64
const CAPACITY_FIRST_MAX = 64 * 1024
/** A chat body has about one node per sixteen bytes; a wrong guess costs one copy. */
const BYTES_PER_NODE = 16

/** An append-only tape that doubles its room when full. */
export class Tape {
  cells: Int32Array
  /** Nodes written. */
  count = 0

  /** Room for a text of `bytes`; none at all where `cells` are to be written over. */
  constructor(bytes: number, cells?: Int32Array) {
    if (cells !== undefined) {
      this.cells = cells
      return
    }
    const guess = Math.max(CAPACITY_MIN, Math.ceil(bytes / BYTES_PER_NODE))
    const nodes = Math.min(guess, CAPACITY_FIRST_MAX)
    this.cells = new Int32Array(nodes * STRIDE)
  }

  /** Appends a node whose value ends at `end`; returns its number. */
  add(kind: number, start: number, end: number, parent: number): number {
    const node = this.count++
    const cell = node * STRIDE
    if (cell >= this.cells.length) this.#grow()
    const { cells } = this
    cells[cell] = kind
    cells[cell + START_CELL] = start
    cells[cell + END_CELL] = end
    cells[cell + PARENT_CELL] = parent
    cells[cell + NEXT_CELL] = node + 1
    return node
  }

  #grow(): void {
    const larger = new Int32Array(this.cells.length * 2)
    larger.set(this.cells)
    this.cells = larger
  }
}

/** Text of a string or key token, quotes at both ends, already checked by the scanner. */
export function decodeToken(bytes: Buffer, kind: number, start: number, end: number): string {
  if ((kind & ESCAPED) !== 0) return JSON.parse(bytes.toString('utf8', start, end)) as string
  return bytes.toString((kind & WIDE) === 0 ? 'latin1' : 'utf8', start + 1, end - 1)
}

/** One reference token of a JSON pointer (RFC 6901 §3). */
export function pointerToken(key: string): string {
  return /[~/]/.test(key) ? key.replaceAll('~', '~0').replaceAll('/', '~1') : key
}

const POINTER_CHARS_SHOWN_MAX = 256

/** A refusal of the body, by JSON pointer or by byte offset (counted from 0). */
export function bodyInvalid(where: string | number, what: string, hint?: string): GovernorError {
  const pointer = typeof where === 'string' ? where.slice(0, POINTER_CHARS_SHOWN_MAX) : undefined
  return new GovernorError('BODY_INVALID', {
    detail:
      pointer === undefined ? `${what} at byte ${where}` : `${what} at ${pointer || 'the top'}`,
    ...(hint === undefined ? {} : { hint }),
    ...(pointer === undefined ? {} : { param: pointer }),
  })
}
