/** The texts of a body that is put together from pieces: fields of a form, JSON texts in a file. */
import type { Edited, Splice, TextEdit, TextRange, Texts } from '../exchange.ts'
import { STRETCH_BYTES } from './steps.ts'
import { EscapeCursor, unescapedReadings } from './unescape.ts'

/** One piece, in the order of their places in the body. */
export type Piece =
  /** A text as it was sent; `start` is its first byte, -1 where it may not be edited. */
  | { readonly kind: 'plain'; readonly text: string; readonly start: number; readonly at: string }
  /** Texts of a JSON document that begins at byte `start`; `at` goes before their pointers. */
  | { readonly kind: 'json'; readonly texts: Texts; readonly start: number; readonly at: string }

/** What a text reads as with its JSON escapes removed. */
interface Derived {
  readonly parent: number
  readonly at: string
}

/** Puts the texts of `pieces` together, in order; readings of the plain ones follow all of them. */
export function* joinPieces(pieces: readonly Piece[]): Generator<void, Texts> {
  const values: string[] = []
  const firsts: number[] = []
  let worked = 0
  for (const piece of pieces) {
    firsts.push(values.length)
    if (piece.kind === 'plain') values.push(piece.text)
    else for (const value of piece.texts.values) values.push(value)
    worked += 64 + (values.length - (firsts.at(-1) ?? 0)) * 8
    if (worked < STRETCH_BYTES) continue
    worked = 0
    yield
  }
  const derived: Derived[] = []
  const sentCount = values.length
  for (const [position, piece] of pieces.entries()) {
    if (piece.kind !== 'plain' || !piece.text.includes('\\')) continue
    let parent = firsts[position] ?? 0
    for (const reading of yield* unescapedReadings(piece.text)) {
      derived.push({ parent, at: piece.at })
      parent = values.length
      values.push(reading)
    }
    yield
  }
  return new PieceTexts(pieces, { values, firsts, derived, sentCount })
}

interface Joined {
  readonly values: readonly string[]
  /** Index of the first value of each piece. */
  readonly firsts: readonly number[]
  readonly derived: readonly Derived[]
  /** Index of the first derived value. */
  readonly sentCount: number
}

class PieceTexts implements Texts {
  readonly values: readonly string[]
  readonly #pieces: readonly Piece[]
  readonly #joined: Joined
  readonly #cursors = new Map<number, EscapeCursor>()

  constructor(pieces: readonly Piece[], joined: Joined) {
    this.values = joined.values
    this.#pieces = pieces
    this.#joined = joined
  }

  pointer(index: number): string {
    const { sentCount, derived } = this.#joined
    if (index >= sentCount) {
      const { at } = derived[index - sentCount] ?? {}
      if (at === undefined) throw new RangeError(`no text ${index}`)
      return at
    }
    const { piece, first } = this.#find(index)
    return piece.kind === 'plain' ? piece.at : `${piece.at}${piece.texts.pointer(index - first)}`
  }

  sent(range: TextRange): TextRange | null {
    const { sentCount, derived } = this.#joined
    let { index, start, end } = range
    while (index >= sentCount) {
      const { parent = 0 } = derived[index - sentCount] ?? {}
      const cursor = this.#cursorOf(parent, index)
      start = cursor.begins(start)
      end = cursor.ends(end)
      index = parent
    }
    const { piece, first } = this.#find(index)
    if (piece.kind === 'plain') return { index, start, end }
    const own = { index: index - first, start, end }
    const sent = piece.texts.sent === undefined ? own : piece.texts.sent(own)
    return sent === null ? null : { ...sent, index: sent.index + first }
  }

  #cursorOf(parent: number, reading: number): EscapeCursor {
    const known = this.#cursors.get(reading)
    if (known !== undefined) return known
    const made = new EscapeCursor(this.values[parent] ?? '')
    this.#cursors.set(reading, made)
    return made
  }

  *edit(edits: readonly TextEdit[]): Generator<void, Edited> {
    const splices: Splice[] = []
    for (let from = 0; from < edits.length;) {
      const { piece, first, last } = this.#find(edits[from]?.index ?? 0)
      let to = from
      while (to < edits.length && (edits[to]?.index ?? 0) < last) to++
      const own = edits.slice(from, to).map((each) => ({ ...each, index: each.index - first }))
      const edited = piece.kind === 'plain' ? editPlain(piece, own) : yield* editJson(piece, own)
      if (edited.refused !== undefined) return edited
      for (const splice of edited.splices) splices.push(splice)
      from = to
      yield
    }
    return { splices }
  }

  /** The piece of a value that was sent, and the indexes of its values. */
  #find(index: number): { piece: Piece; first: number; last: number } {
    const { firsts, sentCount } = this.#joined
    let low = 0
    let high = firsts.length - 1
    // The last piece that begins at or before `index`: a piece may have no values at all.
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((firsts[middle] ?? 0) <= index) low = middle
      else high = middle - 1
    }
    const piece = this.#pieces[low]
    if (piece === undefined || index < 0 || index >= sentCount) {
      throw new RangeError(`no text ${index}`)
    }
    return { piece, first: firsts[low] ?? 0, last: firsts[low + 1] ?? sentCount }
  }
}

type PieceOf<Kind extends Piece['kind']> = Extract<Piece, { kind: Kind }>

/** Edits of one text, in order: how many bytes stand before each is counted in one pass. */
function editPlain({ text, start }: PieceOf<'plain'>, edits: readonly TextEdit[]): Edited {
  if (start === -1) return { refused: 'the name of a field or file' }
  const splices: Splice[] = []
  let unit = 0
  let byte = start
  const seek = (to: number): number => {
    byte += Buffer.byteLength(text.slice(unit, to))
    unit = to
    return byte
  }
  for (const edit of edits) {
    // Half a surrogate pair has no bytes of its own.
    const from = isWithinPair(text, edit.start) ? edit.start - 1 : edit.start
    const to = isWithinPair(text, edit.end) ? edit.end + 1 : edit.end
    splices.push({ start: seek(from), end: seek(to), text: edit.text })
  }
  return { splices }
}

function isWithinPair(text: string, at: number): boolean {
  const unit = text.charCodeAt(at)
  return unit >= 0xdc00 && unit <= 0xdfff && at > 0
}

function* editJson(
  { texts, start }: PieceOf<'json'>,
  edits: readonly TextEdit[],
): Generator<void, Edited> {
  if (texts.edit === undefined) return { refused: 'what cannot be edited' }
  const edited = yield* texts.edit(edits)
  if (edited.refused !== undefined) return edited
  const splices = edited.splices.map((each) => {
    return { ...each, start: each.start + start, end: each.end + start }
  })
  return { splices }
}
