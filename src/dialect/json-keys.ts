/** Refuses an object in which some parser could see one key twice. Linear in the keys. */
import { foldKey } from './json-fold.ts'
import {
  bodyInvalid,
  decodeToken,
  END_CELL,
  ESCAPED,
  KIND_CELL,
  NEXT_CELL,
  START_CELL,
  STRIDE,
  WIDE,
} from './json-tape.ts'
import type { Tape } from './json-tape.ts'

/** Longest key, in UTF-16 code units. */
export const KEY_CHARS_MAX = 1024
/** A code unit takes at most this many bytes, as `\uXXXX`. */
const BYTES_PER_CHAR_MAX = 6
/** Up to here keys are compared with each other; beyond, a set is kept for the object. */
const COMPARED_KEYS_MAX = 8

/** ASCII lower case of each byte. */
const LOWER = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte,
)

/** Keys seen in the objects that are open, by depth. */
export class KeyLedger {
  readonly #bytes: Buffer
  readonly #tape: Tape
  readonly #sets: (Set<string> | undefined)[] = []

  constructor(bytes: Buffer, tape: Tape) {
    this.#bytes = bytes
    this.#tape = tape
  }

  /** An object at `depth` was closed. */
  close(depth: number): void {
    if (depth < this.#sets.length) this.#sets[depth] = undefined
  }

  /**
   * Takes the key `node`, the `before`-th of `object` counted from 0. Throws BODY_INVALID when it
   * is too long or equal, by simple case folding, to an earlier one.
   */
  add(node: number, object: number, before: number, depth: number): void {
    this.#tape.cells[node * STRIDE + NEXT_CELL] = this.#hash(node)
    const repeated =
      before < COMPARED_KEYS_MAX
        ? this.#compare(node, object, before)
        : this.#lookup(node, object, before, depth)
    if (repeated) throw this.#duplicate(node)
  }

  #compare(node: number, object: number, before: number): boolean {
    const { cells } = this.#tape
    const hash = cells[node * STRIDE + NEXT_CELL]
    let key = object + 1
    for (let seen = 0; seen < before; seen++) {
      const same = cells[key * STRIDE + NEXT_CELL] === hash
      if (same && this.#folded(key) === this.#folded(node)) return true
      key = cells[(key + 1) * STRIDE + NEXT_CELL] ?? 0
    }
    return false
  }

  #lookup(node: number, object: number, before: number, depth: number): boolean {
    const set = (this.#sets[depth] ??= this.#collect(object, before))
    const size = set.size
    return set.add(this.#folded(node)).size === size
  }

  #collect(object: number, count: number): Set<string> {
    const set = new Set<string>()
    let key = object + 1
    for (let seen = 0; seen < count; seen++) {
      set.add(this.#folded(key))
      key = this.#tape.cells[(key + 1) * STRIDE + NEXT_CELL] ?? 0
    }
    return set
  }

  /** The mark keeps V8 from hashing `"1234"` as an array index, which anyone can make collide. */
  #folded(node: number): string {
    return `~${foldKey(this.#text(node))}`
  }

  #hash(node: number): number {
    const { cells } = this.#tape
    const cell = node * STRIDE
    const start = cells[cell + START_CELL]! + 1
    const end = cells[cell + END_CELL]! - 1
    const plain = (cells[cell + KIND_CELL]! & (ESCAPED | WIDE)) === 0
    if (end - start > KEY_CHARS_MAX) this.#checkLength(node, end - start)
    let hash = 0
    if (plain) {
      for (let at = start; at < end; at++) hash = (hash * 31 + LOWER[this.#bytes[at]!]!) | 0
    } else {
      const folded = foldKey(this.#text(node))
      for (let at = 0; at < folded.length; at++) hash = (hash * 31 + folded.charCodeAt(at)) | 0
    }
    return hash
  }

  #checkLength(node: number, bytes: number): void {
    if (bytes > KEY_CHARS_MAX * BYTES_PER_CHAR_MAX || this.#text(node).length > KEY_CHARS_MAX) {
      const start = this.#tape.cells[node * STRIDE + START_CELL]!
      throw bodyInvalid(start, `a key longer than ${KEY_CHARS_MAX} characters`)
    }
  }

  #text(node: number): string {
    const { cells } = this.#tape
    const cell = node * STRIDE
    const [kind, start, end] = [cells[cell]!, cells[cell + START_CELL]!, cells[cell + END_CELL]!]
    return decodeToken(this.#bytes, kind, start, end)
  }

  #duplicate(node: number): Error {
    const start = this.#tape.cells[node * STRIDE + START_CELL]!
    const shown = JSON.stringify(this.#text(node).slice(0, 64))
    return bodyInvalid(start, `a key that repeats another of its object, ${shown},`)
  }
}
