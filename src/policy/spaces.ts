/** White space between the words of a list: a reader sees no difference between one space and many lines. */

/** U+0020 */
export const SPACE = 0x20

/** Property White_Space of Unicode 17, of which all are one unit. */
export function isSpace(unit: number): boolean {
  if (unit <= SPACE) return unit === SPACE || (unit >= 0x09 && unit <= 0x0d)
  if (unit < 0x1680) return unit === 0x85 || unit === 0xa0
  if (unit <= 0x200a) return unit === 0x1680 || unit >= 0x2000
  return unit === 0x2028 || unit === 0x2029 || unit === 0x202f || unit === 0x205f || unit === 0x3000
}

const SPACES = /[\s\x85]+/g

/** A literal for an automaton with `looseSpaces`. */
export function singleSpaced(literal: string): string {
  return literal.replace(SPACES, ' ')
}

/** Where `literal`, which was found so, begins in `text` when it ends before unit `end`. */
export function startOf(text: string, literal: string, end: number): number {
  if (!literal.includes(' ')) return end - literal.length
  let at = end
  for (let i = literal.length - 1; i >= 0; i--) {
    at--
    if (literal.charCodeAt(i) !== SPACE) continue
    while (at > 0 && isSpace(text.charCodeAt(at - 1))) at--
  }
  return Math.max(0, at)
}
