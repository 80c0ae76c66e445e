/** Where words of a list begin and end: beside anything but a letter or digit of any script. */

const LETTER_OR_DIGIT = /^[\p{L}\p{N}]/u

/** Whether a letter or digit begins at `at`. */
export function isWordAt(text: string, at: number): boolean {
  return at < text.length && LETTER_OR_DIGIT.test(String.fromCodePoint(text.codePointAt(at) ?? 0))
}

/** Whether a letter or digit ends at `at`. */
export function isWordBefore(text: string, at: number): boolean {
  if (at <= 0) return false
  const isPair = at > 1 && (text.codePointAt(at - 2) ?? 0) > 0xffff
  return isWordAt(text, isPair ? at - 2 : at - 1)
}
