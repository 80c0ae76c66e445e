import type { TurnGuard } from './turn.ts'

/** What was said of the transcript before it goes on late: enough for a word or a number cut in two. */
const TAIL_BYTES_MAX = 4096
const TAIL_EVENTS_MAX = 32
const NOTHING: readonly Buffer[] = []

/**
 * A transcript of what was spoken may go on after the response it belongs to has ended (Gemini's live API
 * sends it beside the response, in no order). The pieces are looked at as one text, which begins with the
 * end of what the response said.
 */
export class LateTranscript {
  #tail: Buffer[] = []
  #tailBytes = 0
  #guard: TurnGuard | null = null
  /** Messages of the guard that the client has had already. */
  #heard = 0
  /** Nothing of it passes, and nobody is told of that any more. */
  isMuted = false

  /** A response begins: what comes late from now on is of that one. */
  begin(): void {
    this.#tail = []
    this.#tailBytes = 0
    this.isMuted = false
  }

  /** A piece of the transcript, while its response goes on. */
  remember(event: Buffer): void {
    this.#tail.push(event)
    this.#tailBytes += event.length
    while (this.#tail.length > TAIL_EVENTS_MAX || this.#tailBytes > TAIL_BYTES_MAX) {
      this.#tailBytes -= this.#tail.shift()!.length
    }
  }

  /** What looks at the pieces that come late; null where no policy does. */
  guard(make: () => TurnGuard | null): TurnGuard | null {
    if (this.#guard !== null) return this.#guard
    this.#guard = make()
    this.#heard = 0
    for (const event of this.#tail) this.#heard += 1 - (this.#guard?.pass(event).length ?? 1)
    return this.#guard
  }

  /** What may go on of an event; nothing of those that were heard before. */
  pass(event: Buffer): readonly Buffer[] {
    return this.#fresh(this.#guard?.pass(event) ?? [event])
  }

  /** It is over: what may still go on of it. */
  end(): readonly Buffer[] {
    const guard = this.#guard
    if (guard === null) return NOTHING
    this.#guard = null
    return guard.failure === null ? this.#fresh(guard.flush()) : NOTHING
  }

  #fresh(messages: readonly Buffer[]): readonly Buffer[] {
    const from = Math.min(this.#heard, messages.length)
    this.#heard -= from
    return from === 0 ? messages : messages.slice(from)
  }
}
