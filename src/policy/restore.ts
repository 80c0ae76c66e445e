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
    return text.includes('[') ? this.#cuts(text, 0, levelsIn(text)) : []
  }

  *settle(
    channel: RestoreChannel,
    isOver: boolean,
  ): Generator<undefined, { readonly releasedTo: number; readonly cuts: readonly Cut[] }> {
    if (channel.length - channel.releasedTo > LONG_UNITS) yield
    const before = channel.releasedTo
    const { text, isJson: inJson } = channel.take(this.#unitsMax, isOver)
    const level = inJson ? 1 : 0
    return { releasedTo: channel.releasedTo, cuts: this.#cuts(text, before, () => level) }
  }

  cannotMask(): GovernorError {
    return new GovernorError('INTERNAL', { detail: 'a value cannot be put back' })
  }

  #cuts(text: string, from: number, levelOf: (index: number) => number): readonly Cut[] {
    const cuts: Cut[] = []
    let count = 0
    for (const { 0: placeholder, index } of text.matchAll(PLACEHOLDER)) {
      const value = this.#values.get(placeholder)
      const level = levelOf(count++)
      if (value === undefined) continue
      const start = from + index
      const written = inStrings(value, level)
      cuts.push({ start, end: start + placeholder.length, placeholder: written, policy: '' })
    }
    return cuts
  }
}

/** JSON in a string of JSON in a string …: deeper ones are read as text. */
const LEVELS_MAX = 4
const STRING = /"(?:[^"\\]|\\.)*"/gs

/** A value as it stands in a string of JSON, which stands in another one, `level` times. */
function inStrings(value: string, level: number): string {
  let written = value
  for (let i = 0; i < level; i++) written = JSON.stringify(written).slice(1, -1)
  return written
}

/** In how many strings of JSON within each other the n-th placeholder of a text stands. */
function levelsIn(text: string): (index: number) => number {
  const levels = levelsOf(text, LEVELS_MAX)
  return (index) => levels?.[index] ?? 0
}

/** Null where it is no JSON. */
function levelsOf(text: string, most: number): readonly number[] | null {
  if (!isJson(text)) return null
  const levels: number[] = []
  for (const [token] of text.matchAll(STRING)) {
    const count = placeholdersIn(token)
    if (count === 0) continue
    const inner = most > 1 ? levelsOf(JSON.parse(token) as string, most - 1) : null
    // Where an escape hides one, it cannot be told which is which.
    const known = inner?.length === count ? inner : Array<number>(count).fill(0)
    for (const level of known) levels.push(level + 1)
  }
  return levels
}

function placeholdersIn(text: string): number {
  return text.includes('[') ? (text.match(PLACEHOLDER)?.length ?? 0) : 0
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
