/** Texts that clients chose, on their way into an entry: cut, well-formed and quoted. */

/** Longest model name kept, in UTF-16 units. */
export const MODEL_CHARS_MAX = 256
/** Longest other name kept. */
export const NAME_CHARS_MAX = 128

/** Cuts what clients chose, and remembers which lists were longer than their maximum. */
export class Cutter {
  readonly names: string[] = []

  list<Item, Cut>(
    name: string,
    items: readonly Item[],
    max: number,
    cut: (item: Item) => Cut,
  ): Cut[] | undefined {
    if (items.length === 0) return undefined
    if (items.length <= max) return items.map(cut)
    this.names.push(name)
    return items.slice(0, max).map(cut)
  }

  map(
    name: string,
    values: Readonly<Record<string, string>>,
    max: number,
  ): Record<string, string> | undefined {
    const pairs = this.list(name, Object.entries(values), max, ([key, value]) => [
      cutText(key, NAME_CHARS_MAX),
      cutText(value, NAME_CHARS_MAX),
    ])
    return pairs && (Object.fromEntries(pairs) as Record<string, string>)
  }
}

/** No lone surrogate and no NUL: PostgreSQL's jsonb takes neither, and one would stop the shipping. */
export function cutText(value: string, charsMax: number): string {
  const short = value.length <= charsMax ? value : value.slice(0, charsMax)
  const whole = short.isWellFormed() ? short : short.toWellFormed()
  return whole.includes('\0') ? whole.replaceAll('\0', '\u2400') : whole
}

/** The same of a text that may be missing. */
export function safe(value: string | null | undefined, charsMax: number): string | undefined {
  return value === null || value === undefined ? undefined : cutText(value, charsMax)
}

/** Nearly all strings are plain ASCII: those need no escaping, which is most of `JSON.stringify`. */
const PLAIN = /^[ !#-[\]-~]*$/

/** A JSON string of at most `charsMax` units. */
export function quoted(value: string, charsMax: number): string {
  if (value.length <= charsMax && PLAIN.test(value)) return `"${value}"`
  return JSON.stringify(cutText(value, charsMax))
}

/** `,"name":"value"`, or nothing when there is no value. */
export function member(
  name: string,
  value: string | null | undefined,
  charsMax = MODEL_CHARS_MAX,
): string {
  return value === null || value === undefined ? '' : `,"${name}":${quoted(value, charsMax)}`
}

/** `,"name":1`, or nothing when there is no value. */
export function number(name: string, value: number | null): string {
  return value === null ? '' : `,"${name}":${value}`
}
