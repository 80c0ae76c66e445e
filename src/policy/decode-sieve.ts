import { BASE64_MIN } from './decode-runs.ts'

/**
 * Tells, unit by unit, where a text may hold something that is encoded: a table of states over kinds
 * of units, for most texts hold nothing and are only passed over. It may flag too much, never too little.
 */

/** Kinds of units. */
const HEX_SMALL = 0
/** With these no text in base64 begins: its first byte had the highest bit and were no first of several. */
const SMALL = 1
/** `w`, `y` and `z`, with which one may begin. */
const LATE_SMALL = 2
/** The `x` of `0x`. */
const CROSS = 3
export const ZERO = 4
export const DIGIT = 5
export const HEX_CAPITAL = 6
const CAPITAL = 7
const CROSS_CAPITAL = 8
/** A digit of base64 that ends a word. */
export const JOINT = 9
export const OTHER = 10
export const LINE_END = 11
export const WIDE = 12
/** A letter of ASCII in another width, or what is invisible: once normalised, it may stand for something. */
export const ODD = 13
/** What an escape begins with; `=` pads base64, too. */
export const ESCAPE = 14
export const EQUAL = 15
const KINDS = 16

const ODD_UNITS =
  /[\xad\u200b-\u200f\u2060-\u2064\ufeff\uff05\uff06\uff10-\uff19\uff1d\uff21-\uff3a\uff41-\uff5a\udb40\ud835]/g
/** Spaces, signs and punctuation of all scripts part words as those of ASCII do. */
const PARTS = /[\p{P}\p{S}\p{Z}]/gu
/** Units that are asked about at once. */
const PAGE = 256
const BY_PATTERN: readonly (readonly [RegExp, number])[] = [
  [/[a-f]/, HEX_SMALL],
  [/x/, CROSS],
  [/X/, CROSS_CAPITAL],
  [/[g-v]/, SMALL],
  [/[wyz]/, LATE_SMALL],
  [/0/, ZERO],
  [/[1-9]/, DIGIT],
  [/[A-F]/, HEX_CAPITAL],
  [/[G-Z]/, CAPITAL],
  [/[+/_-]/, JOINT],
  [/[%&\\]/, ESCAPE],
  [/=/, EQUAL],
  [/[\r\n]/, LINE_END],
  [/./s, OTHER],
]

/** The kind of every UTF-16 unit. */
export const KIND_OF = kinds()

function kinds(): Uint8Array {
  const table = new Uint8Array(0x10000).fill(WIDE)
  for (let first = 0; first < table.length; first += PAGE) {
    const page = String.fromCharCode(...Array.from({ length: PAGE }, (_, at) => first + at))
    for (const { index } of page.matchAll(PARTS)) table[first + index] = OTHER
    for (const { index } of page.matchAll(ODD_UNITS)) table[first + index] = ODD
  }
  for (let unit = 0; unit < 128; unit++) {
    const letter = String.fromCharCode(unit)
    table[unit] = BY_PATTERN.find(([pattern]) => pattern.test(letter))?.[1] ?? OTHER
  }
  return table
}

/** Words of one letter, or of two hexadecimal digits, that may be one word or some bytes. */
export const SERIES_MIN = 4

/** Where in a word: before it, behind one letter, behind `0`, `0x` and so on, or too far for a series. */
const BEFORE = 0
const LETTER = 1
const HEX_LETTER = 2
const NULL = 3
const PAIR = 4
const CROSSED = 5
const CROSSED_ONE = 6
const CROSSED_PAIR = 7
const LONG = 8
/** Behind `=`, which may pad the run before it, or not. */
const BEHIND_PADDING = 9
const BEHIND_EQUAL = 10
const PLACES = 11

/** Where a hexadecimal digit leads. */
const AFTER: Readonly<Record<number, number>> = {
  [HEX_LETTER]: PAIR,
  [NULL]: PAIR,
  [CROSSED]: CROSSED_ONE,
  [CROSSED_ONE]: CROSSED_PAIR,
}

