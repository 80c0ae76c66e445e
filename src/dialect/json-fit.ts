/**
 * Edits of a text that is JSON itself, like the arguments of a tool call: what they leave has to be
 * JSON again, whatever they cut through.
 */
import { isJson } from './json-syntax.ts'
import { STRETCH_BYTES } from './steps.ts'
import { NESTING_MAX } from './unescape.ts'

/** Puts `text` in place of `[start, end)`, in UTF-16 units. */
export interface Piece {
  readonly start: number
  readonly end: number
  readonly text: string
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const BEGINS_JSON = /^[ \t\r\n]*[{["]/

/**
 * The same edits, fitted to the strings, numbers and words of a text that is JSON: inside a string
 * only whole escapes are replaced, a number becomes a string, and what stands between values stays. A
 * text that is no JSON takes edits as they are. Edits are sorted and do not overlap, and so are those
 * returned; null when what they leave would be no JSON.
 */
export function* fitEdits(
  text: string,
  edits: readonly Piece[],
  depth = 0,
): Generator<void, readonly Piece[] | null> {
  if (depth > NESTING_MAX || !BEGINS_JSON.test(text) || !(yield* isJson(text))) return edits
  const pieces = new Pieces(edits)
  let breathAt = STRETCH_BYTES
  for (const token of tokensOf(text)) {
    if (token.start >= breathAt) {
      breathAt = token.start + STRETCH_BYTES
      yield
    }
    const hit = pieces.within(token.start, token.end)
    if (hit.length === 0) continue
    const isString = text.charCodeAt(token.start) === QUOTE
    if (!isString) pieces.put(token.start, token.end, wordFor(hit))
    else if (!(yield* fitString(text, token, { hit, pieces, depth }))) return null
  }
  const fitted = pieces.done()
  if (fitted === null) return null
  yield
  return (yield* isJson(applyPieces(text, fitted))) ? fitted : null
}

/** What stands in place of a number, `true`, `false` or `null`. */
function wordFor([first]: readonly Piece[]): string {
  const text = first?.text ?? ''
  return text === '' ? 'null' : JSON.stringify(text)
}

/** The text with every piece put in; they are sorted and do not overlap. */
export function applyPieces(text: string, pieces: readonly Piece[]): string {
  const parts: string[] = []
  let from = 0
  for (const { start, end, text: put } of pieces) {
    parts.push(text.slice(from, start), put)
    from = end
  }
  parts.push(text.slice(from))
  return parts.join('')
}

/** As it stands between the quotes of a JSON string. */
export function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

/** What edits come to, token by token. */
class Pieces {
  readonly #edits: readonly Piece[]
  readonly #fitted: Piece[] = []
  readonly #used: boolean[] = []
  #at = 0

  constructor(edits: readonly Piece[]) {
    this.#edits = edits
  }

  /** The parts of edits in `[start, end)`; only the first part of an edit bears its text. */
  within(start: number, end: number): Piece[] {
    const found: Piece[] = []
    while ((this.#edits[this.#at]?.end ?? Infinity) <= start) this.#at++
    for (let at = this.#at; at < this.#edits.length; at++) {
      const edit = this.#edits[at]
      if (edit === undefined || edit.start >= end) break
      const text = this.#used[at] === true ? '' : edit.text
      const clipped = { start: Math.max(start, edit.start), end: Math.min(end, edit.end), text }
      this.#used[at] = true
      found.push(clipped)
    }
    return found
  }

  put(start: number, end: number, text: string): void {
    this.#fitted.push({ start, end, text })
  }

  /** Null when an edit met nothing that can be edited. */
  done(): readonly Piece[] | null {
    return this.#edits.every((_, at) => this.#used[at] === true) ? this.#fitted : null
  }
}

interface Token {
  readonly start: number
  readonly end: number
}

/** Fits edits to one string of the text; false when what they leave inside would be no JSON. */
function* fitString(
  text: string,
  token: Token,
  {
    hit,
    pieces,
    depth,
  }: { readonly hit: readonly Piece[]; readonly pieces: Pieces; readonly depth: number },
): Generator<void, boolean> {
  const raw = text.slice(token.start + 1, token.end - 1)
  const places = raw.includes('\\') ? placesOf(raw) : null
  const decoded = places === null ? raw : (JSON.parse(`"${raw}"`) as string)
  const inside = hit.map(({ start, end, text: put }) => {
    const from = Math.max(0, start - token.start - 1)
    const to = Math.min(raw.length, end - token.start - 1)
    const last = places === null ? to : unitAt(places, to, true)
    return { start: places === null ? from : unitAt(places, from, false), end: last, text: put }
  })
  const fitted = yield* fitEdits(decoded, apart(inside), depth + 1)
  if (fitted === null) return false
  for (const { start, end, text: put } of fitted) {
    const from = places?.[start] ?? start
    const to = places?.[end] ?? end
    pieces.put(token.start + 1 + from, token.start + 1 + to, escaped(put))
  }
  return true
}

/** Widened to whole escapes two edits can meet: then the first stands for both. */
function apart(edits: readonly Piece[]): readonly Piece[] {
  const kept: Piece[] = []
  for (const edit of edits) {
    const last = kept.at(-1)
    if (last === undefined || edit.start >= last.end) kept.push(edit)
    else kept[kept.length - 1] = { ...last, end: Math.max(last.end, edit.end) }
  }
  return kept
}

/** Where each unit of a string begins between its quotes, and where the last one ends. */
function placesOf(raw: string): Uint32Array {
  const places = new Uint32Array(raw.length + 1)
  let unit = 0
  for (let at = 0; at < raw.length; unit++) {
    places[unit] = at
    if (raw.charCodeAt(at) !== BACKSLASH) at += 1
    else at += raw.charAt(at + 1) === 'u' ? 6 : 2
  }
  places[unit] = raw.length
  return places.subarray(0, unit + 1)
}

/** The unit that holds the character at `at`, or with `isEnd` the first that begins at or after it. */
function unitAt(places: Uint32Array, at: number, isEnd: boolean): number {
  let low = 0
  let high = places.length - 1
  while (low < high) {
    const middle = isEnd ? (low + high) >> 1 : (low + high + 1) >> 1
    const place = places[middle] ?? 0
    if (isEnd && place >= at) high = middle
    else if (isEnd) low = middle + 1
    else if (place <= at) low = middle
    else high = middle - 1
  }
  return low
}

/** Strings (keys, too), numbers and words of a text that is JSON, in order. */
function* tokensOf(text: string): Generator<Token, void> {
  for (let at = 0; at < text.length;) {
    const start = at
    if (text.charCodeAt(at) === QUOTE) {
      at++
      while (text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1
      at++
      yield { start, end: at }
    } else if (isScalar(text.charCodeAt(at))) {
      while (at < text.length && isScalar(text.charCodeAt(at))) at++
      yield { start, end: at }
    } else {
      at++
    }
  }
}

/** Digits, letters, and what else numbers are made of. */
function isScalar(unit: number): boolean {
  const lower = unit | 0x20
  const isWord = (unit >= 0x30 && unit <= 0x39) || (lower >= 0x61 && lower <= 0x7a)
  return isWord || unit === 0x2b || unit === 0x2d || unit === 0x2e
}
