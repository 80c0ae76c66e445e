import { Cursor, LiteralAutomaton } from './automaton.ts'
import { foldText } from './fold.ts'
import { normaliseText } from './normalise.ts'
import { singleSpaced, startOf } from './spaces.ts'
import { isWordAt, isWordBefore } from './word-boundary.ts'

/** Finds where the words of one list stand in a text; made once a snapshot. */
export class WordFinder {
  readonly #words: readonly string[]
  readonly #automaton: LiteralAutomaton

  /** Throws a RangeError when the words are too many. */
  constructor(words: readonly string[]) {
    const folded = words.map((word) => foldText(singleSpaced(normaliseText(word)).trim()))
    this.#words = [...new Set(folded)].filter((word) => word !== '')
    this.#automaton = new LiteralAutomaton(this.#words, { looseSpaces: true })
  }

  /** Calls `found` with the place of every whole word, in UTF-16 units; they may overlap. */
  find(text: string, found: (start: number, end: number) => void): void {
    this.#automaton.scan(text, text.length, new Cursor(), {
      hit: (index, end) => {
        const word = this.#words[index] ?? ''
        const start = startOf(text, word, end)
        const goesOn =
          (isWordAt(word, 0) && isWordBefore(text, start)) ||
          (isWordBefore(word, word.length) && isWordAt(text, end))
        if (!goesOn) found(start, end)
      },
    })
  }
}