/** What a run of base64 holds so far: letters as words have them, digits alone, or a mark that no word has. */
const LETTERS = 0
const DIGITS = 1
const MARKED = 2
/** What no text begins with. */
const NO_TEXT = 3
/** What follows a joint may be a run of its own. */
const HOLDS_BEHIND_JOINT = [LETTERS, MARKED, MARKED, LETTERS]

/** How far a run is and what it holds; how far a word is, and a series of short ones. */
interface State {
  readonly run: number
  readonly holds: number
  readonly place: number
  readonly words: number
}

/** Least hexadecimal digits that are a word. */
const HEX_MIN = 8
const RUNS = HEX_MIN + 1
/** Added to the next state where something has to be looked at. */
export const LOOK = 0x8000
/** The state at the beginning of a text. */
export const START = 0

/** The run that ends may be base64 or hexadecimal digits. */
export const MAY_BE_RUN = 1
/** It is long enough, should it be padded. */
export const IS_LONG_RUN = 2
/** The word that ends is the fourth of a series. */
export const MAY_BE_SERIES = 4
/** The unit before is `=`. */
export const IS_BEHIND_EQUAL = 8

const MACHINE = machine()
/** The next state, at sixteen times a state plus the kind of the next unit. */
export const NEXT = MACHINE.next
/** The next state but one, at 256 times a state plus both kinds; `LOOK` where one of both has to be looked at. */
export const NEXT_BUT_ONE = nextButOne(MACHINE.next)
/** What holds for what ends in a state. */
export const ENDS = MACHINE.ends

/** The states that a text can lead to, by number; fewer than a third of all. */
function machine(): { readonly next: Uint16Array; readonly ends: Uint8Array } {
  const numbers = new Map([[START, START]])
  const found = [START]
  const next: number[] = []
  for (const index of found) {
    for (let kind = 0; kind < KINDS; kind++) {
      const to = transition(stateAt(index), kind)
      const state = to % LOOK
      const number = numbers.get(state) ?? found.push(state) - 1
      numbers.set(state, number)
      next.push(number + (to - state))
    }
  }
  return { next: Uint16Array.from(next), ends: Uint8Array.from(found, endsOf) }
}

function nextButOne(next: Uint16Array): Uint16Array {
  return Uint16Array.from({ length: next.length * KINDS }, (_, index) => {
    const to = next[index >> 4]!
    return to >= LOOK ? LOOK : Math.min(LOOK, next[to * KINDS + (index % KINDS)]!)
  })
}

function indexOf({ run, holds, place, words }: State): number {
  return ((run + holds * RUNS) * PLACES + place) * SERIES_MIN + words
}

function stateAt(index: number): State {
  const words = index % SERIES_MIN
  const place = Math.floor(index / SERIES_MIN) % PLACES
  const run = Math.floor(index / (SERIES_MIN * PLACES))
  return { run: run % RUNS, holds: Math.floor(run / RUNS), place, words }
}

function endsOf(index: number): number {
  const state = stateAt(index)
  if (isBehindEqual(state)) return IS_BEHIND_EQUAL
  const run = (endsRun(state) ? MAY_BE_RUN : 0) | (state.run >= BASE64_MIN ? IS_LONG_RUN : 0)
  return run | (wordEnded(state).isSeries ? MAY_BE_SERIES : 0)
}

function isBehindEqual({ place }: State): boolean {
  return place === BEHIND_PADDING || place === BEHIND_EQUAL
}

/** Where a unit leads, by the index of the state, with `LOOK`. */
function transition(state: State, kind: number): number {
  const isBehind = isBehindEqual(state)
  const from = isBehind ? { ...state, place: BEFORE } : state
  const next = kind < JOINT ? insideWord(from, kind) : behindWord(from, kind)
  return isBehind && isPadding(state, kind) && next < LOOK ? next + LOOK : next
}

