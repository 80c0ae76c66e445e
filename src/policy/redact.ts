import type { TextEdit, Texts } from '../exchange.ts'
import type { CompiledPolicies, CompiledPolicy } from './compile.ts'
import { MaskSearch, type Place, type ServicePlaces } from './mask-search.ts'
import { normaliseText } from './normalise.ts'
import { scanTexts, type TextMatches, TextsTooLarge } from './scan.ts'

/**
 * Puts placeholders in place of what `redact` policies find. They are numbered by first appearance in
 * document order, and the same value has the same one, so that a conversation that grows is masked in
 * the same way again.
 */

/** The most values masked in one call. */
const PLACES_MAX = 100_000
/** Texts looked at between two breaths. */
const TEXTS_PER_BREATH = 256
/** Places that are put in order, and named, between two breaths: about a millisecond. */
const PLACES_PER_BREATH = 1024
/** Units searched for placeholders between two breaths, and what a text costs beside its units. */
const UNITS_PER_BREATH = 256 * 1024
const UNITS_PER_TEXT = 64

/** What is to be changed. */
export interface Redaction {
  /** In document order, apart from each other. */
  readonly edits: readonly TextEdit[]
  /** What each placeholder stands for. */
  readonly values: ReadonlyMap<string, string>
  /** Whether they are put back into the answer. */
  readonly restores: boolean
}

/** A place in a value as it was sent, and how what stands there reads. */
interface SentPlace extends Place {
  readonly index: number
  readonly reads: string
  /** Index of the text it was found in: of two readings of a value the later one has more undone. */
  readonly reading: number
}

/**
 * What is cut where readings of a value disagree: what the last of them says, which is what reads the
 * value in the end, or all of it.
 */
export type Cut = 'inner' | 'whole'

/** What of a call is masked, and how much where readings disagree. */
export interface RedactionOptions {
  readonly texts: Texts
  readonly cut: Cut
  /** What services found in them. */
  readonly services?: ServicePlaces | undefined
}

/** Finds everything that `policies` mask in `texts`; null when it is too much for one call. */
export function* planRedaction(
  { texts: rules }: CompiledPolicies,
  policies: readonly CompiledPolicy[],
  { texts, cut, services }: RedactionOptions,
): Generator<undefined, Redaction | null> {
  const places = yield* placesIn(texts, new MaskSearch(rules, policies, services))
  if (places === null) return null
  places.sort((a, b) => a.index - b.index || a.start - b.start)
  yield
  const pace = new Pace(PLACES_PER_BREATH)
  const chosen: SentPlace[] = []
  for (const cluster of clustersOf(places)) {
    if (cut === 'whole') chosen.push(joined(cluster))
    else chosen.push(...inner(cluster))
    if (pace.isDue()) yield
  }
  // Cut out whole, a value is more than what was read of it.
  const restores = cut === 'inner' && policies.every((policy) => policy.restores)
  const taken = restores ? literalsIn(texts.values) : NONE
  return { ...(yield* numbered(chosen, taken)), restores }
}

/** All places in the order of the texts, as they were sent; null when they are too many. */
function* placesIn(texts: Texts, search: MaskSearch): Generator<undefined, SentPlace[] | null> {
  const places: SentPlace[] = []
  const lost: string[] = []
  const pace = new Pace(TEXTS_PER_BREATH)
  const placePace = new Pace(PLACES_PER_BREATH)
  for (const [reading, text] of texts.values.entries()) {
    if (pace.isDue()) yield
    const found = yield* search.find(text, PLACES_MAX - places.length)
    if (found === null) return null
    found.sort((a, b) => a.start - b.start)
    for (const cluster of clustersOf(found)) {
      const { label, start, end } = joined(cluster)
      const range = { index: reading, start, end }
      const sent = texts.sent === undefined ? range : texts.sent(range)
      const reads = text.slice(start, end)
      if (sent !== null) places.push({ label, ...sent, reads, reading })
      else if (cluster.some(({ isTold }) => isTold)) lost.push(reads)
      if (placePace.isDue()) yield
    }
  }
  return lost.every((reads) => isAmong(places, reads)) ? places : null
}

/** Whether what was found in texts that were joined was also found in one of them, or some of it was. */
function isAmong(places: readonly SentPlace[], reads: string): boolean {
  return places.some((place) => place.reads.includes(reads) || reads.includes(place.reads))
}

/** Says after each `count` of small steps that it is time to breathe. */
class Pace {
  readonly #count: number
  #done = 0

  constructor(count: number) {
    this.#count = count
  }

