/**
 * Tables of what most characters read as: one unit, themselves or another. A text of such units is
 * normalised by one load for each (2 ns), and every place in it stays where it was.
 */

import { CONTINUES, flagsOf } from './character-flags.ts'

const PAGE = 256
const UNITS = 0x10000
/** Not simple, or not asked about; U+FFFF itself, which is no character, takes the long way. */
const NONE = 0xffff
/** ASCII that is no control begins and ends here. */
const SPACE = 0x20
const DELETE = 0x7f
/** Where a page has none of these, that it stays as it is can be told by one call. */
const MAY_NOT_STAY =
  /[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\p{Nd}\p{Pd}\u1100-\u11ff\u2018\u2019\u2212\u3130-\u318f\ud7b0-\ud7ff\uff9e-\uffdf]/v

/** How single units read; worked out a page at a time when a text first needs them, then fixed. */
export class SimpleUnits {
  readonly #reads = new Uint16Array(UNITS).fill(NONE)
  readonly #known = new Uint8Array(UNITS / PAGE)
  readonly #readOf: (character: string) => string

  /** `readOf` says what a character by itself reads as. */
  constructor(readOf: (character: string) => string) {
    this.#readOf = readOf
  }

  /** Whether `unit` reads as one unit, whatever stands before it. */
  isSimple(unit: number): boolean {
    const page = unit >> 8
    if (this.#known[page] === 0) this.#ask(page)
    return this.#reads[unit] !== NONE
  }

  /**
   * Writes over units `from` to `to` what they read as, up to the last before the first that is not
   * simple, for that may merge with it; says where it stopped.
   */
  read(units: Uint16Array, from: number, to: number): number {
    const reads = this.#reads
    for (let i = from; i < to; i++) {
      const unit = units[i] ?? 0
      const read = reads[unit] ?? NONE
      if (read !== NONE) units[i] = read
      else if (this.isSimple(unit)) units[i] = reads[unit] ?? unit
      else return Math.max(from, i - 1)
    }
    return to
  }

  /** Whether all of the first `count` units read as themselves. */
  stay(units: Uint16Array, count: number): boolean {
    const reads = this.#reads
    for (let i = 0; i < count; i++) {
      const unit = units[i] ?? 0
      if (reads[unit] === unit && unit !== NONE) continue
      if (!this.isSimple(unit) || reads[unit] !== unit) return false
    }
    return true
  }

  #ask(page: number): void {
    this.#known[page] = 1
    const first = page * PAGE
    const all = String.fromCharCode(...Array.from({ length: PAGE }, (_, i) => first + i))
    const stays = !MAY_NOT_STAY.test(all) && this.#readOf(all) === all
    for (let unit = first; unit < first + PAGE; unit++) {
      this.#reads[unit] = stays ? unit : this.#readOfUnit(unit)
    }
  }

  #readOfUnit(unit: number): number {
    if (unit >= SPACE && unit < DELETE) return unit
    if ((flagsOf(unit) & CONTINUES) !== 0) return NONE
    const read = this.#readOf(String.fromCharCode(unit))
    return read.length === 1 ? read.charCodeAt(0) : NONE
  }
}
