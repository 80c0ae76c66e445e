import { GovernorError } from '../errors.ts'
import type { Decision, PolicyResult } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { AnswerInspector, applyCuts } from './answer-inspector.ts'
import type { CompiledPolicies } from './compile.ts'
import { AnswerPlaceholders } from './placeholders.ts'

/** What policies make of an answer that is described instead of given. */
export interface DescribedAnswer {
  /** Who refuses it and what is said about it; null where it goes on. */
  readonly refusal: { readonly policy: string; readonly message: string } | null
  /** As it goes on, with placeholders. */
  readonly texts: readonly string[]
  /** What policies found in it. */
  readonly policies: readonly PolicyResult[]
}

/**
 * Looks at `texts` as at the texts of a whole answer to a call that was decided so. A call that was
 * refused has no answer. Rejects for texts that grow beyond every measure.
 */
export async function describedAnswer(
  { output }: CompiledPolicies,
  { answers, effect }: Decision,
  texts: readonly string[],
): Promise<DescribedAnswer> {
  if (output === null || answers === undefined || effect === 'deny') {
    return { refusal: null, texts, policies: [] }
  }
  const inspector = new AnswerInspector(output, answers, new AnswerPlaceholders())
  const masked: string[] = []
  try {
    for (const text of texts) {
      inspector.said(text)
      masked.push(applyCuts(text, await inTurns(inspector.text(text, () => []))))
    }
  } catch (error) {
    if (!(error instanceof GovernorError)) throw error
  }
  return { refusal: inspector.refusal, texts: masked, policies: inspector.results }
}
