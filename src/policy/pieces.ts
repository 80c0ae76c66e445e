import type { LongMatch } from './long-match.ts'
import { Normaliser } from './normalise.ts'
import type { Units } from './units.ts'

/** Long texts piece by piece, so that neither time nor memory is spent on the whole at once. */

/** Code units read between two breaths. */
export const SLICE_UNITS = 64 * 1024
/** Slices of 256 units normalised between two breaths; each may take 0.1 ms where all are marks. */
const NORMAL_SLICES = 32
const NORMAL_SLICE_UNITS = 256

/** Pieces of a text, none of which ends inside a pair, with an undefined where to breathe. */
export function* piecesOf(text: string): Generator<undefined | string, void> {
  for (let from = 0; from < text.length;) {
    let to = Math.min(from + SLICE_UNITS, text.length)
    if (to < text.length && (text.codePointAt(to - 1) ?? 0) > 0xffff) to--
    if (from > 0) yield
    yield text.slice(from, to)
    from = to
  }
}

/** The same of what a text reads as; `made` is told the units of each. */
export function* normalPiecesOf(
  text: string,
  made: (units: number) => void,
): Generator<undefined | string, void> {
  const normaliser = new Normaliser(text)
  let slices = 0
  for (let piece = normaliser.next(); piece !== null; piece = normaliser.next()) {
    made(piece.length)
    if (piece !== '') yield piece
    slices += normaliser.isQuick
      ? (piece.length / SLICE_UNITS) * NORMAL_SLICES
      : Math.ceil((piece.length + 1) / NORMAL_SLICE_UNITS)
    if (slices < NORMAL_SLICES) continue
    slices = 0
    yield
  }
}

/** Runs several automata over the same pieces, until none of them can find more. */
export function* readAll(
  runs: readonly LongMatch[],
  pieces: Generator<undefined | string, void>,
  units: Units,
): Generator<undefined, void> {
  for (const piece of pieces) {
    if (piece === undefined) yield
    else for (const run of runs) yield* run.read(piece, units)
    if (runs.every((run) => run.isOver)) return
  }
}