/** Whether `=` and the unit behind it may be padding, or be quoted-printable. */
function isPadding({ place }: State, kind: number): boolean {
  if (kind === EQUAL) return place === BEHIND_PADDING
  return kind === ZERO || kind === DIGIT || kind === HEX_CAPITAL
}

/** Digits alone are no text in base64: all of its bytes were the first of two or more. */
function endsRun({ run, holds }: Pick<State, 'run' | 'holds'>): boolean {
  return holds === MARKED ? run >= BASE64_MIN : holds === DIGITS && run === HEX_MIN
}

function insideWord(state: State, kind: number): number {
  const place = placeAfter(state.place, kind)
  return indexOf({
    run: Math.min(RUNS - 1, state.run + 1),
    holds: holdsAfter(state, kind),
    place,
    words: place === LONG ? 0 : state.words,
  })
}

function holdsAfter({ run, holds, place }: State, kind: number): number {
  const isDigit = kind === ZERO || kind === DIGIT
  if (run === 0 && kind === SMALL) return NO_TEXT
  if (run === 0) return isDigit ? DIGITS : LETTERS
  if (holds === NO_TEXT) return NO_TEXT
  if (holds === DIGITS) return isDigit ? DIGITS : MARKED
  const isMarked = isDigit || (kind >= HEX_CAPITAL && place !== BEFORE)
  return isMarked ? MARKED : holds
}

/** A letter of another script: it ends a run and no word. */
function wideLetter(state: State, kind: number): number {
  const place = state.place === BEFORE ? LETTER : LONG
  const words = place === LONG ? 0 : state.words
  const next = indexOf({ run: 0, holds: LETTERS, place, words })
  return kind === ODD || endsRun(state) ? next + LOOK : next
}

function behindWord(state: State, kind: number): number {
  if (kind === WIDE || kind === ODD) return wideLetter(state, kind)
  const { words, isSeries } = wordEnded(state)
  if (kind === JOINT) {
    const run = Math.min(RUNS - 1, state.run + 1)
    const holds = HOLDS_BEHIND_JOINT[state.holds]!
    const next = indexOf({ run, holds, place: BEFORE, words })
    return isSeries ? next + LOOK : next
  }
  const next = indexOf({ run: 0, holds: LETTERS, place: placeBehind(state, kind), words })
  return isSeries || kind === ODD || kind === ESCAPE || endsRun(state) ? next + LOOK : next
}

function placeBehind({ run }: State, kind: number): number {
  if (kind !== EQUAL) return BEFORE
  return run >= BASE64_MIN ? BEHIND_PADDING : BEHIND_EQUAL
}

function placeAfter(place: number, kind: number): number {
  const isCross = kind === CROSS || kind === CROSS_CAPITAL
  const isHex = !isCross && isHexKind(kind)
  if (place === BEFORE && kind === ZERO) return NULL
  if (place === BEFORE) return isHex ? HEX_LETTER : LETTER
  if (place === NULL && isCross) return CROSSED
  return isHex ? (AFTER[place] ?? LONG) : LONG
}

function wordEnded({ place, words }: Pick<State, 'place' | 'words'>) {
  if (place === BEFORE) return { words, isSeries: false }
  if (place === LONG || place === CROSSED || place === CROSSED_ONE) {
    return { words: 0, isSeries: false }
  }
  const isSeries = words + 1 >= SERIES_MIN
  return { words: isSeries ? words : words + 1, isSeries }
}

/** Whether nothing may go on behind it. */
export function endsWord(kind: number): boolean {
  return kind !== JOINT && kind !== WIDE
}

/** Whether a digit of base64 is one that words do not have there. */
export function isMark(kind: number, isFirst: boolean): boolean {
  if (kind === ZERO || kind === DIGIT) return true
  return kind >= HEX_CAPITAL && !isFirst
}

/** A hexadecimal digit, or the `x` of `0x`. */
export function isHexKind(kind: number): boolean {
  return kind !== SMALL && kind !== LATE_SMALL && kind !== CAPITAL
}
