import { AnswerGuard } from './answer-guard.ts'
import type { Trail } from './exchange.ts'
import { AnswerInspector } from './policy/answer-inspector.ts'
import { AnswerPlaceholders } from './policy/placeholders.ts'
import type { World } from './world.ts'

/** What looks at the answer of a call, told to its outcome too; nothing where no policy does. */
export function answerGuard(
  { policies, snapshot }: World,
  trail: Trail,
): { readonly guard: AnswerGuard | null; readonly answerBytesMax: number } {
  const { route, decision } = trail
  const { defaults, maximums } = snapshot
  const answerBytesMax = maximums.bodyBytes
  const ids = decision?.answers
  const rules = policies.output
  if (ids === undefined || rules === null) return { guard: null, answerBytesMax }
  const guard = new AnswerGuard({
    inspector: new AnswerInspector(rules, ids, new AnswerPlaceholders(decision?.changes?.masked)),
    reader: route!.dialect.answers,
    api: route!.endpoint.api,
    jsonDepth: maximums.jsonDepth,
    uninspectable: defaults.uninspectable,
  })
  trail.answer = guard
  return { guard, answerBytesMax }
}
