import type { PresidioQuestion } from '../../config/snapshot.ts'
import { listOf, NotAnAnswer, numberOf, objectOf } from './not-an-answer.ts'
import type { Findings, Span, Wire } from './wire.ts'

/** Stands between texts; no entity reaches across a paragraph on purpose, and one that does counts. */
const BETWEEN = '\n\n'
/** What a placeholder can be called. */
const LABEL = /^[A-Z][A-Z0-9_]{0,63}$/

/**
 * Presidio analyzer: `POST /analyze {text, language, entities, score_threshold}` answers with a list of
 * `{entity_type, start, end, score}`. All texts go as one, which every version takes. Offsets count
 * code points, as Python does.
 */
export function presidio({ language, entities, scoreMin }: PresidioQuestion): Wire {
  return {
    path: '/analyze',
    textsMax: null,
    question: (texts) =>
      JSON.stringify({
        text: texts.join(BETWEEN),
        language,
        score_threshold: scoreMin,
        ...(entities !== null && { entities }),
      }),
    findings(answer, texts) {
      const found = new FoundIn(texts)
      for (const each of listOf(answer)) {
        const { entity_type: type, start, end, score } = objectOf(each)
        if (typeof type !== 'string') throw new NotAnAnswer('an entity type is missing')
        const [from, to] = [numberOf(start), numberOf(end)]
        const isPlace = Number.isInteger(from) && Number.isInteger(to)
        if (!isPlace || from < 0 || to < from) throw new NotAnAnswer('a place is none')
        if (numberOf(score) < scoreMin || entities?.includes(type) === false) continue
        found.add(LABEL.test(type) ? type : 'ENTITY', from, to)
      }
      return found.all
    },
  }
}

/** Findings by text: each counts where it begins, and is a span of every text it is in. */
class FoundIn {
  readonly all: { count: number; readonly spans: Span[] }[]
  readonly #texts: readonly PointText[]

  constructor(texts: readonly string[]) {
    this.all = texts.map(() => ({ count: 0, spans: [] }))
    let at = 0
    this.#texts = texts.map((text) => {
      const made = new PointText(text, at)
      at = made.end + BETWEEN.length
      return made
    })
  }

  /** Code points of all texts joined. */
  add(label: string, from: number, to: number): void {
    const first = Math.max(
      0,
      this.#texts.findLastIndex(({ start }) => start <= from),
    )
    for (let index = first; index < this.#texts.length; index++) {
      const text = this.#texts[index]!
      const found: Findings & { count: number; spans: Span[] } = this.all[index]!
      if (index === first) found.count++
      else if (text.start >= to) return
      const [start, end] = [text.unit(from), text.unit(to)]
      if (end > start) found.spans.push({ label, start, end })
    }
  }
}

/** A text among others whose places are counted in code points. */
class PointText {
  /** In code points of all texts. */
  readonly start: number
  readonly end: number
  readonly #units: number
  /** Unit at which each code point begins; null where all are one unit. */
  readonly #begins: readonly number[] | null

  constructor(text: string, start: number) {
    const begins: number[] = []
    for (let i = 0; i < text.length; i++) {
      begins.push(i)
      if ((text.codePointAt(i) ?? 0) > 0xffff) i++
    }
    this.start = start
    this.end = start + begins.length
    this.#units = text.length
    this.#begins = begins.length === text.length ? null : begins
  }

  /** The unit at a code point of all texts; the beginning or the end where that is not in this one. */
  unit(point: number): number {
    const at = Math.min(Math.max(0, point - this.start), this.end - this.start)
    return this.#begins === null ? at : (this.#begins[at] ?? this.#units)
  }
}
