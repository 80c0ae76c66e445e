import type { RE2JS } from 're2js'

import type { CompiledPolicy } from './compile.ts'
import { decodedReadings, plainPlaces } from './decoded.ts'
import type { DetectorSet } from './detect/detector-set.ts'
import type { LookAlikes } from './look-alikes.ts'
import { normaliseWithIndex } from './normalise-index.ts'
import { mayReadOtherwise } from './normalise.ts'
import type { TextRules } from './text-rules.ts'
import type { Units } from './units.ts'
import type { WordFinder } from './word-finder.ts'

/** Where the things stand that `redact` policies look for; only calls in which some are come here. */

/** A value that was found, in UTF-16 units of the text. */
export interface Place {
  /** What it is called in a placeholder, like `EMAIL`. */
  readonly label: string
  readonly start: number
  readonly end: number
  /** A service found it, which nobody asks again about what is left. */
  readonly isTold?: true
}

/** Units searched between two breaths: matching with places takes about 0.4 µs a unit. */
const SLICE_UNITS = 16 * 1024
/** What is read again before a slice, so that a boundary is seen. */
const LOOK_BACK = 64
/** Longest match of a pattern that begins at the end of a slice; a longer one is cut in several. */
const AHEAD_UNITS = 4 * 1024

/** What services found, by id and by the text as it reads. */
export type ServicePlaces = ReadonlyMap<string, ReadonlyMap<string, readonly Place[]>>

type Take = (label: string | undefined, start: number, end: number) => void

const NO_PLACES: ServicePlaces = new Map()

/** All that some policies look for, at once. */
export class MaskSearch {
  readonly #detectorSet: DetectorSet | null
  readonly #detects = new Map<string, string>()
  readonly #patterns = new Map<RE2JS, string>()
  readonly #words: WordFinder[] = []
  readonly #services: ReadonlyMap<string, readonly Place[]>[] = []
  readonly #lookAlikes: LookAlikes | null
  readonly #units: Units

  constructor(
    rules: TextRules,
    policies: readonly CompiledPolicy[],
    services: ServicePlaces = NO_PLACES,
  ) {
    this.#lookAlikes = rules.lookAlikes
    this.#units = rules.units
    const addPattern = (index: number | null, label: string) => {
      const pattern = index === null ? undefined : rules.patterns[index]
      if (pattern !== undefined && !this.#patterns.has(pattern)) this.#patterns.set(pattern, label)
    }
    for (const { own, wordFinder } of policies) {
      const uses = (own.detect ?? []).flatMap((index) => rules.detectors[index] ?? [])
      for (const { id, pattern, isExternal } of uses) {
        if (isExternal === true) {
          const places = services.get(id)
          if (places !== undefined) this.#services.push(places)
          continue
        }
        const label = id.toUpperCase().replaceAll('-', '_')
        if (pattern === null) this.#detects.set(id, label)
        else addPattern(pattern, label)
      }
      addPattern(own.pattern, 'MATCH')
      if (wordFinder !== null) this.#words.push(wordFinder)
    }
    this.#detectorSet = this.#detects.size === 0 ? null : rules.detectorSet
  }

  /**
   * Everything found in one text, as it was sent, as it reads and as it is decoded, in no order; places may overlap. Null
   * when it is more than `placesMax`.
   */
  *find(text: string, placesMax: number): Generator<undefined, Place[] | null> {
    const places: Place[] = []
    const take: Take = (label, start, end) => {
      if (label !== undefined && places.length <= placesMax) places.push({ label, start, end })
    }
    const isFull = () => places.length > placesMax
    yield* this.#findPlaces(text, take, isFull)
    if (this.#services.length > 0) this.#findServices(text, places, placesMax)
    const readings = isFull() ? [] : yield* decodedReadings(text)
    const isPlain = plainPlaces(text, readings.length === 0 ? [] : places)
    for (const reading of readings) {
      const decoded: Take = (label, start, end) => {
        const sent = reading.original(start, end)
        if (!isPlain(reading.text.slice(start, end), sent)) take(label, sent.start, sent.end)
      }
      yield* this.#findPlaces(reading.text, decoded, isFull)
    }
    return isFull() ? null : places
  }

  *#findPlaces(text: string, take: Take, isFull: () => boolean): Generator<undefined, void> {
    if (this.#detectorSet !== null) {
      const search = this.#detectorSet.find(text, ({ id, start, end }) => {
        take(this.#detects.get(id), start, end)
      })
      while (search.next().done !== true && !isFull()) yield
    }
    if (this.#patterns.size + this.#words.length > 0 && !isFull()) {
      yield* this.#findSlices(text, take)
    }
  }

  /** Services were asked about texts as they read. */
  #findServices(text: string, into: Place[], placesMax: number): void {
    const normal = normaliseWithIndex(text)
    for (const places of this.#services) {
      for (const { label, start, end } of places.get(normal.text) ?? []) {
        if (into.length > placesMax) return
        into.push({ label, ...normal.original(start, end), isTold: true })
      }
    }
  }

  *#findSlices(
    text: string,
    found: (label: string, start: number, end: number) => void,
  ): Generator<undefined, void> {
    for (let from = 0; from < text.length; from += SLICE_UNITS) {
      const first = Math.max(0, from - LOOK_BACK)
      const slice = text.slice(first, from + SLICE_UNITS + AHEAD_UNITS)
      const take = (label: string, start: number, end: number) => {
        const at = first + start
        if (at >= from && at < from + SLICE_UNITS) found(label, at, first + end)
      }
      yield* this.#findIn(slice, take)
      if (!mayReadOtherwise(slice)) continue
      const normal = normaliseWithIndex(slice)
      const looks = this.#lookAlikes?.read(normal.text, this.#units) ?? normal.text
      for (const read of new Set([normal.text, looks])) {
        if (read === slice) continue
        yield* this.#findIn(read, (label, start, end) => {
          const sent = normal.original(start, end)
          take(label, sent.start, sent.end)
        })
      }
    }
  }

  *#findIn(
    slice: string,
    take: (label: string, start: number, end: number) => void,
  ): Generator<undefined, void> {
    for (const [pattern, label] of this.#patterns) {
      // Telling whether it matches is far cheaper than telling where.
      if (pattern.test(slice)) {
        const matcher = pattern.matcher(slice)
        while (matcher.find()) {
          if (matcher.end() > matcher.start()) take(label, matcher.start(), matcher.end())
        }
      }
      if (slice.length >= SLICE_UNITS) yield
    }
    for (const words of this.#words) {
      words.find(slice, (start, end) => take('WORD', start, end))
    }
  }
}
