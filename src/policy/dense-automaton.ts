/**
 * The engine's automaton with its transitions in one table of numbers. The engine looks a class up
 * and follows an object for every character (9 ns); two loads from tables that are filled as texts
 * need them take a quarter of that. What a transition is, the engine says.
 */

/** Part of re2js 2.10's `DFA` class, the version that is pinned; tests compare it with `RE2JS.test`. */
export interface Automaton {
  readonly numClasses: number
  /** First code points of the classes of runes, in order; class `n` ends before bound `n`. */
  readonly classBounds: ArrayLike<number>
  runeClass(rune: number): number
  start(input: { context(at: number): number }, at: number): AutomatonState | null
  step(state: AutomatonState, kind: number, rune: number, anchor: number): AutomatonState | null
  resetCache(state: AutomatonState): AutomatonState | null
}

interface AutomatonState {
  readonly isMatch: boolean
  readonly matchIDs: readonly number[]
}

/** `EMPTY_BEGIN_TEXT | EMPTY_BEGIN_LINE` of re2js. */
const AT_START = { context: () => 4 | 1 }
const END_OF_TEXT = -1
const UNANCHORED = 0
/** What building a transition costs, in known ones. */
const WORK_PER_BUILD = 256
/** Work between two breaths: at most some milliseconds, where all has to be built. */
export const WORK_MAX = 64 * 1024
/** Cells of a table before it is begun anew, 8 MiB. */
const CELLS_MAX = 2 * 1024 * 1024
const PAGE = 256
const SURROGATE_FIRST = 0xd800 / PAGE
const SURROGATE_LAST = 0xdf00 / PAGE

/** Takes the ids of patterns that match; true when no more are wanted. */
export type Take = (ids: readonly number[]) => boolean

/** Where one reader of a text is. A fresh one for each text and automaton. */
export class Place {
  readonly take: Take
  /** Offset of a row; the row of another epoch means nothing. */
  row = 0
  epoch = 0
  state: AutomatonState | null = null
  /** What was done, in transitions that were known. */
  work = 0
  /** `take` wants no more. */
  isOver = false

  constructor(take: Take) {
    this.take = take
  }
}

/** One for each automaton of a snapshot; texts share what it has learned. */
export class DenseAutomaton {
  readonly #engine: Automaton
  /** Columns: the classes, the end of the text, and surrogates, whose cells stay empty. */
  readonly #width: number
  readonly #pages: Uint16Array
  readonly #kinds: Uint16Array
  /** Offset of the next row, complemented when patterns match there; 0 where nobody has been. */
  #table: Int32Array
  #states: (AutomatonState | null)[] = [null]
  #rows = new Map<AutomatonState, number>()
  #epoch = 1

  constructor(engine: Automaton) {
    this.#engine = engine
    this.#width = engine.numClasses + 2
    this.#pages = new Uint16Array(PAGE)
    this.#kinds = kindsByPage(engine, this.#pages)
    this.#table = new Int32Array(this.#width * 16)
  }

  /**
   * Reads units `from` to `to`, none of which cuts a pair, and moves `place`. Stops early when no more is
   * wanted or where much had to be built; says where.
   */
  read(units: Uint16Array, from: number, to: number, place: Place): number {
    const most = place.work + WORK_MAX
    let i = from
    while (i < to && !place.isOver && place.work < most) {
      const at = this.#known(units, i, to, place)
      place.work += at - i
      i = at
      if (i >= to || place.isOver) break
      const rune = runeAt(units, i, to)
      i += rune > 0xffff ? 2 : 1
      this.#step(place, this.#engine.runeClass(rune), rune)
    }
    return i
  }

  /** Learns what the first `count` units need. */
  warm(units: Uint16Array, count: number): void {
    const place = new Place(() => false)
    for (let at = 0; at < count;) at = this.read(units, at, count, place)
    this.end(place)
  }

  /** The text has ended. */
  end(place: Place): void {
    if (!place.isOver) this.#step(place, this.#engine.numClasses, END_OF_TEXT)
  }

