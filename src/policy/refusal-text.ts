import type { Uninspectable } from '../exchange.ts'
import { type Applicant, liftedBy } from './applicants.ts'
import type { Asked } from './asked.ts'
import type { CompiledPolicy } from './compile.ts'
import type { PolicyCall } from './evaluate.ts'
import type { Subject } from './selectors.ts'

/** What a refused client reads, where the policy has no message of its own. */

/** Longest part of a caller's own text in a message. */
const QUOTED_MAX = 100

/** Names what was refused by the field that did; never the text that matched. */
export function denies(
  { id, own, for: narrowed, readsText }: CompiledPolicy,
  subject: Subject,
): string {
  const fields = [...narrowed.test.fields, ...own.test.fields]
  if (readsText) return `Policy "${id}" denies this input`
  if (fields.includes('uninspectable')) {
    const kinds = subject.uninspectable?.join(', ') ?? ''
    return `Policy "${id}" denies content that cannot be read: ${kinds}`
  }
  if (fields.includes('models')) return `Policy "${id}" denies ${modelsOf(subject)}`
  if (fields.includes('operations')) return `Policy "${id}" denies operation ${subject.operation}`
  return `Policy "${id}" denies this call`
}

/** A service that could not be asked is not the caller's fault. */
export function untold({ id }: CompiledPolicy): string {
  return `Policy "${id}" cannot be checked now`
}

/** A call in words: its operation and models. */
export function described(subject: Subject): string {
  const operation = `operation ${subject.operation}`
  return subject.models.length === 0 ? operation : `${operation} with ${modelsOf(subject)}`
}

function modelsOf({ models }: Subject): string {
  return models.length === 0 ? 'a call without a model' : `model ${models.map(quoted).join(', ')}`
}

/** Text of a caller in our message: plain ASCII, cut. */
function quoted(text: string): string {
  return text.slice(0, QUOTED_MAX).replace(/[^\x20-\x7e]/g, '?')
}

const TOO_LARGE = 'A policy on text applies and these texts are too large once they are normalised'

/** What nobody can read where a policy on text applies, in words; null when no such policy does. */
export function cannotInspect(
  { facts, wallMs }: PolicyCall,
  asked: Asked,
  isLarge: boolean,
): string | null {
  const guards = (each: Applicant) => each.policy.guardsText && liftedBy(each, wallMs) === null
  if (!asked.applicants.some(guards)) return null
  if (isLarge) return TOO_LARGE
  return `A policy on text applies and this content cannot be read: ${placed(facts.uninspectable)}`
}

/** The first of it that has a place in the body (a JSON pointer); else what the path brings in. */
function placed(unread: readonly Uninspectable[]): string {
  const first = unread.find(({ pointer }) => pointer !== '')
  if (first !== undefined) return `${first.kind} at ${quoted(first.pointer)}`
  const kind = unread[0]?.kind ?? 'content'
  return kind === 'tunnel' ? 'a tunnel' : `${kind} named in the path`
}
