import type { TextEdit, Texts } from '../exchange.ts'
import type { CompiledPolicies, CompiledPolicy } from './compile.ts'
import { MaskSearch, type Place } from './mask-search.ts'
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

/** Finds everything that `policies` mask in `texts`; null when it is too much for one call. */
export function* planRedaction(
  { texts: rules }: CompiledPolicies,
  policies: readonly CompiledPolicy[],
  { texts, cut }: { readonly texts: Texts; readonly cut: Cut },
): Generator<undefined, Redaction | null> {
  const search = new MaskSearch(rules, policies)
  const places: SentPlace[] = []
  for (const [reading, text] of texts.values.entries()) {
    if (reading % TEXTS_PER_BREATH === TEXTS_PER_BREATH - 1) yield
    const found = yield* search.find(text)
    if (places.length + found.length > PLACES_MAX) return null
    for (const { label, start, end } of clustersOf(found).map(joined)) {
      const range = { index: reading, start, end }
      const sent = texts.sent === undefined ? range : texts.sent(range)
      if (sent !== null) places.push({ label, ...sent, reads: text.slice(start, end), reading })
    }
  }
  places.sort((a, b) => a.index - b.index || a.start - b.start)
  const perText = Map.groupBy(places, ({ index }) => index)
  const chosen = [...perText.values()].flatMap((each) => {
    return clustersOf(each).flatMap((cluster) =>
      cut === 'whole' ? joined(cluster) : inner(cluster),
    )
  })
  // Cut out whole, a value is more than what was read of it.
  const restores = cut === 'inner' && policies.every((policy) => policy.restores)
  return { ...numbered(chosen, restores ? literalsIn(texts.values) : NONE), restores }
}

const NONE: ReadonlySet<string> = new Set()

/** What a caller wrote that looks like a placeholder: it must not become another value's. */
function literalsIn(texts: readonly string[]): ReadonlySet<string> {
  return new Set(texts.flatMap((text) => text.match(PLACEHOLDER) ?? []))
}

/** In order of place, those that overlap together. */
function clustersOf<Each extends Place>(places: readonly Each[]): Each[][] {
  const clusters: Each[][] = []
  let end = -1
  for (const place of [...places].sort((a, b) => a.start - b.start)) {
    if (place.start < end) clusters.at(-1)?.push(place)
    else clusters.push([place])
    end = Math.max(place.start < end ? end : 0, place.end)
  }
  return clusters
}

/** All of a cluster as one: what the longest of them is, of equals the first found. */
function joined<Each extends Place>(cluster: readonly Each[]): Each {
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
  return found.length < 2 ? found : clustersOf(found).map(joined)
}

function numbered(
  places: readonly SentPlace[],
  taken: ReadonlySet<string>,
): Omit<Redaction, 'restores'> {
  const counts = new Map<string, number>()
  const known = new Map<string, string>()
  const values = new Map<string, string>()
  const edits = places.map(({ index, start, end, label, reads }) => {
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
    return { index, start, end, text: placeholder }
  })
  return { edits, values }
}

/** What our placeholders look like. */
const PLACEHOLDER = /\[[A-Z][A-Z0-9_]*_[1-9][0-9]*\]/g
/** U+001A, "substitute": no letter, digit, space or end of a line, so that nothing begins or ends in it. */
const STAND_IN = '\x1a'

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
  const read = texts.values.map((text) => text.replaceAll(PLACEHOLDER, blank))
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
