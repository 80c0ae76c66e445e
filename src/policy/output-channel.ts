import { decodedReadings, openCode } from './decoded.ts'
import { findPlaces, type Found } from './output-find.ts'
import type { OutputRules } from './output-rules.ts'

/** What is kept of text that was let go, for what stands before a match. */
const CONTEXT_UNITS = 512
/** What detectors look at behind a value before they take it. */
const MARGIN_UNITS = 48
/** What a word or a pattern looks at behind itself: one character. */
const BOUNDARY_UNITS = 2
/** The most one channel holds back; more is more than any match, stretched by invisible characters. */
export const CHANNEL_UNITS_MAX = 256 * 1024
/** The most that is held because it may be encoded. */
const CODE_UNITS_MAX = 8 * 1024
/** A text that is held for long is looked at again when it has grown by this part. */
const REGROWTH = 8
const REGROWTH_FROM_UNITS = 1024

/** What became certain of a channel; offsets count from its beginning. */
export interface Settled {
  /** Text before this may go on. */
  readonly releasedTo: number
  /** Places in it, each once, in order; the last may reach beyond `releasedTo`. */
  readonly found: readonly Found[]
  /** Places behind it that are certain already; they will be in `found`, too. */
  readonly ahead: readonly Found[]
}

/** Tells values apart, and what found them. */
export function nameOf(key: string, value: string): string {
  return `${key} ${value}`
}

/** Thrown where more would have to be held back than anything needs. */
export class HeldTooLong extends RangeError {
  override readonly name = 'HeldTooLong'
}

/**
 * One text of an answer that comes piece by piece. Lets go what no match can begin in any more, by
 * what was said and never by time, so that the same text is found the same however it is cut.
 */
export class OutputChannel {
  readonly #rules: OutputRules
  /** The end of what was let go, then what is held. */
  #text = ''
  /** Offset of `#text` in the channel. */
  #base = 0
  #released = 0
  /** By key, the end of the last place that was reported. */
  readonly #reported = new Map<string, number>()
  #known: ReadonlySet<string> = new Set()
  #escaped = ''
  /** Length at which it was looked at last. */
  #seenUnits = 0

  constructor(rules: OutputRules) {
    this.#rules = rules
  }

  /** Units said so far. */
  get length(): number {
    return this.#base + this.#text.length
  }

  get releasedTo(): number {
    return this.#released
  }

  /** Names of all that is in the text at hand, certain or not. */
  get known(): ReadonlySet<string> {
    return this.#known
  }

  /** The text that was looked at last, where JSON escapes may be in it, once; else ''. */
  takeEscaped(): string {
    const escaped = this.#escaped
    this.#escaped = ''
    return escaped
  }

  /** The text goes on. Throws `HeldTooLong`. */
  push(text: string): void {
    const held = this.length - this.#released + text.length
    if (held > CHANNEL_UNITS_MAX) throw new HeldTooLong('held too long')
    this.#text += text
  }

  /** What may go on now; all of it where the text `isOver`. Yields; throws `TextsTooLarge`. */
  *settle(isOver: boolean): Generator<undefined, Settled> {
    const held = this.length - this.#released
    const grown = this.length - this.#seenUnits
    const isLate = held > REGROWTH_FROM_UNITS && grown < held / REGROWTH
    if (!isOver && (isLate || grown === 0))
      return { releasedTo: this.#released, found: [], ahead: [] }
    this.#seenUnits = this.length
    const all = yield* findPlaces(this.#rules, this.#text)
    if (this.#text.includes('\\')) {
      // What ends here may go on in what comes next.
      this.#escaped = isOver ? this.#text : this.#text.slice(0, -MARGIN_UNITS)
      this.#known = new Set(all.map(({ key, value }) => nameOf(key, value)))
    }
    const open = isOver ? this.#text.length : yield* this.#openFrom(all)
    const before = this.#released
    this.#released = Math.max(before, this.#base + open)
    const found = this.#report(all, before, isOver)
    const released = this.#released - this.#base
    const ahead = all.filter((place) => place.start >= released && this.#isThere(place))
    this.#forget()
    return { releasedTo: this.#released, found, ahead }
  }

  /** Where in `#text` a match may begin that is not certain yet. */
  *#openFrom(all: readonly Found[]): Generator<undefined, number> {
    const { hold } = this.#rules
    let open = Math.min(hold.from(this.#text), yield* this.#codeFrom())
    for (const place of all) {
      const { start, end } = place
      if (start > open || open >= end || !this.#isOver(place)) continue
      open = end + hold.from(this.#text.slice(end))
    }
    return open
  }

  /**
   * Where in `#text` a match may begin in what is encoded, or what is encoded goes on. A run is held for
   * as long as all of it may be a text, up to 8 KiB of it.
   */
  *#codeFrom(): Generator<undefined, number> {
    const text = this.#text
    let open = openCode(text)
    for (const reading of yield* decodedReadings(text)) {
      const from = this.#rules.hold.from(reading.text)
      if (from < reading.text.length) {
        open = Math.min(open, reading.original(from, from + 1).start)
      }
    }
    return Math.max(open, text.length - CODE_UNITS_MAX)
  }

  /** Places in what was let go. */
  #report(all: readonly Found[], before: number, isOver: boolean): readonly Found[] {
    const found: Found[] = []
    for (const place of all) {
      const { key, value } = place
      const start = place.start + this.#base
      const end = place.end + this.#base
      const isKnown = (start < before && end <= before) || end <= (this.#reported.get(key) ?? -1)
      if (isKnown || (start >= this.#released && !isOver)) continue
      if (!isOver && this.#goesOn(place)) throw new HeldTooLong('longer than its window')
      this.#reported.set(key, end)
      found.push({ start, end, key, value })
    }
    return found
  }

  /** A pattern's match that was held back for as long as it may be, and still ends with the text. */
  #goesOn({ key, start, end }: Found): boolean {
    return key.startsWith('p') && end === this.#text.length && end > start
  }

  /** Whatever follows: a pattern may find a longer match, but a match there is. */
  #isThere(place: Found): boolean {
    if (this.#rules.sure.has(place.key)) return this.#isOver(place)
    return place.end + BOUNDARY_UNITS <= this.#text.length
  }

  /** A value of a detector is what it is once the text goes on behind it; a pattern may find a longer one. */
  #isOver({ key, end }: Found): boolean {
    return this.#rules.sure.has(key) && end + MARGIN_UNITS <= this.#text.length
  }

  #forget(): void {
    const from = this.#released - CONTEXT_UNITS - this.#base
    if (from <= 0) return
    const isPair = (this.#text.codePointAt(from - 1) ?? 0) > 0xffff
    const cut = isPair ? from - 1 : from
    this.#text = this.#text.slice(cut)
    this.#base += cut
  }
}
