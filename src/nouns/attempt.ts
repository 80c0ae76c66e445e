import type { GovernorError } from '../errors.ts'
import type { Splice } from './texts.ts'

/** The same call with another model; `attempt` is 2 and more. */
export interface Fallback {
  readonly attempt: number
  readonly model: string
  /** The model's place in the body. */
  readonly splice: Splice
  /** Models to be tried after this one, in order. */
  readonly rest: readonly string[]
  /** Why the model before it gave no answer. */
  readonly failure: GovernorError
}
