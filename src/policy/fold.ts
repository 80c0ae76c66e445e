/**
 * One letter for all letters that differ only in case, code unit by code unit. Both sides of every
 * comparison use it, so it needs to be a function, not a linguist: what is equal before is equal
 * after. It must not be finer than RE2's simple folding of ASCII letters, where U+212A folds to `k`
 * and U+017F to `s`. Shape: UTF-16 code unit in, UTF-16 code unit out.
 */
export function foldUnit(unit: number): number {
  if (unit === 0x212a) return 0x6b
  if (unit === 0x17f) return 0x73
  // Final sigma: `toLowerCase()` of one unit cannot see that it ends a word.
  if (unit === 0x3c2) return 0x3c3
  const lower = String.fromCharCode(unit).toLowerCase()
  return lower.length === 1 ? lower.charCodeAt(0) : unit
}

/** `foldUnit` over a whole string; the length stays. */
export function foldText(text: string): string {
  let folded = ''
  for (let i = 0; i < text.length; i++) folded += String.fromCharCode(foldUnit(text.charCodeAt(i)))
  return folded
}
