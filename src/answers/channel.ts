import { parses } from '../dialect/json-syntax.ts'
import type { AnswerText } from '../nouns/answer.ts'
import { type AnswerInspector, applyCuts, type Cut } from '../policy/answer-inspector.ts'
import { HeldTooLong } from '../policy/output-channel.ts'
import { runNow } from '../turns.ts'

/** The longest arguments of a tool call that are held until it closes. */
const PROGRAM_UNITS_MAX = 1024 * 1024
/** The most texts of one streamed answer; a real one has some for each part of it. */
const CHANNELS_MAX = 4096
/** Ends the name of a channel whose text is JSON, to be looked at as a whole. */
const WHOLE = '!'

/** One text of a streamed answer and the cuts that are certain in it. */
export interface AnswerChannel {
  readonly length: number
  readonly releasedTo: number
  push(text: string): void
  /** Throws POLICY_DENIED and what cannot be looked at. */
  settle(isOver: boolean): void
  /** What goes on in place of the piece `[start, start + text.length)`. */
  cut(text: string, start: number): string
}

/** A text that comes piece by piece, as an inspector keeps it. */
export interface InspectedChannel {
  readonly length: number
  readonly releasedTo: number
  push(text: string): void
}

/** What looks at the texts of an answer; see `AnswerInspector`. */
export interface Inspector extends Pick<
  AnswerInspector,
  'enforces' | 'results' | 'detected' | 'said' | 'text' | 'cannotMask'
> {
  channel(): InspectedChannel
  settle(
    channel: InspectedChannel,
    isOver: boolean,
    readings: (text: string) => readonly string[],
  ): Generator<undefined, { readonly releasedTo: number; readonly cuts: readonly Cut[] }>
}

/** Whether a text that was JSON is JSON still. */
export function staysJson(text: string, masked: string): boolean {
  return !parses(text) || parses(masked)
}

/** The channel of a name, as the dialect gives it, of those of one answer. Throws `HeldTooLong`. */
export function channelOf(
  channels: Map<string, AnswerChannel>,
  name: string,
  inspector: Inspector,
  readings: (text: string) => readonly string[],
): AnswerChannel {
  const known = channels.get(name)
  if (known !== undefined) return known
  if (channels.size === CHANNELS_MAX) throw new HeldTooLong('more texts than can be told apart')
  const channel = name.endsWith(WHOLE)
    ? new ProgramChannel(inspector, readings)
    : new TextChannel(inspector, readings)
  channels.set(name, channel)
  return channel
}

/** Cuts of a text in order; one that overlaps the last makes it longer. */
class Cuts {
  readonly #cuts: Cut[] = []

  get any(): boolean {
    return this.#cuts.length > 0
  }

  add(cuts: readonly Cut[]): void {
    for (const cut of cuts) {
      const last = this.#cuts.at(-1)
      if (last === undefined || cut.start >= last.end) this.#cuts.push(cut)
      else if (cut.end > last.end) this.#cuts.splice(-1, 1, { ...last, end: cut.end })
    }
  }

  cut(text: string, start: number): string {
    const end = start + text.length
    let made = ''
    let from = start
    for (const cut of this.#cuts) {
      if (cut.end <= start || cut.start >= end) continue
      made += text.slice(from - start, Math.max(cut.start, start) - start)
      // The placeholder stands where the value began, once.
      if (cut.start >= start) made += cut.placeholder
      from = Math.min(cut.end, end)
    }
    // Pieces are taken in order.
    while ((this.#cuts[0]?.end ?? end) < start) this.#cuts.shift()
    return made + text.slice(from - start)
  }
}

/** A text that people read: let go as soon as no match can begin in it any more. */
class TextChannel implements AnswerChannel {
  readonly #inspector: Inspector
  readonly #readings: (text: string) => readonly string[]
  readonly #channel: InspectedChannel
  readonly #cuts = new Cuts()
  #releasedTo = 0

  constructor(inspector: Inspector, readings: (text: string) => readonly string[]) {
    this.#inspector = inspector
    this.#readings = readings
    this.#channel = inspector.channel()
  }

  get length(): number {
    return this.#channel.length
  }

  get releasedTo(): number {
    return this.#releasedTo
  }

  push(text: string): void {
    this.#channel.push(text)
  }

  settle(isOver: boolean): void {
    const steps = this.#inspector.settle(this.#channel, isOver, this.#readings)
    const { releasedTo, cuts } = runNow(steps)
    this.#cuts.add(cuts)
    this.#releasedTo = releasedTo
  }

  cut(text: string, start: number): string {
    return this.#cuts.any ? this.#cuts.cut(text, start) : text
  }
}

/** Arguments of a call, which a program reads when it has all of them. */
class ProgramChannel implements AnswerChannel {
  readonly #inspector: Inspector
  readonly #readings: (text: string) => readonly string[]
  readonly #cuts = new Cuts()
  #pieces: string[] = []
  #before = 0
  length = 0
  releasedTo = 0

  constructor(inspector: Inspector, readings: (text: string) => readonly string[]) {
    this.#inspector = inspector
    this.#readings = readings
  }

  push(text: string): void {
    if (text === '') return
    this.#pieces.push(text)
    this.length += text.length
    if (this.length - this.releasedTo > PROGRAM_UNITS_MAX) throw new HeldTooLong('arguments')
  }

  settle(isOver: boolean): void {
    if (!isOver || this.length === this.releasedTo) return
    const text = this.#pieces.join('')
    const cuts = runNow(this.#inspector.text(text, this.#readings))
    const [first] = cuts
    if (first !== undefined && !staysJson(text, applyCuts(text, cuts))) {
      throw this.#inspector.cannotMask(first)
    }
    const from = this.#before
    this.#cuts.add(cuts.map((cut) => ({ ...cut, start: cut.start + from, end: cut.end + from })))
    this.#pieces = []
    this.#before = this.releasedTo = this.length
  }

  cut(text: string, start: number): string {
    return this.#cuts.any ? this.#cuts.cut(text, start) : text
  }
}

/** A piece of a channel in an event. */
export interface Segment {
  readonly channel: AnswerChannel
  readonly start: number
  readonly text: AnswerText
}
