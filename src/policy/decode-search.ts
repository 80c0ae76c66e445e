import { escapesAt } from './decode-escapes.ts'
import type { Patches } from './decode-patch.ts'
import { mayBeRunOf, mayReadUnits } from './decode-runs.ts'
import { DecodeScan, SERIES_UNITS_MAX } from './decode-scan.ts'
import {
  ENDS,
  EQUAL,
  ESCAPE,
  IS_BEHIND_EQUAL,
  IS_LONG_RUN,
  isHexKind,
  JOINT,
  KIND_OF,
  LOOK,
  MAY_BE_RUN,
  MAY_BE_SERIES,
  NEXT,
  NEXT_BUT_ONE,
  ODD,
  OTHER,
  START,
} from './decode-sieve.ts'
import { Units } from './units.ts'

/** Units that are looked up in a go. */
const WINDOW_UNITS = 2048
const EQUALS = 0x3d
const HASH = 0x23
/** Longer runs are read closely, which is done in steps. */
const LONG_RUN_UNITS = 64 * 1024
/** Goes on with the next unit. */
const ON = -1
/** Texts take turns in it; it is filled again before anything is read. */
const UNITS = new Units(WINDOW_UNITS)

/**
 * Finds what is encoded in a text: most of it is passed over by a table of states, and what that flags
 * is read closely. In as many steps as its caller likes; about 1.5 ns a unit where there is nothing.
 */
export class DecodeSearch {
  /** There are characters that read as others, which were passed over. */
  #isOdd = false
  readonly #text: string
  readonly #into: Patches
  readonly #spells: boolean
  /** Null until there is something to be read closely, which in most texts there is not. */
  #closeScan: DecodeScan | null = null
  #isClose = false
  #state = START
  #at = 0
  /** Before it all has been read. */
  #done = 0

  /** With `spells` words are found that are spaced letter by letter. */
  constructor(text: string, into: Patches, spells = true) {
    this.#text = text
    this.#into = into
    this.#spells = spells
  }

  /** Something was encoded. */
  get hasFound(): boolean {
    return this.#closeScan?.hasFound === true
  }

  get isOdd(): boolean {
    return this.#isOdd || this.#closeScan?.isOdd === true
  }

  get hasSpelled(): boolean {
    return this.#closeScan?.hasSpelled === true
  }

  get #close(): DecodeScan {
    return (this.#closeScan ??= new DecodeScan(this.#text, this.#into, this.#spells))
  }

  /** Where it goes on. */
  get at(): number {
    return this.#at
  }

