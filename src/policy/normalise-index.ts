import { normaliseText } from './normalise.ts'

/** A text as it reads, for detectors, and the way back to the text as it was sent. */
export interface NormalText {
  /** `normaliseText` with ASCII digits, hyphens and apostrophes in place of all of their kinds. */
  readonly text: string
  /**
   * The smallest range of the sent text that reads as `[start, end)` of `text`, in UTF-16 units: what
   * to cut out so that the value is gone, with the invisible characters inside it.
   */
  readonly original: (
    start: number,
    end: number,
  ) => { readonly start: number; readonly end: number }
}

/** With an ASCII character before it, which a combining mark would change. */
const NOT_ASCII = /\p{ASCII}?\P{ASCII}+/gu
/** What has to be looked at one by one; everything else is left to the engine's own NFKC. */
const READS_OTHERWISE =
  /[[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\p{Nd}\p{Pd}\u2018\u2019\u2212]--\p{ASCII}]/v
/**
 * A character and all that may merge with it: marks, Hangul vowels and finals (also as compatibility
 * and half-width letters), half-width sound marks, Kirat Rai vowels, and what is invisible but no tag.
 */
const CLUSTER =
  /[\s\S][[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cs}\u1160-\u11ff\ud7b0-\ud7ff\u3130-\u318f\uff9e-\uffdf\u{16d63}-\u{16d6a}]--[\u{e0020}-\u{e007e}]]{0,128}/gv
const FOLDS = /[[\p{Nd}\p{Pd}\u2018\u2019\u2212]--\p{ASCII}]/gv

/** NFKC sorts marks in quadratic time: longer runs are cut apart (Stream-Safe Text of UAX #15 allows 30). */
const MANY_MARKS = /[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}]{64}/u

/** Texts say the same few characters again and again. */
const KNOWN_MAX = 4096

/**
 * Normalises with an index back. ASCII and text that NFKC leaves alone cost one native pass and have
 * the identity for an index; elsewhere there is a step for every character that changes, so time and
 * memory are linear in the text.
 */
export function normaliseWithIndex(text: string): NormalText {
  const steps: Step[] = []
  const known = new Map<string, string>()
  const parts: string[] = []
  let from = 0
  let length = 0
  const keep = (to: number) => {
    if (to <= from) return
    steps.push({ normal: length, sent: from, isWhole: false })
    parts.push(text.slice(from, to))
    length += to - from
    from = to
  }
  for (const { 0: run, index } of text.matchAll(NOT_ASCII)) {
    if (isPlain(run)) continue
    keep(index)
    for (const cluster of run.match(CLUSTER) ?? []) {
      let normal = known.get(cluster)
      if (normal === undefined) {
        normal = normaliseText(cluster).replace(FOLDS, asciiOf)
        if (known.size < KNOWN_MAX) known.set(cluster, normal)
      }
      if (normal === cluster) keep(from + cluster.length)
      else {
        steps.push({
          normal: length,
          sent: from,
          isWhole: cluster.length > 1 || normal.length !== 1,
        })
        parts.push(normal)
        length += normal.length
        from += cluster.length
      }
    }
  }
  if (steps.length === 0) return { text, original: (start, end) => ({ start, end }) }
  keep(text.length)
  steps.push({ normal: length, sent: text.length, isWhole: true })
  return { text: parts.join(''), original: (start, end) => originalOf(steps, start, end) }
}

function isPlain(run: string): boolean {
  return !READS_OTHERWISE.test(run) && !MANY_MARKS.test(run) && run.normalize('NFKC') === run
}

/** From here on the two texts go in step, or (`isWhole`) the piece up to the next step is one. */
interface Step {
  readonly normal: number
  readonly sent: number
  readonly isWhole: boolean
}

function originalOf(steps: readonly Step[], start: number, end: number) {
  const first = steps[stepAt(steps, start)]
  const from = first === undefined ? 0 : first.sent + (first.isWhole ? 0 : start - first.normal)
  if (end <= start) return { start: from, end: from }
  const index = stepAt(steps, end - 1)
  const last = steps[index]
  const behind = steps[index + 1]?.sent ?? 0
  if (last === undefined) return { start: from, end: from }
  return { start: from, end: last.isWhole ? behind : last.sent + (end - last.normal) }
}

/** The last step that begins at or before `at`, of those that stand for something. */
function stepAt(steps: readonly Step[], at: number): number {
  let low = 0
  let high = steps.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((steps[middle]?.normal ?? 0) <= at) low = middle
    else high = middle - 1
  }
  return low
}

/** Digits of all scripts have their values in order; dashes and quotes read as one. */
function asciiOf(character: string): string {
  const point = character.codePointAt(0) ?? 0
  if (/\p{Pd}|\u2212/u.test(character)) return '-'
  if (point === 0x2018 || point === 0x2019) return "'"
  return digitOf(point)
}

/** Decimal digits come in runs of ten (Unicode, PropList: Nd); the place in the run is the value. */
function digitOf(point: number): string {
  let zero = point
  while (point - zero < 60 && /\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero--
  return String((point - zero) % 10)
}
