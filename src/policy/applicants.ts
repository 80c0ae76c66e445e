import type { Principal } from '../exchange.ts'
import type { CompiledPolicy } from './compile.ts'
import { aboutCall, type CompiledException, holding } from './exceptions.ts'
import type { Subject } from './selectors.ts'

/** A policy whose selectors match a call, as far as they can be told without looking inside. */
export interface Applicant {
  readonly policy: CompiledPolicy
  /** Of a `require`, the first of its own fields that does not match; null when all do. */
  readonly unmet: string | null
  /** Of its exceptions, those that are about the call, ended ones too; null where there are none. */
  readonly exceptions: readonly CompiledException[] | null
}

/** Kinds of calls remembered of one caller: operations times models, in practice a handful. */
const KINDS_MAX = 64
/** A call with more models is rare enough to be worked out each time. */
const MODELS_MAX = 4

/**
 * Which policies are about a call. Callers make the same few kinds of calls, so the answer is
 * remembered for as long as the principal's object lives; expressions and texts are not part of it.
 */
export class Applicants {
  readonly #policies: readonly CompiledPolicy[]
  readonly #known = new WeakMap<Principal, Map<string, readonly Applicant[]>>()

  constructor(policies: readonly CompiledPolicy[]) {
    this.#policies = policies
  }

  /** In the order of the file. */
  of(subject: Subject): readonly Applicant[] {
    const { principal, models, uninspectable = [] } = subject
    // A name with a line end would pass for two.
    const isPlain = models.length < 2 || !models.some((model) => model.includes('\n'))
    if (models.length > MODELS_MAX || !isPlain) return this.#find(subject)
    const names = models.length === 1 ? models[0] : models.join('\n')
    const unread = uninspectable.length === 0 ? '' : uninspectable.join()
    const kind = `${models.length}${subject.operation}${unread}\n${subject.upstream ?? ''}\n${names}`
    let kinds = this.#known.get(principal)
    const known = kinds?.get(kind)
    if (known !== undefined) return known
    const found = this.#find(subject)
    if (kinds === undefined || kinds.size >= KINDS_MAX) {
      kinds = new Map()
      this.#known.set(principal, kinds)
    }
    kinds.set(kind, found)
    return found
  }

  #find(subject: Subject): readonly Applicant[] {
    const found: Applicant[] = []
    for (const policy of this.#policies) {
      if (policy.for.test.fails(subject) !== null) continue
      const unmet = policy.own.test.fails(subject)
      if (policy.verb !== 'require' && unmet !== null) continue
      found.push({ policy, unmet, exceptions: aboutCall(policy.exceptions, subject) })
    }
    return found
  }
}

/** The exception that lifts a policy at that moment; what is in shadow decides nothing to lift. */
export function liftedBy(
  { policy, exceptions }: Applicant,
  wallMs: number,
): CompiledException | null {
  return exceptions === null || policy.mode === 'shadow' ? null : holding(exceptions, wallMs)
}
