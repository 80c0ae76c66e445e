import { foldUnit } from './fold.ts'
import { LiteralFilter } from './literal-filter.ts'
import { mayReadOtherwise } from './normalise.ts'
import { isSpace, SPACE } from './spaces.ts'

/** Cells of the transition table, 64 MiB: some 200,000 words. */
const TABLE_CELLS_MAX = 16 * 1024 * 1024

/** What one pass over a text reports. */
export interface LiteralHits {
  /** Literal `index` ends before code unit `end` of the text. */
  hit(index: number, end: number): void
}

/** How far a text was read. A fresh one for each text; no two readers share one. */
export class Cursor {
  at = 0
  row = 0
  /** OR of what the table has for all code units read. */
  seen = 0

  /** Whether all of it is ASCII and no control but white space, which nothing reads otherwise. */
  get isPlain(): boolean {
    return (this.seen & ODD) === 0
  }
}

/** Set beside the column of a unit that may read otherwise; there are fewer columns than that. */
const ODD = 0x8000
const COLUMN = ODD - 1

/** How literals are compared. */
export interface LiteralOptions {
  /** A space of a literal stands for any white space, however long; literals have single ones. */
  readonly looseSpaces?: boolean
}

/**
 * Finds any of many literals in one pass, whatever their number (Aho and Corasick, 1975). Letters are
 * compared by `foldUnit`. A table row a state, a column a distinct letter: one code unit costs two loads,
 * the second of which waits for the one before, 3.5 ns; where no literal begins, less than half of that.
 */
export class LiteralAutomaton {
  readonly #columnOf: Uint16Array
  /** Offset of the next row; complemented when literals end there. */
  readonly #table: Int32Array
  /** Literals that end at a row, by its offset. */
  readonly #ends: ReadonlyMap<number, readonly number[]>
  /** Where one may begin; null where that is nearly everywhere. */
  readonly #filter: LiteralFilter | null

  /** Takes folded literals, none empty. Throws a RangeError when their table would be too large. */
  constructor(literals: readonly string[], { looseSpaces = false }: LiteralOptions = {}) {
    this.#columnOf = new Uint16Array(0x10000)
    const columns = columnsOf(literals)
    for (let unit = 0; unit < 0x10000; unit++) {
      const letter = looseSpaces && isSpace(unit) ? SPACE : foldUnit(unit)
      const isOdd = mayReadOtherwise(String.fromCharCode(unit))
      this.#columnOf[unit] = (columns.get(letter) ?? 0) | (isOdd ? ODD : 0)
    }
    const trie = trieOf(literals, columns, looseSpaces)
    this.#table = trie.table
    this.#ends = trie.ends
    this.#filter = LiteralFilter.of(literals, columns, {
      columnOf: this.#columnOf,
      looseSpaces,
    })
  }

  /**
   * Reads `text` from the cursor to `end` and moves the cursor there. Slices, one after the other,
   * report what the whole would have.
   */
  scan(text: string, end: number, cursor: Cursor, hits: LiteralHits): void {
    const columnOf = this.#columnOf
    const table = this.#table
    let seen = cursor.seen
    let row = cursor.row
    for (let i = cursor.at; i < end; i++) {
      const column = columnOf[text.charCodeAt(i)] ?? 0
      seen |= column
      row = table[row + (column & COLUMN)] ?? 0
      if (row < 0) {
        row = ~row
        for (const index of this.#ends.get(row) ?? []) hits.hit(index, i + 1)
      }
    }
    cursor.at = end
    cursor.row = row
    cursor.seen = seen
  }

  /** The same of `count` units that follow each other from the cursor on. */
  scanUnits(units: Uint16Array, count: number, cursor: Cursor, hits: LiteralHits): void {
    const columnOf = this.#columnOf
    const table = this.#table
    const filter = this.#filter
    const base = cursor.at
    let { row, seen } = cursor
    let until = filter === null ? count : 0
    for (let i = 0; i < count;) {
      for (; i < count && (i < until || row !== 0); i++) {
        const column = columnOf[units[i]!]!
        seen |= column
        row = table[row + (column & COLUMN)]!
        if (row < 0) {
          row = ~row
          for (const index of this.#ends.get(row) ?? []) hits.hit(index, base + i + 1)
        }
      }
      if (filter === null || i >= count) break
      const next = filter.next(units, i, count, cursor)
      until = next + 2 < count ? next + 2 : count
      i = Math.max(i, next - 1)
    }
    cursor.at = base + count
    cursor.row = row
    cursor.seen |= seen
  }
}

/** A column for every letter that occurs; column 0 is every other. */
function columnsOf(literals: readonly string[]): ReadonlyMap<number, number> {
  const columns = new Map<number, number>()
  for (const literal of literals) {
    for (let i = 0; i < literal.length; i++) {
      const unit = literal.charCodeAt(i)
      if (!columns.has(unit)) columns.set(unit, columns.size + 1)
    }
  }
  return columns
}

interface Trie {
  readonly table: Int32Array
  readonly ends: ReadonlyMap<number, readonly number[]>
}

function trieOf(
  literals: readonly string[],
  columns: ReadonlyMap<number, number>,
  looseSpaces: boolean,
): Trie {
  const width = columns.size + 1
  const space = looseSpaces ? columns.get(SPACE) : undefined
  const table = emptyTable(literals, width)
  const ends = new Map<number, number[]>()
  let used = 1
  for (const [index, literal] of literals.entries()) {
    let row = 0
    for (let i = 0; i < literal.length; i++) {
      const column = columns.get(literal.charCodeAt(i)) ?? 0
      const cell = row + column
      if (table[cell] === 0) table[cell] = used++ * width
      row = table[cell] ?? 0
      // More of it stays where it is.
      if (column === space) table[row + column] = row
    }
    ends.set(row, [...(ends.get(row) ?? []), index])
  }
  linkFailures(table, width, ends)
  for (let cell = 0; cell < table.length; cell++) {
    const row = table[cell] ?? 0
    if (ends.has(row)) table[cell] = ~row
  }
  return { table, ends }
}

function emptyTable(literals: readonly string[], width: number): Int32Array {
  const rows = 1 + literals.reduce((sum, literal) => sum + literal.length, 0)
  if (rows * width <= TABLE_CELLS_MAX) return new Int32Array(rows * width)
  throw new RangeError(`Cannot compile ${literals.length} words and literals: too many letters`)
}

/** Breadth first: an absent transition goes where the longest proper suffix would go. */
function linkFailures(table: Int32Array, width: number, ends: Map<number, number[]>): void {
  const suffixOf = new Map<number, number>()
  const queue = [...table.subarray(1, width)].filter((child) => child !== 0)
  for (const row of queue) {
    const suffix = suffixOf.get(row) ?? 0
    const inherited = ends.get(suffix)
    if (inherited !== undefined) ends.set(row, [...(ends.get(row) ?? []), ...inherited])
    for (let column = 1; column < width; column++) {
      const onSuffix = table[suffix + column] ?? 0
      const child = table[row + column] ?? 0
      if (child === row) continue
      if (child === 0) table[row + column] = onSuffix
      else {
        suffixOf.set(child, onSuffix)
        queue.push(child)
      }
    }
  }
}
