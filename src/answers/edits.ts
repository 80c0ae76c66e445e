import { GovernorError } from '../errors.ts'
import type { Splice } from '../exchange.ts'
import type { AnswerText } from '../nouns/answer.ts'
import { applySplices } from '../upstream/splice.ts'

/** An edit of a text; '' of `tokens` stands for nothing at all, in the shape that was there. */
export function editOf({ start, end, kind }: AnswerText, text: string): Splice {
  return { start, end, text: kind === 'tokens' ? '' : JSON.stringify(text) }
}

/** The bytes of an answer, or of an event's data, with all edits made; what spells an edited text once more is emptied. */
export function withEdits(
  bytes: Buffer,
  texts: readonly AnswerText[],
  edits: readonly Splice[],
): Buffer {
  const all = new Map(edits.map((edit) => [edit.start, edit]))
  for (const text of texts) {
    if (text.kind === 'tokens') all.set(text.start, editOf(text, ''))
  }
  const splices = [...all.values()].map((edit) =>
    edit.text === '' ? { ...edit, text: bytes[edit.start] === 0x5b ? '[]' : 'null' } : edit,
  )
  return applySplices(
    bytes,
    splices.sort((a, b) => a.start - b.start),
  )
}

/** Says that a policy is about an answer that cannot be read, and why. */
export function unreadable(what: string): GovernorError {
  return new GovernorError('POLICY_DENIED', {
    detail: `A policy on the answer applies and this cannot be read: ${what}`,
  })
}

/** What is not strict JSON, grows too far or would have to be held for too long cannot be read. */
export function refusal(error: unknown): GovernorError {
  if (error instanceof GovernorError && error.code === 'POLICY_DENIED') return error
  if (error instanceof GovernorError) return unreadable('it is not strict JSON')
  return error instanceof RangeError ? unreadable('it is too large') : GovernorError.from(error)
}
