/**
 * Where words of a list begin and end: beside anything but a letter or digit of any script. Scripts that
 * put no space between words (UAX #29 leaves them to dictionaries, or parts every letter) hold no word
 * together: a name in the middle of Chinese or Thai text is a word, and so is a Chinese one.
 */

/** Scripts without spaces between words, as the inside of a class of a regular expression with `u`. */
export const SPACELESS = String.raw`\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}\p{sc=Tibt}`

const LETTER_OR_DIGIT = new RegExp(String.raw`^(?![${SPACELESS}])[\p{L}\p{N}]`, 'u')

/** Whether a letter or digit begins at `at`. */
export function isWordAt(text: string, at: number): boolean {
  if (at >= text.length) return false
  const point = text.codePointAt(at) ?? 0
  if (point < 0x80) return isAsciiWord(point)
  return LETTER_OR_DIGIT.test(String.fromCodePoint(point))
}

function isAsciiWord(point: number): boolean {
  const lower = point | 0x20
  return (point >= 0x30 && point <= 0x39) || (lower >= 0x61 && lower <= 0x7a)
}

/** Whether a letter or digit ends at `at`. */
export function isWordBefore(text: string, at: number): boolean {
  if (at <= 0) return false
  const isPair = at > 1 && (text.codePointAt(at - 2) ?? 0) > 0xffff
  return isWordAt(text, isPair ? at - 2 : at - 1)
}
