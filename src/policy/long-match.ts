import { type DenseAutomaton, Place, WORK_MAX } from './dense-automaton.ts'
import type { Units } from './units.ts'

/**
 * Runs the engine's automata over a text in slices, so that the event loop breathes between them. The
 * public calls of re2js run to the end of a text (16 MiB: 0.2 s), and leave the automaton for a far
 * slower machine where a text makes it grow; here it is emptied and goes on.
 */

/**
 * One run of an automaton over a text that comes in pieces, none of which ends inside a pair. Without
 * `found` it is over at the first match; with it, it goes on to the end and hands over the ids of all
 * patterns of a set. Reading throws a RangeError when a single state is larger than the automaton's memory.
 */
export class LongMatch {
  readonly #automaton: DenseAutomaton
  readonly #place: Place
  #restedAt = 0
  #matched = false

  constructor(automaton: DenseAutomaton, found?: (id: number) => void) {
    this.#automaton = automaton
    this.#place = new Place((ids) => {
      this.#matched = true
      if (found !== undefined) for (const id of ids) found(id)
      return found === undefined
    })
  }

  /** Nothing that follows can change the answer. */
  get isOver(): boolean {
    return this.#place.isOver
  }

  /** Reads the next piece, yielding where it took long. */
  *read(piece: string, units: Units): Generator<undefined, void> {
    for (let at = 0; at < piece.length && !this.isOver;) {
      const count = units.fill(piece, at, piece.length)
      at += this.readUnits(units.values, 0, count)
      if (this.takesLong()) yield
    }
  }

  /** Reads units of a piece and says up to where: not all, where much had to be learned. */
  readUnits(units: Uint16Array, from: number, to: number): number {
    return this.isOver ? to : this.#automaton.read(units, from, to, this.#place)
  }

  /** Whether it is time to breathe, asked since it last was. */
  takesLong(): boolean {
    if (this.#place.work - this.#restedAt < WORK_MAX) return false
    this.#restedAt = this.#place.work
    return true
  }

  /** The text has ended; whether it matched. */
  end(): boolean {
    this.#automaton.end(this.#place)
    return this.#matched
  }
}
