import { GovernorError } from '../errors.ts'
import type { PolicyResult } from '../exchange.ts'
import type { Cut } from './answer-inspector.ts'

/** Puts values back where an answer has their placeholders: those of the same call and no others. */

const PLACEHOLDER = /\[[A-Z][A-Z0-9_]*_[1-9][0-9]*\]/g
/** What may be the beginning of one. */
const BEGUN = /^\[(?:[A-Z][A-Z0-9_]*)?$/

/** A longer text is looked at after a turn of the event loop. */
const LONG_UNITS = 64 * 1024

/** A text of an answer that comes piece by piece. */
export class RestoreChannel {
  #held = ''
  #isStructured: boolean | null = null
  releasedTo = 0

  get length(): number {
    return this.releasedTo + this.#held.length
  }

  push(text: string): void {
    this.#held += text
    const first = /\S/.exec(text)
    if (first !== null) this.#isStructured ??= first[0] === '{'
  }

  /** What may go on, and whether values in it stand in JSON. */
  take(placeholderUnitsMax: number, isOver: boolean): { text: string; isJson: boolean } {
    const from = this.#held.lastIndexOf('[')
    const end = this.#held.slice(from)
    const waits = !isOver && from !== -1 && end.length < placeholderUnitsMax && BEGUN.test(end)
    const text = waits ? this.#held.slice(0, from) : this.#held
    this.#held = waits ? end : ''
    this.releasedTo += text.length
    return { text, isJson: this.#isStructured === true }
  }
}

/** Stands where policies on answers do; finds placeholders instead of values. */
export class RestoreInspector {
  readonly enforces = true
  readonly results: readonly PolicyResult[] = []
  readonly detected: Readonly<Record<string, number>> = {}
  readonly #values: ReadonlyMap<string, string>
  readonly #unitsMax: number

  /** `values` is what each placeholder of the call stands for. */
  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values
    this.#unitsMax = [...values.keys()].reduce((most, { length }) => Math.max(most, length), 0)
  }

  channel(): RestoreChannel {
    return new RestoreChannel()
  }

  said(): void {}

  /** Cuts of a text that is complete. */
  *text(text: string): Generator<undefined, readonly Cut[]> {
    if (text.length > LONG_UNITS) yield
    return text.includes('[') ? this.#cuts(text, 0, isJson(text)) : []
  }

  *settle(
    channel: RestoreChannel,
    isOver: boolean,
  ): Generator<undefined, { readonly releasedTo: number; readonly cuts: readonly Cut[] }> {
    if (channel.length - channel.releasedTo > LONG_UNITS) yield
    const before = channel.releasedTo
    const { text, isJson: inJson } = channel.take(this.#unitsMax, isOver)
    return { releasedTo: channel.releasedTo, cuts: this.#cuts(text, before, inJson) }
  }

  cannotMask(): GovernorError {
    return new GovernorError('INTERNAL', { detail: 'a value cannot be put back' })
  }

  #cuts(text: string, from: number, inJson: boolean): readonly Cut[] {
    const cuts: Cut[] = []
    for (const { 0: placeholder, index } of text.matchAll(PLACEHOLDER)) {
      const value = this.#values.get(placeholder)
      if (value === undefined) continue
      const start = from + index
      const written = inJson ? JSON.stringify(value).slice(1, -1) : value
      cuts.push({ start, end: start + placeholder.length, placeholder: written, policy: '' })
    }
    return cuts
  }
}

function isJson(text: string): boolean {
  if (!/^\s*[{["]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
