import type { Trail } from '../exchange.ts'
import type { AnswerVerdict } from '../nouns/answer.ts'

/** What an outcome entry says of policies that looked at the answer; never what they found. */

/** Results kept; ids, reasons and detectors are of the file's making, and cut all the same. */
const POLICIES_MAX = 8
const DETECTED_MAX = 16
const NAME_CHARS_MAX = 128
const WHY_CHARS_MAX = 160

/** Members of the outcome's body, each with its comma; '' where nothing was found. */
export function answerMembers(
  { refusal }: Pick<Trail, 'refusal'>,
  { policies, detected, changed }: AnswerVerdict,
): string {
  const counts = Object.entries(detected)
  const truncated = [
    ...(policies.length > POLICIES_MAX ? ['policies'] : []),
    ...(counts.length > DETECTED_MAX ? ['detected'] : []),
  ]
  const said = JSON.stringify({
    policy: refusal?.policy?.slice(0, NAME_CHARS_MAX),
    policies: some(
      policies.slice(0, POLICIES_MAX).map(({ id, mode, result, why }) => {
        return { id: id.slice(0, NAME_CHARS_MAX), mode, result, why: why.slice(0, WHY_CHARS_MAX) }
      }),
    ),
    detected: counts.length === 0 ? undefined : Object.fromEntries(counts.slice(0, DETECTED_MAX)),
    changed: changed ? ['redacted'] : undefined,
    truncated: some(truncated),
  })
  return said === '{}' ? '' : `,${said.slice(1, -1)}`
}

function some<Item>(items: readonly Item[]): readonly Item[] | undefined {
  return items.length === 0 ? undefined : items
}