  /**
   * Goes on up to `to`, or until it has gone back to read a run again; false where that is the end of the
   * text, and `finish` is to follow.
   */
  run(to: number): boolean {
    const { length } = this.#text
    const end = Math.min(to, length)
    while (this.#at < end) {
      const from = this.#at
      if (this.#isClose) {
        this.#readClosely(end)
        // However far that is, it is a step of its own.
        if (this.#at < from) break
      } else {
        this.#at = from + this.#pass(from, UNITS.fill(this.#text, from, end))
      }
    }
    return this.#at < length
  }

  /** What ends where the text does; false where a part of it is still to be read. */
  finish(): boolean {
    const { length } = this.#text
    if (!this.#isClose) {
      if (NEXT[(this.#state << 4) + OTHER]! >= LOOK) {
        this.#at = this.#look(length, OTHER, ENDS[this.#state]!)
      }
      return !this.#isClose
    }
    const hasFinished = this.#close.finish()
    this.#at = this.#close.at
    return hasFinished
  }

  #readClosely(end: number): void {
    this.#close.run(end)
    this.#at = this.#close.at
    if (!this.#close.hasEnded) return
    this.#isClose = false
    this.#goOn(this.#at)
  }

  #goOn(at: number): void {
    this.#done = at
    this.#state = START
  }

  /** Passes over the units in hand, the first of which stands at `from`; returns how many are done. */
  #pass(from: number, count: number): number {
    const { values } = UNITS
    let state = this.#state
    for (let i = 0; i < count; i++) {
      for (; i + 1 < count; i += 2) {
        const next =
          NEXT_BUT_ONE[(state << 8) + (KIND_OF[values[i]!]! << 4) + KIND_OF[values[i + 1]!]!]!
        if (next === LOOK) break
        state = next
      }
      if (i >= count) break
      const kind = KIND_OF[values[i]!]!
      const next = NEXT[(state << 4) + kind]!
      if (next < LOOK || this.#isNothing(i, count, kind, ENDS[state]!)) {
        state = next & (LOOK - 1)
        continue
      }
      const at = this.#lookAt(from + i, kind, ENDS[state]!)
      if (at === ON) state = next - LOOK
      else if (this.#isClose || at >= from + count) return at - from
      else {
        state = START
        i = at - from - 1
      }
    }
    this.#state = state
    return count
  }

  /** Told from the units in hand: most of what is flagged in code. */
  #isNothing(at: number, count: number, kind: number, ends: number): boolean {
    if (kind === ODD || (ends & (MAY_BE_SERIES | IS_BEHIND_EQUAL)) !== 0) return false
    if (kind === ESCAPE && (at + 1 >= count || mayFollow(UNITS.values[at + 1]!))) return false
    return (ends & MAY_BE_RUN) === 0 || this.#isNoRun(at)
  }

  /** Whether the run that ends before the unit at `end` begins like no text. */
  #isNoRun(end: number): boolean {
    const { values } = UNITS
    let start = end
    let isHex = true
    const first = Math.max(0, this.#done - this.#at)
    while (start > first) {
      const kind = KIND_OF[values[start - 1]!]!
      if (kind >= JOINT) break
      isHex &&= isHexKind(kind)
      start--
    }
    // It may begin before them, or have parts.
    if (isHex || (start === 0 && this.#at > this.#done)) return false
    const isPart = start > first && KIND_OF[values[start - 1]!] === JOINT
    return !isPart && !mayReadUnits(values, start, end)
  }

  /** Looks at what the unit at `at` ends or begins, or the `=` before it; returns where to go on. */
  #lookAt(at: number, kind: number, ends: number): number {
    const isPadding = (ends & IS_BEHIND_EQUAL) !== 0 && kind !== ODD && kind !== ESCAPE
    return isPadding ? this.#look(at - 1, EQUAL, IS_LONG_RUN) : this.#look(at, kind, ends)
  }

  /** Looks at what ends before the unit at `at`, or begins with it; returns where to go on. */
  #look(at: number, kind: number, ends: number): number {
    if (kind === ODD) this.#isOdd = true
    const start =
      ends === 0 ? at : Math.min(this.#runStart(at, kind, ends), this.#seriesStart(at, ends))
    if (start < at) {
      this.#isClose = true
      this.#close.begin(start, at)
      return start
    }
    if (kind < ESCAPE) return ON
    const run = escapesAt(this.#text, at)
    if (run === null) return ON
    this.#close.add({ ...run, start: at, isApart: false })
    this.#goOn(run.end)
    return run.end
  }

  /** Where a run begins that may be base64 or hexadecimal digits and ends at `end`; `end` where none does. */
  #runStart(end: number, kind: number, ends: number): number {
    if ((ends & IS_LONG_RUN) === 0) return end
    const isPadded = kind === EQUAL && this.#text.charCodeAt(end + 1) === EQUALS
    if (!isPadded && (ends & MAY_BE_RUN) === 0) return end
    let start = end
    while (start > this.#done && KIND_OF[this.#text.charCodeAt(start - 1)]! <= JOINT) start--
    return kind === JOINT || this.#mayRead(start, end) ? start : end
  }

  /** Whether a run, or what stands between two joints of it, may be a text. */
  #mayRead(start: number, end: number): boolean {
    if (end - start > LONG_RUN_UNITS || mayBeRunOf(this.#text, start, end)) return true
    let part = start
    for (let at = start; at < end; at++) {
      if (KIND_OF[this.#text.charCodeAt(at)] !== JOINT) continue
      if (mayBeRunOf(this.#text, part, at)) return true
      part = at + 1
    }
    return part !== start && mayBeRunOf(this.#text, part, end)
  }

  /** Where the first of four short words begins, the last of which ends at `end`; `end` where there are none. */
  #seriesStart(end: number, ends: number): number {
    if ((ends & MAY_BE_SERIES) === 0) return end
    let start = Math.max(this.#done, end - SERIES_UNITS_MAX)
    while (start > this.#done && start < end && this.#isInWord(start)) start++
    return start
  }

  #isInWord(at: number): boolean {
    return KIND_OF[this.#text.charCodeAt(at - 1)]! < JOINT
  }
}

/** Whether an escape may go on with a unit: letters, digits, `#`. */
function mayFollow(unit: number): boolean {
  return KIND_OF[unit]! < JOINT || unit === HASH
}
