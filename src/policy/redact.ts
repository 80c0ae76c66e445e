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
}

/** A place in a value as it was sent, and how what stands there reads. */
interface SentPlace extends Place {
  readonly index: number
  readonly reads: string
}

/** Finds everything that `policies` mask in `texts`; null when it is too much for one call. */
export function* planRedaction(
  { texts: rules }: CompiledPolicies,
  policies: readonly CompiledPolicy[],
  texts: Texts,
): Generator<undefined, Redaction | null> {
  const search = new MaskSearch(rules, policies)
  const places: SentPlace[] = []
  for (const [index, text] of texts.values.entries()) {
    if (index % TEXTS_PER_BREATH === TEXTS_PER_BREATH - 1) yield
    const found = yield* search.find(text)
    if (places.length + found.length > PLACES_MAX) return null
    for (const { label, start, end } of apart(found)) {
      const sent =
        texts.sent === undefined ? { index, start, end } : texts.sent({ index, start, end })
      if (sent !== null) places.push({ label, ...sent, reads: text.slice(start, end) })
    }
  }
  places.sort((a, b) => a.index - b.index || a.start - b.start)
  const perText = Map.groupBy(places, ({ index }) => index)
  return numbered([...perText.values()].flatMap((each) => apart(each)))
}

/**
 * In order of place, those that overlap joined: together they are what the longest of them is. Equals
 * keep the order they were found in, which is detectors first.
 */
function apart<Each extends Place>(places: readonly Each[]): Each[] {
  if (places.length < 2) return [...places]
  const joined: Each[] = []
  let longest = 0
  for (const place of [...places].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1)
    const length = place.end - place.start
    if (last === undefined || place.start >= last.end) {
      joined.push(place)
      longest = length
      continue
    }
    const { start } = last
    const end = Math.max(last.end, place.end)
    joined[joined.length - 1] = { ...(length > longest ? place : last), start, end }
    longest = Math.max(longest, length)
  }
  return joined
}

function numbered(places: readonly SentPlace[]): Redaction {
  const counts = new Map<string, number>()
  const known = new Map<string, string>()
  const values = new Map<string, string>()
  const edits = places.map(({ index, start, end, label, reads }) => {
    const value = `${label}\0${normaliseText(reads)}`
    let placeholder = known.get(value)
    if (placeholder === undefined) {
      const count = (counts.get(label) ?? 0) + 1
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
