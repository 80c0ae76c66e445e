import type { RE2JS } from 're2js'

import { Cursor } from './automaton.ts'
import { decodedReadings, plainPlaces } from './decoded.ts'
import { normaliseWithIndex } from './normalise-index.ts'
import { mayReadOtherwise } from './normalise.ts'
import { detectorKey, type OutputRules, patternKey, wordsKey } from './output-rules.ts'
import { isWhole, scanTexts } from './scan.ts'
import { startOf } from './spaces.ts'
import type { TextRules } from './text-rules.ts'

/** Where in a text something was found: UTF-16 units, end exclusive; `key` says by what. */
export interface Found {
  readonly start: number
  readonly end: number
  readonly key: string
  /** What stands there; it names equal values and goes nowhere else. */
  readonly value: string
}

/** Units of a text in which places are looked for between two breaths. */
const SLICE_UNITS = 64 * 1024
/** What is read again before a slice, for what stands before a match. */
const LOOK_BACK = 512
/** More places than this in one text are one place: the whole of it. */
const FOUND_MAX = 10_000

/**
 * Every place in `text` where patterns, words or detectors of output policies find something, in order
 * of place. The text is read as it is, as it reads (`normaliseText`), where rules ask for it as it looks,
 * and with what is encoded in it decoded: then the place is all of the run. What was found and cannot be placed, because it reads otherwise than it is written, is said to be everywhere. Yields about every
 * millisecond of work; throws `TextsTooLarge`.
 */
export function* findPlaces(
  rules: OutputRules,
  text: string,
): Generator<undefined, readonly Found[]> {
  const found: Place[] = []
  yield* placesIn(rules, text, found)
  const readings = yield* decodedReadings(text)
  const isPlain = plainPlaces(text, readings.length === 0 ? [] : found)
  for (const reading of readings) {
    const decoded: Place[] = []
    yield* placesIn(rules, reading.text, decoded)
    for (const { start, end, key } of decoded) {
      const sent = reading.original(start, end)
      if (isPlain(reading.text.slice(start, end), sent)) continue
      found.push({ ...sent, key })
    }
  }
  if (found.length > FOUND_MAX) return everywhere(found, text)
  found.sort((a, b) => a.start - b.start || b.end - a.end)
  return found.map((each) => ({ ...each, value: text.slice(each.start, each.end) }))
}

type Place = Omit<Found, 'value'>

function* placesIn(
  rules: OutputRules,
  text: string,
  found: Place[],
): Generator<undefined, undefined> {
  const { texts } = rules
  if (!texts.empty && texts.prefilter.mayMatch([text])) yield* searched(rules, text, found)
  if (texts.detectorSet === null) return
  yield* texts.detectorSet.find(text, ({ id, start, end }) => {
    found.push({ start, end, key: detectorKey(id) })
  })
}

/** Patterns and words: whether they occur is told first, for that is cheap, then where. */
function* searched(
  rules: OutputRules,
  text: string,
  found: Place[],
): Generator<undefined, undefined> {
  const { texts } = rules
  const matches = yield* scanTexts(texts, [text], {
    detects: false,
    searches: true,
    decodes: false,
  })
  for (const [index, pattern] of texts.patterns.entries()) {
    if (!matches.pattern(index)) continue
    const keys = keysOf(texts, index)
    const before = found.length
    for (const slice of slicesOf(text, rules.windowUnits)) {
      searchSlice(slice, (part, add) => matchAll(pattern, part, add), { texts, found, keys })
      yield
    }
    if (found.length === before) found.push(...keys.map((key) => whole(text, key)))
  }
  const lists = Array.from({ length: texts.wordLists }, (_, index) => index)
  for (const list of lists.filter((index) => matches.words(index))) {
    const before = found.length
    for (const slice of slicesOf(text, rules.windowUnits)) {
      searchSlice(slice, (part, add) => wordsIn(texts, list, { part, add }), {
        texts,
        found,
        keys: [wordsKey(list)],
      })
      yield
    }
    if (found.length === before) found.push(whole(text, wordsKey(list)))
  }
}

/** A pattern may stand for itself and for a detector of the file's own. */
function keysOf(texts: TextRules, index: number): readonly string[] {
  const uses = texts.detectors.filter(({ pattern }) => pattern === index)
  return [patternKey(index), ...uses.map(({ id }) => detectorKey(id))]
}

function whole(text: string, key: string): Place {
  return { start: 0, end: text.length, key }
}

function everywhere(found: readonly Place[], text: string): Found[] {
  return [...new Set(found.map(({ key }) => key))].map((key) => ({
    ...whole(text, key),
    value: text,
  }))
}

interface Slice {
  readonly text: string
  /** Offset of `text` in the whole; places from `from` up to `to` (of the whole) count. */
  readonly at: number
  readonly from: number
  readonly to: number
}

function* slicesOf(text: string, windowUnits: number): Generator<Slice> {
  for (let from = 0; from === 0 || from < text.length; from += SLICE_UNITS) {
    const at = Math.max(0, from - LOOK_BACK)
    const to = from + SLICE_UNITS
    yield { text: text.slice(at, to + windowUnits), at, from, to }
  }
}

/** How texts are read, and where what is found goes, under which names. */
interface Search {
  readonly texts: TextRules
  readonly found: Place[]
  readonly keys: readonly string[]
}

type Add = (start: number, end: number) => void

function searchSlice(
  slice: Slice,
  search: (part: string, add: Add) => void,
  { texts, found, keys }: Search,
): void {
  const { text, at, from, to } = slice
  const add: Add = (start, end) => {
    if (at + start < from || at + start >= to || found.length > FOUND_MAX) return
    for (const key of keys) found.push({ start: at + start, end: at + end, key })
  }
  search(text, add)
  if (!mayReadOtherwise(text)) return
  const normal = normaliseWithIndex(text)
  const looks = texts.lookAlikes?.read(normal.text, texts.units) ?? normal.text
  for (const read of new Set([normal.text, looks])) {
    if (read === text) continue
    search(read, (start, end) => {
      const sent = normal.original(start, end)
      add(sent.start, sent.end)
    })
  }
}

function matchAll(pattern: RE2JS, text: string, add: Add): void {
  const matcher = pattern.matcher(text)
  for (let count = 0; count < FOUND_MAX && matcher.find(); count++) {
    add(matcher.start(), matcher.end())
  }
}

function wordsIn(
  { automaton, literals }: TextRules,
  list: number,
  { part, add }: { readonly part: string; readonly add: Add },
): void {
  automaton.scan(part, part.length, new Cursor(), {
    hit: (index, end) => {
      const literal = literals[index]
      if (literal?.wordLists.includes(list) !== true || !isWhole(part, literal, end)) return
      add(startOf(part, literal.text, end), end)
    },
  })
}
