/**
 * Steps the engine's automaton over a long text in slices, so that the event loop breathes between
 * them. The public calls of re2js run to the end of a text (16 MiB: 0.2 s), and leave the automaton
 * for a far slower machine where a text makes it grow; here it is emptied and goes on.
 */

/** Part of re2js 2.10's `DFA` class, the version that is pinned; tests compare it with `RE2JS.test`. */
export interface Automaton {
  readonly numClasses: number
  readonly latin1Class: ArrayLike<number>
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
  readonly next: readonly (AutomatonState | null)[] | null
}

/** `EMPTY_BEGIN_TEXT | EMPTY_BEGIN_LINE` of re2js. */
const AT_START = { context: () => 4 | 1 }
const END_OF_TEXT = -1
const UNANCHORED = 0
/** Work between two breaths, in known transitions: about 1 ms. */
const WORK_PER_SLICE = 64 * 1024
/** What building a transition costs, in known ones. */
const WORK_PER_BUILD = 256

/**
 * Tells, yielding as it goes, whether `automaton` matches somewhere in `text`; with `found`, goes on
 * to the end and hands over the ids of all patterns of a set. Throws when a single state is larger
 * than the automaton's memory.
 */
export function* matchLongText(
  automaton: Automaton,
  text: string,
  found?: (id: number) => void,
): Generator<undefined, boolean> {
  const match = new LongMatch(automaton, found)
  yield* match.read(text)
  return match.end()
}

/** One run of an automaton over a text that comes in pieces, none of which ends inside a pair. */
export class LongMatch {
  readonly #automaton: Automaton
  readonly #found: ((id: number) => void) | undefined
  #state: AutomatonState
  #work = 0
  /** The class of the last character beyond Latin-1, and its range. */
  #kind = 0
  #from = 0
  #to = 0
  #matched = false

  constructor(automaton: Automaton, found?: (id: number) => void) {
    this.#automaton = automaton
    this.#found = found
    this.#state = ready(automaton.start(AT_START, 0))
  }

  /** Nothing that follows can change the answer. */
  get isOver(): boolean {
    return this.#matched && this.#found === undefined
  }

  /** Reads the next piece. */
  *read(piece: string): Generator<undefined, void> {
    const automaton = this.#automaton
    const { latin1Class } = automaton
    let state = this.#state
    for (let i = 0; i < piece.length && !this.isOver; i++) {
      const rune = piece.codePointAt(i) ?? END_OF_TEXT
      if (rune > 0xffff) i++
      const kind = latin1Class[rune] ?? this.#kindBeyond(rune)
      const known = state.next?.[kind] ?? null
      state = known ?? build(automaton, state, kind, rune)
      this.#work += known === null ? WORK_PER_BUILD : 1
      if (state.isMatch) this.#take(state)
      if (this.#work < WORK_PER_SLICE) continue
      this.#work = 0
      yield
    }
    this.#state = state
  }

  /** The text has ended; whether it matched. */
  end(): boolean {
    if (this.isOver) return true
    const automaton = this.#automaton
    const kind = kindOf(automaton, END_OF_TEXT)
    const known = this.#state.next?.[kind] ?? null
    this.#state = known ?? build(automaton, this.#state, kind, END_OF_TEXT)
    if (this.#state.isMatch) this.#take(this.#state)
    return this.#matched
  }

  /** Neighbours of a script are mostly of one class, so the range of the last one is remembered. */
  #kindBeyond(rune: number): number {
    if (rune >= this.#from && rune < this.#to) return this.#kind
    const { classBounds } = this.#automaton
    this.#kind = this.#automaton.runeClass(rune)
    this.#from = classBounds[this.#kind - 1] ?? 0
    this.#to = classBounds[this.#kind] ?? Infinity
    return this.#kind
  }

  #take({ matchIDs }: AutomatonState): void {
    this.#matched = true
    if (this.#found !== undefined) for (const id of matchIDs) this.#found(id)
  }
}

function kindOf(automaton: Automaton, rune: number): number {
  if (rune === END_OF_TEXT) return automaton.numClasses
  return automaton.latin1Class[rune] ?? automaton.runeClass(rune)
}

function build(
  automaton: Automaton,
  state: AutomatonState,
  kind: number,
  rune: number,
): AutomatonState {
  const next = automaton.step(state, kind, rune, UNANCHORED)
  if (next !== null) return next
  return ready(automaton.step(ready(automaton.resetCache(state)), kind, rune, UNANCHORED))
}

function ready(state: AutomatonState | null): AutomatonState {
  if (state === null) throw new RangeError('Cannot match: a pattern needs too much memory')
  return state
}
