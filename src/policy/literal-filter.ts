/**
 * Tells where in a text a literal may begin, from three units at every other place: most of a text is
 * passed over at half of what an automaton takes, whose every step waits for the one before.
 */

/** Letters are told apart by so much of their column. */
const CLASSES = 64
const CLASS = CLASSES - 1
const SHIFT = 6
/** The third letter, whatever it is. */
const ANY = 0x80
/** Bits that third letters share. */
const GROUPS = 7
/** Units of a literal that are looked at. */
const UNITS_MAX = 4
/** More spaces than this are as many as that. */
const SPACES_MAX = 3
/** Where so many of all triples of letters may be the beginning of one, reading all of it is faster. */
const SHARE_MAX = 0.1
const SPACE = ' '

/** What of a literal can be seen at a place: two letters and a third; null stands for any. */
type Seen = readonly [string | null, string | null, string | null]

/** The beginnings of a set of literals. */
export class LiteralFilter {
  /** By two letters: groups of the third. */
  readonly #pairs = new Uint8Array(CLASSES * CLASSES)
  readonly #thirds = new Uint8Array(CLASSES)

  /** The column of a unit in the automaton; what is beside it there is or'ed. */
  readonly #columnOf: Uint16Array

  private constructor(columnOf: Uint16Array) {
    this.#columnOf = columnOf
    for (let third = 0; third < CLASSES; third++) this.#thirds[third] = groupOf(third) | ANY
  }

  /**
   * Of folded literals, none empty, in letters of which `columns` has the number; with `looseSpaces` a
   * space is any number of them. Null where most texts are full of such beginnings.
   */
  static of(
    literals: readonly string[],
    columns: ReadonlyMap<number, number>,
    { columnOf, looseSpaces }: { readonly columnOf: Uint16Array; readonly looseSpaces: boolean },
  ): LiteralFilter | null {
    const filter = new LiteralFilter(columnOf)
    const classOf = (letter: string) => (columns.get(letter.charCodeAt(0)) ?? 0) & CLASS
    for (const literal of literals) {
      for (const begin of looseSpaces ? spacedOut(literal) : [literal]) {
        for (const seen of seenOf(begin)) filter.#add(seen, classOf)
      }
    }
    return filter.#share(classOf) > SHARE_MAX ? null : filter
  }

  /**
   * The first place from `from` on, every other one, at which one may begin or have begun a unit before; where
   * none does, the first that has fewer than two units behind it. Notes in `into` what it has seen before.
   */
  next(units: Uint16Array, from: number, count: number, into: { seen: number }): number {
    const columnOf = this.#columnOf
    const pairs = this.#pairs
    const thirds = this.#thirds
    let at = from
    if (at + 2 >= count) return at
    let first = columnOf[units[at]!]!
    let seen = 0
    for (; at + 2 < count; at += 2) {
      const second = columnOf[units[at + 1]!]!
      const third = columnOf[units[at + 2]!]!
      seen |= first | second
      const pair = pairs[((first & CLASS) << SHIFT) | (second & CLASS)]!
      if ((pair & thirds[third & CLASS]!) !== 0) break
      first = third
    }
    into.seen |= seen
    return at
  }

  #add([first, second, third]: Seen, classOf: (letter: string) => number): void {
    const groups = third === null ? ANY : groupOf(classOf(third))
    for (const one of first === null ? ALL : [classOf(first)]) {
      for (const other of second === null ? ALL : [classOf(second)]) {
        this.#pairs[(one << SHIFT) | other]! |= groups
      }
    }
  }

  /** How many of all triples of letters and spaces are the beginning of one. */
  #share(classOf: (letter: string) => number): number {
    const classes = Array.from('abcdefghijklmnopqrstuvwxyz ', classOf)
    let found = 0
    for (const first of classes) {
      for (const second of classes) {
        const groups = this.#pairs[(first << SHIFT) | second]!
        for (const third of classes) if ((groups & this.#thirds[third]!) !== 0) found++
      }
    }
    return found / classes.length ** 3
  }
}

const ALL = Array.from({ length: CLASSES }, (_, index) => index)

function groupOf(third: number): number {
  return 1 << (third % GROUPS)
}

/** What is seen of a literal at the place where it begins, and at those beside it: one or the other is looked at. */
function seenOf(literal: string): readonly Seen[] {
  const [one = '', two = null, three = null, four = null] = literal.split('')
  if (two === null)
    return [
      [one, null, null],
      [null, one, null],
    ]
  if (three === null)
    return [
      [one, two, null],
      [null, one, two],
    ]
  return [
    [one, two, three],
    [two, three, four],
  ]
}

/** How a literal may begin whose spaces are any number of them; the first of it is the last of several. */
function spacedOut(literal: string): readonly string[] {
  let begins = ['']
  for (const [index, letter] of literal.slice(0, UNITS_MAX).split('').entries()) {
    const most = letter === SPACE && index > 0 ? SPACES_MAX : 1
    begins = begins.flatMap((begin) =>
      Array.from({ length: most }, (_, more) => begin + letter.repeat(more + 1)),
    )
  }
  return begins
}