  isDue(): boolean {
    this.#done++
    if (this.#done < this.#count) return false
    this.#done = 0
    return true
  }
}

const NONE: ReadonlySet<string> = new Set()

/** What a caller wrote that looks like a placeholder: it must not become another value's. */
function literalsIn(texts: readonly string[]): ReadonlySet<string> {
  return new Set(texts.flatMap((text) => text.match(PLACEHOLDER) ?? []))
}

/** Of places in order those that overlap in one text, together. */
function* clustersOf<Each extends Place & { readonly index?: number }>(
  places: readonly Each[],
): Generator<readonly Each[], void> {
  let cluster: Each[] = []
  let end = -1
  for (const place of places) {
    if (cluster.length > 0 && (place.start >= end || place.index !== cluster[0]?.index)) {
      yield cluster
      cluster = []
      end = -1
    }
    cluster.push(place)
    end = Math.max(end, place.end)
  }
  if (cluster.length > 0) yield cluster
}

/** All of a cluster as one: what the longest of them is, of equals the first found. */
function joined<Each extends Place>(cluster: readonly Each[]): Each {
  if (cluster.length === 1 && cluster[0] !== undefined) return cluster[0]
  const longest = cluster.reduce((one, other) => {
    return other.end - other.start > one.end - one.start ? other : one
  })
  const start = Math.min(longest.start, cluster[0]?.start ?? longest.start)
  const end = cluster.reduce((last, place) => Math.max(last, place.end), 0)
  return { ...longest, start, end }
}

/** Those of a cluster that were found in its last reading, which are apart from each other. */
function inner(cluster: readonly SentPlace[]): readonly SentPlace[] {
  const last = cluster.reduce((most, { reading }) => Math.max(most, reading), 0)
  const found = cluster.filter(({ reading }) => reading === last)
  return found.length < 2 ? found : [...clustersOf(found)].map(joined)
}

function* numbered(
  places: readonly SentPlace[],
  taken: ReadonlySet<string>,
): Generator<undefined, Omit<Redaction, 'restores'>> {
  const counts = new Map<string, number>()
  const known = new Map<string, string>()
  const values = new Map<string, string>()
  const edits: TextEdit[] = []
  const pace = new Pace(PLACES_PER_BREATH)
  for (const { index, start, end, label, reads } of places) {
    const value = `${label}\0${normaliseText(reads)}`
    let placeholder = known.get(value)
    if (placeholder === undefined) {
      let count = (counts.get(label) ?? 0) + 1
      while (taken.has(`[${label}_${count}]`)) count++
      counts.set(label, count)
      placeholder = `[${label}_${count}]`
      known.set(value, placeholder)
      values.set(placeholder, reads)
    }
    edits.push({ index, start, end, text: placeholder })
    if (pace.isDue()) yield
  }
  return { edits, values }
}

/** What our placeholders look like. */
const PLACEHOLDER = /\[[A-Z][A-Z0-9_]*_[1-9][0-9]*\]/g
/** U+FFFD: no letter, digit, space or end of a line, and not invisible, so that nothing begins or ends in it. */
const STAND_IN = '\ufffd'

/**
 * The first of `policies` that still finds something in the texts of a call that was edited; null when
 * there is none. What stands in `values` is not looked at: a placeholder may look like a secret.
 */
export function* findLeftOver(
  { texts: rules }: CompiledPolicies,
  policies: readonly CompiledPolicy[],
  { texts, values }: { readonly texts: Texts; readonly values: ReadonlyMap<string, string> },
): Generator<undefined, CompiledPolicy | null> {
  const blank = (placeholder: string) => (values.has(placeholder) ? STAND_IN : placeholder)
  const read: string[] = []
  let units = 0
  for (const text of texts.values) {
    read.push(text.replaceAll(PLACEHOLDER, blank))
    units += text.length + UNITS_PER_TEXT
    if (units < UNITS_PER_BREATH) continue
    units = 0
    yield
  }
  try {
    const matches = yield* scanTexts(rules, read)
    return policies.find((policy) => finds(policy, matches)) ?? null
  } catch (error) {
    if (error instanceof TextsTooLarge) return policies[0] ?? null
    throw error
  }
}

/** Whether one of the fields of a `redact` finds something. */
function finds({ own: { pattern, words, detect } }: CompiledPolicy, matches: TextMatches): boolean {
  return (
    (pattern !== null && matches.pattern(pattern)) ||
    (words !== null && matches.words(words)) ||
    (detect !== null && matches.detectedAny(detect))
  )
}
