import { GovernorError } from '../errors.ts'
import type { Facts } from '../exchange.ts'
import type { ClientEvent } from '../nouns/socket-events.ts'

const MODELS_MAX = 16

/** The models of one session, and what an event is about because of them. */
export class SessionModels {
  readonly #keeps: boolean
  /** With `keeps` every model it was ever asked for: which of them answers is the provider's to know. */
  #models: readonly string[]

  /** `keeps`: a model once asked for may answer all later events; else those that name none. */
  constructor(models: readonly string[], keeps: boolean) {
    this.#models = models
    this.#keeps = keeps
  }

  /**
   * Facts of an event, with the models that it may go to. A response of this very session was
   * inspected: what goes on from it brings in nothing unseen.
   */
  factsOf({ facts, follows }: ClientEvent, isOwn: (responseId: string) => boolean): Facts {
    const isKnown = follows !== undefined && isOwn(follows.responseId)
    const uninspectable = isKnown
      ? facts.uninspectable.filter(({ pointer }) => pointer !== follows.pointer)
      : facts.uninspectable
    if (!this.#keeps && facts.models.length > 0) return { ...facts, uninspectable }
    const models = [...new Set([...facts.models, ...this.#models])]
    const model = facts.model === '' ? (this.#models.at(-1) ?? '') : facts.model
    return { ...facts, uninspectable, model, models }
  }

  /** An event is sent on. Throws MODEL_INVALID. */
  remember({ type, facts: { models } }: ClientEvent): void {
    if (!this.#keeps && models.length > 0) this.#models = models
    if (!this.#keeps || type !== 'session.update') return
    this.#models = [...new Set([...this.#models, ...models])]
    if (this.#models.length > MODELS_MAX) {
      throw new GovernorError('MODEL_INVALID', { detail: 'too many models in one session' })
    }
  }
}
