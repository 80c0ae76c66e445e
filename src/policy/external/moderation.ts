import type { ModerationQuestion } from '../../config/snapshot.ts'
import { listOf, NotAnAnswer, numberOf, objectOf } from './not-an-answer.ts'
import type { Findings, Wire } from './wire.ts'

const TEXTS_MAX = 32

/**
 * OpenAI's moderations: `POST /v1/moderations {model, input: [text, …]}` answers with `results`, one a
 * text: `{flagged, categories, category_scores}`. A text counts once however many categories it has.
 */
export function moderation({ model, thresholds }: ModerationQuestion): Wire {
  return {
    path: '/v1/moderations',
    textsMax: TEXTS_MAX,
    question: (texts) => JSON.stringify({ model, input: texts }),
    findings(answer, texts) {
      const results = listOf(objectOf(answer)['results'])
      if (results.length !== texts.length) throw new NotAnAnswer('a result is missing')
      return results.map((each) => {
        const { flagged, category_scores: scores } = objectOf(each)
        if (thresholds !== null) return found(exceeds(objectOf(scores), thresholds))
        if (typeof flagged !== 'boolean') throw new NotAnAnswer('flagged is missing')
        return found(flagged)
      })
    },
  }
}

function found(isFound: boolean): Findings {
  return { count: isFound ? 1 : 0, spans: [] }
}

/** A category the service does not know would never be found: that is an error, not a no. */
function exceeds(
  scores: Readonly<Record<string, unknown>>,
  thresholds: Readonly<Record<string, number>>,
): boolean {
  let isFound = false
  for (const [category, scoreMin] of Object.entries(thresholds)) {
    if (numberOf(scores[category]) >= scoreMin) isFound = true
  }
  return isFound
}
