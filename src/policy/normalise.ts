/**
 * What a reader, and a model's tokenizer, sees of a text: compatibility forms resolved (UAX #15,
 * NFKC), what has no width removed, tag characters read as the ASCII they shadow.
 */

/** Format characters, default ignorables (U+00AD, U+034F, U+200B-F, U+2060, U+FEFF, variation selectors …), lone surrogates. */
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}]/gu
const TAG_FIRST = 0xe0020
const TAG_LAST = 0xe007e
/** Distance from a tag character to the ASCII character it stands for. */
const TAG_BASE = 0xe0000

/** The text as it reads; the same string when nothing had to change. */
export function normaliseText(text: string): string {
  return text.replace(INVISIBLE, visible).normalize('NFKC')
}

function visible(character: string): string {
  const point = character.codePointAt(0) ?? 0
  const isTag = point >= TAG_FIRST && point <= TAG_LAST
  return isTag ? String.fromCharCode(point - TAG_BASE) : ''
}

/**
 * The largest place in `(from, to]` where a text can be cut and its parts normalised apart with the
 * same result: before a character that never combines with what precedes it. `to` when there is none.
 */
export function cutForNormalising(text: string, from: number, to: number): number {
  if (to >= text.length) return text.length
  for (let at = to; at > from; at--) if (standsAlone(text.charCodeAt(at))) return at
  return to
}

/** ASCII, Cyrillic and Hebrew letters, kana, ideographs, Hangul syllables: starters, never the second of a composition. */
function standsAlone(unit: number): boolean {
  return (
    unit < 0x80 ||
    (unit >= 0x0410 && unit <= 0x044f) ||
    (unit >= 0x05d0 && unit <= 0x05ea) ||
    (unit >= 0x3041 && unit <= 0x3096) ||
    (unit >= 0x4e00 && unit <= 0x9fff) ||
    (unit >= 0xac00 && unit <= 0xd7a3)
  )
}
