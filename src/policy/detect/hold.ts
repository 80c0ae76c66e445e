import { Cursor, LiteralAutomaton } from '../automaton.ts'
import type { LookAlikes } from '../look-alikes.ts'
import { normaliseWithIndex } from '../normalise-index.ts'
import { mayReadOtherwise } from '../normalise.ts'
import { Units } from '../units.ts'
import type { Detector } from './detector.ts'

/** What detectors look at behind a value before they take it, UTF-16 units. */
const MARGIN_UNITS = 48
/** And what a word or a pattern may: one character, which may be two units. */
const BOUNDARY_UNITS = 2
/** Memory to read texts in as they look. */
const LOOK_UNITS = 4096

interface Anchored {
  readonly literal: string
  readonly detectors: readonly Detector[]
}

/** Tells of a text that is still growing which part of it nothing can begin in any more. */
export class Hold {
  /** Units in which something without a literal may have begun. */
  readonly #units: number
  /** Units in which a literal itself may have begun, and what stands before it. */
  readonly #openUnits: number
  readonly #automaton: LiteralAutomaton
  readonly #anchored: readonly Anchored[]
  readonly #lookAlikes: LookAlikes | null
  readonly #looking: Units | null

  /**
   * `units` is the longest match of everything beside detectors, 0 when there is nothing. With
   * `lookAlikes` something may also begin in a text as it looks.
   */
  constructor(detectors: readonly Detector[], units: number, lookAlikes: LookAlikes | null = null) {
    this.#lookAlikes = lookAlikes
    this.#looking = lookAlikes === null ? null : new Units(LOOK_UNITS)
    const literals = new Map<string, Detector[]>()
    let unanchored = units === 0 ? 0 : units + BOUNDARY_UNITS
    let open = 0
    for (const detector of detectors) {
      const { charsBefore, charsMax } = detector
      if (charsBefore === undefined) unanchored = Math.max(unanchored, charsMax + MARGIN_UNITS)
      for (const literal of charsBefore === undefined ? [] : new Set(detector.literals)) {
        literals.set(literal, [...(literals.get(literal) ?? []), detector])
        open = Math.max(open, literal.length + (charsBefore ?? 0))
      }
    }
    this.#units = unanchored
    this.#openUnits = open
    this.#automaton = new LiteralAutomaton([...literals.keys()])
    this.#anchored = [...literals].map(([literal, users]) => ({ literal, detectors: users }))
  }

  /**
   * Offset in `text` from which on a match may begin whose end is not known yet; `text.length` when
   * there is none. Counted in what a reader sees, so that invisible characters hold nothing open.
   */
  from(text: string): number {
    if (!mayReadOtherwise(text)) return this.#from(text)
    const normal = normaliseWithIndex(text)
    const at = Math.min(this.#from(normal.text), this.#fromLooks(normal.text))
    return at >= normal.text.length ? text.length : normal.original(at, at + 1).start
  }

  #fromLooks(normal: string): number {
    if (this.#lookAlikes === null || this.#looking === null) return normal.length
    const looks = this.#lookAlikes.read(normal, this.#looking)
    return looks === normal ? normal.length : this.#from(looks)
  }

  #from(text: string): number {
    let first = Math.max(0, text.length - Math.max(this.#units, this.#openUnits))
    if (this.#anchored.length === 0) return first
    this.#automaton.scan(text, text.length, new Cursor(), {
      hit: (index, end) => {
        const { literal, detectors } = this.#anchored[index] ?? { literal: '', detectors: [] }
        const start = end - literal.length
        for (const detector of detectors) {
          const before = Math.max(0, start - (detector.charsBefore ?? 0))
          if (before < first && isOpen(detector, text, { start, literal })) first = before
        }
      },
    })
    return first
  }
}

function isOpen(
  { charsMax, charsBefore = 0, isOver }: Detector,
  text: string,
  { start, literal }: { readonly start: number; readonly literal: string },
): boolean {
  if (text.length - start >= charsMax - charsBefore + MARGIN_UNITS) return false
  return isOver?.(text, start, literal) !== true
}
