/** What normalising has to know of a character, looked up instead of asked of a regular expression. */

/** Reads otherwise than NFKC says: invisible, a tag, a letter in a box, a lone surrogate, a digit or dash of some script. */
export const OTHERWISE = 1
/** May merge with the character before it. */
export const CONTINUES = 2
/** NFKC puts something else in its place. */
export const CHANGES = 4
/** A mark: it stands on the character before it. */
export const MARKS = 16
/** One of the marks of all scripts: accents, strokes, half marks, marks for symbols, Cyrillic number signs. */
export const GENERAL = 32
/** Of a script that spells with composed letters or without marks; digits, signs and spaces, too. */
export const UNMARKED = 64

const READS_OTHERWISE =
  /[[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\p{Noncharacter_Code_Point}\p{Nd}\p{Pd}\u2018\u2019\u2212\ufffc\u2474-\u247c\u249c-\u24b5\u{1f110}-\u{1f129}\u{1f150}-\u{1f169}\u{1f170}-\u{1f189}\u{1f1e6}-\u{1f1ff}]--[\p{ASCII}\x85]]/v
const CONTROL = /[\p{Cc}--[\t-\r\x85]]/v
/**
 * Marks, Hangul vowels and finals (also as compatibility and half-width letters), half-width sound
 * marks, Kirat Rai vowels, and what is invisible but no tag.
 */
const MAY_MERGE =
  /[[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\u1160-\u11ff\ud7b0-\ud7ff\u3130-\u318f\uff9e-\uffdf\u{16d63}-\u{16d6a}]--[\u{e0020}-\u{e007e}]]/v

/** Half-width sound marks of kana are no marks until they are read (NFKC). */
const IS_MARK = /[\p{M}\uff9e\uff9f]/u
/** Blocks of `GENERAL`, first and last. */
const GENERAL_BLOCKS = [
  [0x300, 0x36f],
  [0x483, 0x489],
  [0x1ab0, 0x1aff],
  [0x1dc0, 0x1dff],
  [0x20d0, 0x20ff],
  [0xfe20, 0xfe2f],
] as const
/** All but what lengthens Arabic words, on which marks of theirs stand. */
const IS_UNMARKED =
  /[[\p{sc=Common}\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}\p{sc=Armenian}\p{sc=Georgian}\p{sc=Cherokee}\p{sc=Han}\p{sc=Hangul}\p{sc=Bopomofo}]--[\p{M}\u0640]]/v

/** The character has been asked about. */
const KNOWN = 8
const PAGE = 256
const UNITS = 0x10000

/** Flags of single units, worked out a page at a time when a text first needs them (0.1 ms), then fixed. */
const UNIT_FLAGS = new Uint8Array(UNITS)
ask(UNIT_FLAGS, 0, 0)
/** The same of characters beyond, by page: 1 MiB at most. */
const PAGES = new Map<number, Uint8Array>()

/** All that holds of a code point, or'ed; 0 for ASCII that can be seen, which is as `UNMARKED` is. */
export function flagsOf(point: number): number {
  if (point >= UNITS) return beyond(point)
  if (UNIT_FLAGS[point] === 0) ask(UNIT_FLAGS, point - (point % PAGE), point - (point % PAGE))
  return (UNIT_FLAGS[point] ?? 0) & ~KNOWN
}

/** Whether `unit` is known to stay as it is, and `next` to have nothing to do with it. */
export function isPlainBefore(unit: number, next: number): boolean {
  return (
    ((UNIT_FLAGS[unit] ?? 0) & ~UNMARKED) === KNOWN &&
    ((UNIT_FLAGS[next] ?? 0) & (KNOWN | CONTINUES)) === KNOWN
  )
}

function beyond(point: number): number {
  const index = Math.floor(point / PAGE)
  let page = PAGES.get(index)
  if (page === undefined) {
    page = new Uint8Array(PAGE)
    ask(page, 0, index * PAGE)
    PAGES.set(index, page)
  }
  return (page[point % PAGE] ?? 0) & ~KNOWN
}

function ask(flags: Uint8Array, at: number, first: number): void {
  for (let i = 0; i < PAGE; i++) flags[at + i] = KNOWN | askedFor(first + i)
}

function askedFor(point: number): number {
  const character = String.fromCodePoint(point)
  if (point < 0x80) return CONTROL.test(character) ? OTHERWISE : 0
  return (
    (READS_OTHERWISE.test(character) ? OTHERWISE : 0) |
    (MAY_MERGE.test(character) ? CONTINUES : 0) |
    (IS_MARK.test(character) ? MARKS : 0) |
    (isGeneral(point) ? GENERAL : 0) |
    (IS_UNMARKED.test(character) ? UNMARKED : 0) |
    (character.normalize('NFKC') === character ? 0 : CHANGES)
  )
}

function isGeneral(point: number): boolean {
  return GENERAL_BLOCKS.some(([first, last]) => point >= first && point <= last)
}
