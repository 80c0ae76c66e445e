import { Cursor, LiteralAutomaton } from './automaton.ts'
import { foldText } from './fold.ts'
import type { LookAlikes } from './look-alikes.ts'
import { normaliseText } from './normalise.ts'
import { singleSpaced, startOf } from './spaces.ts'
import { isWordAt, isWordBefore } from './word-boundary.ts'

/** Finds where the words of one list stand in a text; made once a snapshot. */
export class WordFinder {
  readonly #words: readonly string[]
  readonly #automaton: LiteralAutomaton

  /** With `lookAlikes` words are also found in texts as they look. Throws a RangeError when the words are too many. */
  constructor(words: readonly string[], lookAlikes: LookAlikes | null = null) {
    const read = words.map((word) => singleSpaced(normaliseText(word)).trim())
    const looks = lookAlikes === null ? [] : read.map((word) => lookAlikes.word(word))
    const folded = [...read, ...looks].map(foldText)
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
