import { hash } from 'node:crypto'

/**
 * The Merkle tree of RFC 6962 §2.1 (`SHA-256(0x00 ‖ leaf)`, `SHA-256(0x01 ‖ left ‖ right)`), kept as
 * compact ranges: the roots of the largest complete subtrees that lie between two places. Adding a
 * leaf costs two digests on average, and a range holds at most two nodes a level.
 */

interface Node {
  /** Index of its first leaf. */
  readonly at: number
  /** Leaves below it. */
  readonly leaves: number
  readonly hash: Uint8Array
}

const HASH_BYTES = 32
const ZERO = Buffer.alloc(1)
const EMPTY_ROOT = Buffer.from(hash('sha256', ''), 'hex')

/** The leaves from `begin` to `end` (excluded) of a tree. */
export class CompactRange {
  readonly begin: number
  #end: number
  #nodes: Node[]

  /** An empty range that begins at this leaf. */
  constructor(begin = 0) {
    this.begin = begin
    this.#end = begin
    this.#nodes = []
  }

  /**
   * The range from `begin` to `end` whose nodes these are, 32 bytes each, left to right. Null when
   * their number or length is another: which subtrees there are follows from the two ends.
   */
  static of(begin: number, end: number, hashes: readonly Uint8Array[]): CompactRange | null {
    if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end)) return null
    if (begin < 0 || end < begin) return null
    const range = new CompactRange(begin)
    for (const each of hashes) {
      if (each.length !== HASH_BYTES || range.#end >= end) return null
      const leaves = subtreeAt(range.#end, end)
      range.#nodes.push({ at: range.#end, leaves, hash: each })
      range.#end += leaves
    }
    return range.#end === end ? range : null
  }

  get end(): number {
    return this.#end
  }

  get hashes(): readonly Uint8Array[] {
    return this.#nodes.map((node) => node.hash)
  }

  /** Adds one leaf: the bytes themselves, here an entry's hash. */
  add(leaf: Uint8Array): void {
    this.#push({ at: this.#end, leaves: 1, hash: leafHash(leaf) })
    this.#end += 1
  }

  /** Adds the leaves of a range that begins where this one ends. Throws a RangeError otherwise. */
  append(range: CompactRange): void {
    if (range.begin !== this.#end) throw new RangeError('The ranges do not touch')
    for (const node of range.#nodes) this.#push(node)
    this.#end = range.#end
  }

  copy(): CompactRange {
    const copy = new CompactRange(this.begin)
    copy.#end = this.#end
    copy.#nodes = [...this.#nodes]
    return copy
  }

  /** Root of the tree, 32 bytes; only of a range that begins at 0. */
  root(): Uint8Array {
    const last = this.#nodes.at(-1)
    if (last === undefined) return EMPTY_ROOT
    let root = last.hash
    for (let index = this.#nodes.length - 2; index >= 0; index--) {
      root = nodeHash(this.#nodes[index]!.hash, root)
    }
    return root
  }

  #push(node: Node): void {
    let right = node
    for (;;) {
      const left = this.#nodes.at(-1)
      // Two neighbours become one where a complete tree of their size begins.
      if (left === undefined || left.leaves !== right.leaves) break
      if ((left.at / left.leaves) % 2 !== 0) break
      this.#nodes.pop()
      right = { at: left.at, leaves: left.leaves * 2, hash: nodeHash(left.hash, right.hash) }
    }
    this.#nodes.push(right)
  }
}

/** Leaves of the largest complete subtree that begins at `at` and ends no later than `end`. */
function subtreeAt(at: number, end: number): number {
  let leaves = 1
  while (at % (leaves * 2) === 0 && at + leaves * 2 <= end) leaves *= 2
  return leaves
}

/** Kept between calls, which are synchronous; a tree takes two digests an entry. */
const LEAF = Buffer.alloc(1 + HASH_BYTES)
const PAIR = Buffer.alloc(1 + 2 * HASH_BYTES, 1)

function leafHash(leaf: Uint8Array): Uint8Array {
  if (leaf.length !== HASH_BYTES)
    return Buffer.from(hash('sha256', Buffer.concat([ZERO, leaf])), 'hex')
  LEAF.set(leaf, 1)
  return Buffer.from(hash('sha256', LEAF), 'hex')
}

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  PAIR.set(left, 1)
  PAIR.set(right, 1 + HASH_BYTES)
  return Buffer.from(hash('sha256', PAIR), 'hex')
}
