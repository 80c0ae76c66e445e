import type { Patch, Patches } from './decode-patch.ts'
import { DecodeScan } from './decode-scan.ts'
import { DecodeSearch } from './decode-search.ts'
import { asSent, normaliseWithIndex, type NormalText } from './normalise-index.ts'
import { mayReadOtherwise } from './normalise.ts'

/**
 * What a text says where what is encoded in it is decoded: a reading of it, and of that another one,
 * for what was encoded twice. Whoever reads such a text, a model among them, can do the same.
 */

/** How often what was decoded is decoded again. */
export const LEVELS_MAX = 4
/** Units that are looked at between two breaths: about 0.2 ms. */
const SLICE_UNITS = 64 * 1024
/** Longer texts are decoded as they were sent only, not also as they read. */
const NORMAL_UNITS_MAX = 16 * 1024
/** Of longer texts a reading has only what stands around what was decoded. */
const WHOLE_UNITS_MAX = 4096
const AROUND_UNITS = 512
/** Parts of a reading that are joined in a go. */
const PARTS_MAX = 1024
/** Larger calls are looked at text by text. */
const QUICK_UNITS_MAX = 64 * 1024

/** Units behind which it is asked whether anything was found. */
const PART_UNITS = 2048

/**
 * Whether something in `texts` may be encoded; `whole` is plain ASCII and contains them all. May be
 * wrong only in saying that it is.
 */
export function mayDecode(texts: readonly string[], whole?: string): boolean {
  if (whole !== undefined) return whole.length > QUICK_UNITS_MAX || holdsCode(whole)
  let units = 0
  for (const text of texts) {
    units += text.length
    if (units > QUICK_UNITS_MAX || holdsCode(text)) return true
  }
  return false
}

function holdsCode(text: string): boolean {
  const scan = new DecodeSearch(text, NOWHERE)
  do {
    while (scan.run(scan.at + PART_UNITS)) if (scan.isOdd || scan.hasFound) return true
  } while (!scan.finish())
  return scan.isOdd || scan.hasFound
}

const NOWHERE: Patches = { add: () => {} }

/**
 * The readings of `text` with one level more decoded each, at most four; none where nothing is encoded.
 * None is longer than three times the text. Yields about every 0.2 ms of work.
 */
export function* decodedReadings(text: string): Generator<undefined, readonly NormalText[]> {
  const reads = text.length <= NORMAL_UNITS_MAX && mayReadOtherwise(text)
  let last: NormalText = reads ? normaliseWithIndex(text) : asSent(text)
  let spells = true
  const readings: NormalText[] = []
  while (readings.length < LEVELS_MAX) {
    const reading = new Reading(last.text)
    const scan = new DecodeSearch(last.text, reading, spells)
    do while (scan.run(scan.at + SLICE_UNITS)) yield
    while (!scan.finish())
    if (!scan.hasFound) break
    last = reading.finish(last.original)
    readings.push(last)
    // A word that is spaced is told in several ways, which are not to be told in several ways.
    spells &&= !scan.hasSpelled
  }
  return readings
}

/** Where in `text` begins what may be encoded and go on behind its end; its length where nothing does. */
export function openCode(text: string): number {
  const scan = new DecodeScan(text, NOWHERE)
  scan.run(text.length)
  return scan.openAt()
}

/** Tells of a value in a reading whether it was found in the text as it was sent, where it stands plainly. */
export function plainPlaces(
  text: string,
  found: readonly { readonly start: number; readonly end: number }[],
): (value: string, sent: { readonly start: number; readonly end: number }) => boolean {
  const starts = new Set(found.map(({ start }) => start))
  const ends = new Set(found.map(({ end }) => end))
  return (value, { start, end }) =>
    (starts.has(start) && text.startsWith(value, start)) ||
    (ends.has(end) && text.startsWith(value, end - value.length))
}

/**
 * Where the parts of a reading stand in the text, which they cover: two numbers each, for a text full of
 * escapes has millions.
 */
class Pieces {
  /** Of each where it begins in the reading, and where in the text; that as its complement if decoded. */
  #places = new Int32Array(2 * 32)
  #count = 0
  /** Where the last one ends in the text. */
  end = 0

