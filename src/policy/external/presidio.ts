import type { PresidioQuestion } from '../../config/snapshot.ts'
import { listOf, NotAnAnswer, numberOf, objectOf } from './not-an-answer.ts'
import type { Wire } from './wire.ts'

/** Stands between texts; no entity reaches across a paragraph on purpose, and one that does counts. */
const BETWEEN = '\n\n'

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
      const starts = startsOf(texts)
      const counts = texts.map(() => 0)
      for (const each of listOf(answer)) {
        const { entity_type: type, start, end, score } = objectOf(each)
        if (typeof type !== 'string') throw new NotAnAnswer('an entity type is missing')
        const at = numberOf(start)
        if (at < 0 || numberOf(end) < at) throw new NotAnAnswer('a place is none')
        if (numberOf(score) < scoreMin || entities?.includes(type) === false) continue
        const index = starts.findLastIndex((from) => from <= at)
        counts[index] = (counts[index] ?? 0) + 1
      }
      return counts
    },
  }
}

/** Where each text begins in all of them, code points. */
function startsOf(texts: readonly string[]): readonly number[] {
  let at = 0
  return texts.map((text) => {
    const start = at
    at += codePointsOf(text) + BETWEEN.length
    return start
  })
}

function codePointsOf(text: string): number {
  let count = 0
  for (let i = 0; i < text.length; i++) {
    if ((text.codePointAt(i) ?? 0) > 0xffff) i++
    count++
  }
  return count
}