  /** Reads as long as transitions are known; says where it stopped. */
  #known(units: Uint16Array, from: number, to: number, place: Place): number {
    let row = this.#rowOf(place)
    const table = this.#table
    const pages = this.#pages
    const kinds = this.#kinds
    let taken = 0
    let i = from
    for (; i < to; i++) {
      const unit = units[i] ?? 0
      const next = table[row + (kinds[(pages[unit >> 8] ?? 0) + (unit & 0xff)] ?? 0)] ?? 0
      if (next > 0) {
        row = next
        continue
      }
      if (next === 0) break
      row = ~next
      if (row === taken) continue
      taken = row
      this.#settle(place, row)
      if (place.isOver) break
    }
    place.row = row
    place.state = this.#states[row / this.#width] ?? null
    return i
  }

  #settle(place: Place, row: number): void {
    place.row = row
    place.state = this.#states[row / this.#width] ?? null
    if (place.state?.isMatch === true) place.isOver = place.take(place.state.matchIDs)
  }

  #rowOf(place: Place): number {
    if (place.epoch === this.#epoch) return place.row
    place.state ??= ready(this.#engine.start(AT_START, 0))
    place.row = this.#rowFor(place.state)
    place.epoch = this.#epoch
    return place.row
  }

  /** Makes one transition, also one that nobody has made. */
  #step(place: Place, kind: number, rune: number): void {
    const row = this.#rowOf(place)
    const cell = this.#table[row + kind] ?? 0
    if (cell === 0) {
      const epoch = this.#epoch
      const state = this.#built(ready(place.state), kind, rune)
      place.row = this.#rowFor(state)
      place.state = state
      // Rows of before are gone when the table was begun anew.
      if (epoch === this.#epoch) this.#table[row + kind] = state.isMatch ? ~place.row : place.row
      place.epoch = this.#epoch
      place.work += WORK_PER_BUILD
      if (state.isMatch) place.isOver = place.take(state.matchIDs)
    } else {
      this.#settle(place, cell < 0 ? ~cell : cell)
      place.work++
    }
  }

  #built(state: AutomatonState, kind: number, rune: number): AutomatonState {
    const next = this.#engine.step(state, kind, rune, UNANCHORED)
    if (next !== null) return next
    // The engine has no memory left: what it has forgotten is not kept here either.
    this.#forget()
    const again = ready(this.#engine.resetCache(state))
    return ready(this.#engine.step(again, kind, rune, UNANCHORED))
  }

  #rowFor(state: AutomatonState): number {
    const known = this.#rows.get(state)
    if (known !== undefined) return known
    if ((this.#states.length + 1) * this.#width > CELLS_MAX) this.#forget()
    const row = this.#states.push(state) * this.#width - this.#width
    this.#rows.set(state, row)
    if (row + this.#width > this.#table.length) {
      const larger = new Int32Array(this.#table.length * 2)
      larger.set(this.#table)
      this.#table = larger
    }
    return row
  }

  #forget(): void {
    this.#epoch++
    this.#rows = new Map()
    this.#states = [null]
    this.#table = new Int32Array(this.#width * 16)
  }
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

/** The code point at `at`; of half a pair the half. */
function runeAt(units: Uint16Array, at: number, to: number): number {
  const high = units[at] ?? 0
  const low = at + 1 < to ? (units[at + 1] ?? 0) : 0
  if (!isHigh(high) || !isLow(low)) return high
  return ((high - 0xd800) << 10) + (low - 0xdc00) + 0x10000
}

/** The class of every unit by page; pages of one class are one. */
function kindsByPage(engine: Automaton, pages: Uint16Array): Uint16Array {
  const mixed = new Set<number>()
  for (const bound of Array.from(engine.classBounds)) {
    if (bound % PAGE !== 0) mixed.add(Math.floor(bound / PAGE))
  }
  const kinds: number[] = []
  const uniform = new Map<number, number>()
  for (let page = 0; page < PAGE; page++) {
    const kind = kindOfPage(engine, page, mixed)
    const known = kind === null ? undefined : uniform.get(kind)
    pages[page] = known ?? kinds.length
    if (known !== undefined) continue
    if (kind !== null) uniform.set(kind, kinds.length)
    for (let i = 0; i < PAGE; i++) kinds.push(kind ?? engine.runeClass(page * PAGE + i))
  }
  return Uint16Array.from(kinds)
}

/** The class of all units of a page; null where they have several. */
function kindOfPage(engine: Automaton, page: number, mixed: ReadonlySet<number>): number | null {
  if (page >= SURROGATE_FIRST && page <= SURROGATE_LAST) return engine.numClasses + 1
  return mixed.has(page) ? null : engine.runeClass(page * PAGE)
}

function ready(state: AutomatonState | null): AutomatonState {
  if (state === null) throw new RangeError('Cannot match: a pattern needs too much memory')
  return state
}