  /** From `at` on the reading is the text from `start` on, or what was decoded of all of it. */
  add(at: number, start: number, isDecoded: boolean): void {
    const index = 2 * this.#count
    if (index === this.#places.length) {
      const former = this.#places
      this.#places = new Int32Array(2 * former.length)
      this.#places.set(former)
    }
    this.#places[index] = at
    this.#places[index + 1] = isDecoded ? ~start : start
    this.#count++
  }

  /** What `[start, end)` of the reading is in the text. */
  original(start: number, end: number): { start: number; end: number } {
    if (this.#count === 0) return { start: 0, end: 0 }
    const first = this.#find(start)
    const last = this.#find(Math.max(start, end - 1))
    return {
      start: this.#start(first) + (this.#isDecoded(first) ? 0 : start - this.#at(first)),
      end: this.#isDecoded(last) ? this.#end(last) : this.#start(last) + end - this.#at(last),
    }
  }

  /** The last one that begins at or before `at`. */
  #find(at: number): number {
    let low = 0
    let high = this.#count - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#at(middle) <= at) low = middle
      else high = middle - 1
    }
    return low
  }

  #at(piece: number): number {
    return this.#places[2 * piece]!
  }

  #isDecoded(piece: number): boolean {
    return this.#places[2 * piece + 1]! < 0
  }

  #start(piece: number): number {
    const start = this.#places[2 * piece + 1]!
    return start < 0 ? ~start : start
  }

  #end(piece: number): number {
    return piece + 1 < this.#count ? this.#start(piece + 1) : this.end
  }
}

/** Puts what was decoded in its place. */
class Reading implements Patches {
  readonly #text: string
  readonly #isWhole: boolean
  readonly #pieces = new Pieces()
  #said: string[] = []
  /** What was said before, in parts that are not so many. */
  readonly #parts: string[] = []
  #length = 0
  /** How far the text is written or left out. */
  #from = 0

  constructor(text: string) {
    this.#text = text
    this.#isWhole = text.length <= WHOLE_UNITS_MAX
  }

  add({ start, end, text, isApart }: Patch): void {
    this.#keep(start)
    const before = isApart && isWordUnit(this.#text, start - 1) ? ' ' : ''
    const after = isApart && isWordUnit(this.#text, end) ? ' ' : ''
    this.#write(before + text + after, start, true)
    this.#from = end
  }

  finish(original: NormalText['original']): NormalText {
    const end = this.#text.length
    const pieces = this.#pieces
    pieces.end = this.#from
    const to = this.#isWhole ? end : this.#cut(this.#from + AROUND_UNITS, -1)
    this.#copy(this.#from, Math.max(this.#from, Math.min(to, end)))
    return {
      text: [...this.#parts, ...this.#said].join(''),
      original: (from, until) => {
        const place = pieces.original(from, until)
        return original(place.start, place.end)
      },
    }
  }

  /** What stands before the next patch; of a long text without what is far from any. */
  #keep(to: number): void {
    const from = this.#from
    if (this.#isWhole || to - from <= 3 * AROUND_UNITS) {
      this.#copy(from, to)
      return
    }
    const end = from === 0 ? 0 : this.#cut(from + AROUND_UNITS, -1)
    const begin = this.#cut(to - AROUND_UNITS, 1)
    this.#copy(from, end)
    this.#write('\n\n', end, true)
    this.#copy(begin, to)
  }

  /** White space near `at`, towards the patch, so that no part of a word stands for one. */
  #cut(at: number, step: 1 | -1): number {
    const stop = at + step * AROUND_UNITS
    for (let place = at; place !== stop && place < this.#text.length; place += step) {
      if (/\s/.test(this.#text.charAt(place))) return place
    }
    return at
  }

  #copy(start: number, end: number): void {
    if (end > start) this.#write(this.#text.slice(start, end), start, false)
  }

  #write(text: string, start: number, isDecoded: boolean): void {
    this.#pieces.add(this.#length, start, isDecoded)
    this.#said.push(text)
    this.#length += text.length
    if (this.#said.length < PARTS_MAX) return
    this.#parts.push(this.#said.join(''))
    this.#said = []
  }
}

const WORD_UNIT = /[\p{L}\p{N}_]/u

function isWordUnit(text: string, at: number): boolean {
  return at >= 0 && WORD_UNIT.test(text.charAt(at))
}
