import type { GovernorError } from '../errors.ts'
import type { Trail, Usage } from '../exchange.ts'
import type { ClientEvent, ServerEvent } from '../nouns/socket-events.ts'

const LINE_FEED = Buffer.from('\n')
const NOTHING = (): boolean => false

/** How what an event brought about came to its end. */
export interface TurnEnd {
  readonly ending: Trail['ending']
  readonly usage?: Usage | null
  readonly error?: GovernorError
}

/** How a session ends: what is told to whom. */
export interface SessionEnd {
  readonly ending: Trail['ending']
  /** RFC 6455 §7.4.1. */
  readonly code: number
  readonly error?: GovernorError
}

/** Looks at the events of one response; `guard.ts` makes it. */
export interface TurnGuard {
  /** Events that may go on now. */
  pass(event: Buffer): readonly Buffer[]
  flush(): readonly Buffer[]
  readonly failure: GovernorError | null
}

/**
 * One event of a client on its way through the pipeline, and the response it asks for. An implied one
 * is a response that the provider began by itself, after it heard the end of a sentence.
 */
export class SessionTurn {
  readonly bytes: Buffer
  readonly isImplied: boolean
  /** Null until it was read, and where it could not be. */
  event: ClientEvent | null = null
  /** Why it could not be read. */
  fault: GovernorError | null = null
  trail: Trail | null = null
  guard: TurnGuard | null = null
  responseId = ''
  /** Of its response, where there are several conversations. */
  lane: string | undefined
  /** What is still to come of its response is nobody's any more. */
  refusal: GovernorError | null = null
  /** It was refused before it reached the provider. */
  isRefused = false
  /** Ids of what its session holds, and nobody keeps. */
  knows: (id: string) => boolean = NOTHING
  /** Of its event, counted as in flight until it is settled. */
  heldBytes = 0
  readonly #signal: AbortSignal
  readonly #sent = Promise.withResolvers<void>()
  readonly #done = Promise.withResolvers<TurnEnd>()

  constructor(bytes: Buffer, signal: AbortSignal, isImplied = false) {
    this.bytes = bytes
    this.isImplied = isImplied
    this.#signal = signal
  }

  /** Resolves when the event was sent on or refused: then the next one may be looked at. */
  get sent(): Promise<void> {
    return this.#sent.promise
  }

  /** Resolves when its response ended. */
  get done(): Promise<TurnEnd> {
    return this.#done.promise
  }

  markSent(): void {
    this.#sent.resolve()
  }

  end(how: TurnEnd): void {
    this.#done.resolve(how)
  }

  /** Counts what a model wrote, for a response that never says what it took. */
  count({ isText }: ServerEvent, event: Buffer): void {
    const { counts } = this.trail!
    this.trail!.answerBytes += event.length
    this.#keep(event)
    if (counts === null || !isText) return
    const { output } = counts
    if ('push' in output && typeof output.push === 'function') output.push(event)
  }

  /** One event a line. */
  #keep(event: Buffer): void {
    const kept = this.trail!.kept
    kept?.take(event)
    kept?.take(LINE_FEED)
  }

  /** Runs a task that is given up when the session ends; rejects with why. */
  async whilePresent<Value>(task: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    this.#signal.throwIfAborted()
    try {
      return await task(this.#signal)
    } catch (error) {
      this.#signal.throwIfAborted()
      throw error
    }
  }
}
