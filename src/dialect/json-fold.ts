/**
 * Key folding for duplicate detection: two keys that some parser may take for one. Go's
 * `encoding/json` and everything built on it match keys by Unicode simple case folding, so `ſ`
 * is `s` there and the Kelvin sign is `k` (CaseFolding.txt, statuses C and S).
 */

/** A key in the one spelling that stands for all its case variants. */
export function foldKey(key: string): string {
  return isAscii(key) ? key.toLowerCase() : Array.from(key, foldCodePoint).join('')
}

/**
 * Down, up and down again reaches one spelling from every member of an orbit (`ẞ`, `ſ`, `µ`, `ς`).
 * A mapping that changes the number of code points is full folding, not simple, and is not taken.
 */
function foldCodePoint(character: string): string {
  const lower = single(character.toLowerCase(), character)
  const upper = single(lower.toUpperCase(), lower)
  return single(upper.toLowerCase(), upper)
}

function single(mapped: string, otherwise: string): string {
  const size = (mapped.codePointAt(0) ?? 0) > 0xffff ? 2 : 1
  return mapped.length === size ? mapped : otherwise
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false
  return true
}
