/**
 * A form that is on disk, cut down to what is looked at: all of it but the content of its large files. What
 * is left is the same form with those files empty, and is read and edited as any other.
 */
import { GovernorError } from '../errors.ts'
import type { Hole, SpooledForm, Spooled } from '../exchange.ts'
import { readsLines } from './form.ts'
import { HEADER_BYTES_MAX, invalidForm, parseForm, PARTS_MAX, type Part } from './multipart.ts'

/** Smaller files stay where they are. */
const HOLE_BYTES_MIN = 64 * 1024
/** What is read of the file at a time. */
const READ_BYTES = 256 * 1024

/** How a form on disk is read. */
export interface SkeletonOptions {
  readonly boundary: string
  /** The most that stays: fields, heads, and files whose lines are read. */
  readonly bytesMax: number
  /** Called before this many bytes are allocated; what it throws ends it. */
  readonly hold: (bytes: number) => void
}

/** What is left of a form, and what was left out. */
export interface Skeleton {
  readonly bytes: Buffer
  readonly spooled: SpooledForm
}

/**
 * The skeleton of the form in `file`. Files of JSON lines stay in it, for each line is looked at. Throws
 * BODY_INVALID as `parseForm` does, BODY_TOO_LARGE, and what reading and `hold` throw.
 */
export async function skeletonOf(file: Spooled, options: SkeletonOptions): Promise<Skeleton> {
  const places = await findBoundaries(file, options.boundary)
  const large: Segment[] = []
  for (let part = 0; part + 1 < places.length; part++) {
    const segment = await segmentOf(file, part, places)
    if (segment !== null) large.push(segment)
  }
  const first = await without(file, large, options)
  const isLines = first.parts.some(({ name, start, end }) => {
    return name === 'purpose' && readsLines(first.bytes.toString('utf8', start, end))
  })
  const left = large.filter(({ part }) => {
    const { filename, name } = first.parts[part]!
    return filename !== null && !(isLines && name === 'file')
  })
  const { bytes } = left.length === large.length ? first : await without(file, left, options)
  const holes = left.map(({ part, start, end }): Hole => ({ part, start, bytes: end - start }))
  return { bytes, spooled: { file, holes } }
}

/** Content that may be left out. */
interface Segment {
  /** Index of its part. */
  readonly part: number
  /** In the file, of the content. */
  readonly start: number
  readonly end: number
}

/** Where the delimiter stands in the file; one more than a form may have is enough to refuse it. */
async function findBoundaries(file: Spooled, boundary: string): Promise<number[]> {
  const delimiter = Buffer.from(`--${boundary}`, 'latin1')
  const places: number[] = []
  for (let from = 0; from < file.bytes;) {
    const to = Math.min(from + READ_BYTES, file.bytes)
    const bytes = await file.read(from, to)
    for (let at = bytes.indexOf(delimiter); at !== -1;) {
      places.push(from + at)
      if (places.length > PARTS_MAX + 1) throw invalidForm(`more than ${PARTS_MAX} parts`)
      at = bytes.indexOf(delimiter, at + delimiter.length)
    }
    // The next piece begins where a delimiter may have begun that is cut here.
    from =
      to === file.bytes
        ? to
        : Math.max(
            to - delimiter.length + 1,
            (places.at(-1) ?? -delimiter.length) + delimiter.length,
          )
  }
  return places
}

/** The content of a part; null where it is small, or the head is none, which is refused later. */
async function segmentOf(
  file: Spooled,
  part: number,
  places: readonly number[],
): Promise<Segment | null> {
  const [from = 0, next = 0] = places.slice(part, part + 2)
  if (next - from < HOLE_BYTES_MIN) return null
  const head = await file.read(from, Math.min(from + HEADER_BYTES_MAX + 128, next))
  const headEnd = head.indexOf('\r\n\r\n')
  const start = from + headEnd + 4
  // The line end before the boundary is the boundary's.
  return headEnd === -1 || next - 2 - start < 1 ? null : { part, start, end: next - 2 }
}

/** The form without the content of `left`, read as strictly as any. */
async function without(
  file: Spooled,
  left: readonly Segment[],
  { boundary, bytesMax, hold }: SkeletonOptions,
): Promise<{ readonly bytes: Buffer; readonly parts: readonly Part[] }> {
  const leftBytes = left.reduce((sum, { start, end }) => sum + end - start, 0)
  const bytes = file.bytes - leftBytes
  if (bytes > bytesMax) {
    throw new GovernorError('BODY_TOO_LARGE', {
      detail: `fields of a form and files of JSON lines have at most ${bytesMax} bytes`,
    })
  }
  hold(bytes)
  const pieces: Buffer[] = []
  const starts: number[] = []
  let at = 0
  let length = 0
  for (const { start, end } of left) {
    pieces.push(await file.read(at, start))
    length += start - at
    starts.push(length)
    at = end
  }
  pieces.push(await file.read(at, file.bytes))
  const whole = Buffer.concat(pieces)
  const holes = left.map(({ part, start, end }) => ({ part, start, bytes: end - start }))
  const parts = parseForm(whole, boundary, holes)
  // A boundary within headers is none to a strict reader, and what was taken for a part is not one.
  if (left.some(({ part }, index) => parts[part]?.start !== starts[index])) {
    throw invalidForm('a boundary is not a line of its own')
  }
  return { bytes: whole, parts }
}

/**
 * The bytes of the whole form again, from `bytes`, its skeleton with or without edits. Throws BODY_INVALID
 * where those are no form of the same parts, and what reading throws.
 */
export async function* wholeForm(
  bytes: Buffer,
  { file, holes }: SpooledForm,
  boundary: string,
): AsyncGenerator<Buffer, void> {
  const parts = parseForm(bytes, boundary, holes)
  let from = 0
  for (const { part, start, bytes: holeBytes } of holes) {
    const at = parts[part]?.start
    if (at === undefined || at < from) throw invalidForm('it has other parts than before')
    yield bytes.subarray(from, at)
    from = at
    for (let read = start; read < start + holeBytes; read += READ_BYTES) {
      yield await file.read(read, Math.min(read + READ_BYTES, start + holeBytes))
    }
  }
  yield bytes.subarray(from)
}

/** How many bytes `wholeForm` gives. */
export function wholeBytes(bytes: Buffer, { holes }: SpooledForm): number {
  return holes.reduce((sum, hole) => sum + hole.bytes, bytes.length)
}
