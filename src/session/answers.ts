import { monotonicMs } from '../clock.ts'
import type { Json } from '../dialect/answer-json.ts'
import { GovernorError } from '../errors.ts'
import type { Trail } from '../exchange.ts'
import type {
  AnswerEvents,
  ErrorContext,
  ServerEvent,
  SocketReader,
} from '../nouns/socket-events.ts'
import type { SessionClaims } from './claims.ts'
import { parseEvent } from './events.ts'
import { LateTranscript } from './late.ts'
import type { SessionResponses } from './responses.ts'
import type { Message } from './socket.ts'
import type { SessionEnd, SessionTurn, TurnGuard } from './turn.ts'

/** What the provider's side of a session is given. */
export interface AnswerOptions {
  /** Of the request that opened the session. */
  readonly trail: Trail
  readonly reader: SocketReader
  readonly jsonDepth: number
  /** Takes our credential out of what the provider says; null where there is none. */
  readonly filter: { whole(body: Buffer): Buffer } | null
  /** Null where nobody minds whose what is answered is. */
  readonly claims: SessionClaims | null
  /** For an event that belongs to no response; null where no policy looks at answers. */
  guard(): TurnGuard | null
}

/** What the provider's side of a session does to the whole of it. */
export interface AnswerHost {
  readonly responses: SessionResponses
  isEnded(): boolean
  end(how: SessionEnd): void
  /** Decides a response that nobody asked for; resolves when that is done. */
  ask(turn: SessionTurn): Promise<void>
  /** A turn for one. */
  newTurn(): SessionTurn
  tell(error: GovernorError, about: ErrorContext): void
  toClient(bytes: Buffer): void | Promise<void>
  toUpstream(bytes: Buffer): void | Promise<void>
}

/** What the provider says in one session, on its way to the client. */
export class SessionAnswers {
  /** How the provider sends its events. */
  isBinary = false
  readonly #options: AnswerOptions
  readonly #host: AnswerHost
  readonly #read: AnswerEvents
  readonly #late = new LateTranscript()

  constructor(options: AnswerOptions, host: AnswerHost) {
    this.#options = options
    this.#host = host
    this.#read = options.reader.answers()
  }

  /** One message; resolves when the next one may be looked at. Rejects with why the session cannot go on. */
  take(received: Message): void | Promise<void> {
    const { isBinary } = received
    const bytes = this.#options.filter?.whole(received.bytes) ?? received.bytes
    const message = isBinary && !this.#options.reader.sendsBinary ? null : parseEvent(bytes)
    if (!(message instanceof Promise)) return this.#heard(message, bytes, isBinary)
    return message.then((read) => this.#heard(read, bytes, isBinary))
  }

  #heard(message: Json | null, bytes: Buffer, isBinary: boolean): void | Promise<void> {
    if (this.#host.isEnded()) return
    const event = message === null ? null : this.#read(message)
    if (message === null || event === null) {
      const error = new GovernorError('UPSTREAM_FAILED', { detail: 'it sent what is no event' })
      return this.#host.end({ ending: 'upstream_failed', code: 1011, error })
    }
    this.isBinary = isBinary
    this.#options.trail.answerBytes += bytes.length
    const { claims, trail } = this.#options
    claims?.hear(event, message)
    const written = claims?.resumed(message, trail) ?? null
    const heard = { event, bytes, message }
    if (written === null) return this.#pass(heard)
    return written.then(() => (this.#host.isEnded() ? undefined : this.#pass(heard)))
  }

  #pass(heard: Heard): void | Promise<void> {
    const { event } = heard
    if (event.trails !== undefined) return this.#deliverLate(heard)
    // What is still held back of what came late stands before what comes next.
    if (!event.isEcho) void this.#send(this.#late.end())
    if (event.begins) return this.#begin(heard)
    if (event.answersInput === true) this.#host.responses.answerInput()
    if (event.fails) {
      // Too late to stop a response: nothing the client asked for.
      if (event.eventId !== null && event.eventId === this.#options.reader.cancelEventId) return
      // What goes on must not be taken for over: it would no longer be looked at as one text.
      if (this.#host.responses.fail(event)) {
        return this.#deliver({ ...heard, event: { ...event, ends: false } })
      }
    }
    return this.#deliver(heard)
  }

  /** A response nobody asked for is asked about now; until it was decided nothing is read on. */
  async #begin(heard: Heard): Promise<void> {
    const { event } = heard
    this.#late.begin()
    let turn = this.#host.responses.expected(event.lane, this.#options.reader.answersAll)
    if (turn === null) {
      turn = this.#host.newTurn()
      turn.event = await this.#options.reader.read(this.#options.reader.implied, this.#options)
      await this.#host.ask(turn)
      if (this.#host.isEnded()) return
      if (turn.isRefused) {
        this.#late.isMuted = true
        if (!event.ends) return this.#mute(event.responseId ?? '')
        return
      }
    }
    this.#host.responses.begin(event, turn)
    turn.trail!.upstreamStatus = 200
    turn.trail!.firstByteMs = monotonicMs()
    return this.#deliver(heard)
  }

  #deliver(heard: Heard): void | Promise<void> {
    const { event, bytes, message } = heard
    const turn = this.#host.responses.of(event.responseId)
    if (this.#host.responses.isMuted(event.responseId)) {
      this.#late.isMuted = true
      if (event.ends) this.#endResponse(turn, event)
      return
    }
    if (turn === null) return this.#passOn(heard, null)
    turn.count(event, bytes)
    if (event.isTranscript === true) this.#late.remember(bytes)
    const written = this.#options.claims?.event(event, message, turn.trail!) ?? null
    return written === null ? this.#passOn(heard, turn) : this.#passOnAfter(written, heard, turn)
  }

  /** Nothing that a provider keeps is heard of before it is written down whose it is. */
  async #passOnAfter(written: Promise<void>, heard: Heard, turn: SessionTurn): Promise<void> {
    await written
    if (!this.#host.isEnded()) await this.#passOn(heard, turn)
  }

  #passOn({ event, bytes }: Heard, turn: SessionTurn | null): void | Promise<void> {
    const guard = this.#guardOf(turn, event)
    if (guard !== null) return this.#deliverGuarded({ event, bytes, turn, guard })
    if (event.ends) this.#endResponse(turn, event)
    return this.#host.toClient(bytes)
  }

  /** An event of no response stands behind those of the one that is under way. */
  #guardOf(turn: SessionTurn | null, { isEcho }: ServerEvent): TurnGuard | null {
    if (turn !== null) return turn.guard
    return isEcho ? null : (this.#host.responses.latest?.guard ?? this.#options.guard())
  }

  /** All of it is sent before there is a wait for room: what is over is settled, whoever reads. */
  #deliverGuarded({ event, bytes, turn, guard }: Delivery): void | Promise<void> {
    const about = turn ?? this.#host.responses.latest
    const messages = [...guard.pass(bytes)]
    const isLast = event.ends || guard !== about?.guard
    if (isLast && guard.failure === null) messages.push(...guard.flush())
    const room = this.#send(messages)
    const { failure } = guard
    const refused = failure === null ? undefined : this.#refuseAnswer(about, failure, event)
    if (event.ends) this.#endResponse(turn, event)
    return refused === undefined ? room : bothOf(room, refused)
  }

  /** The last of them tells whether there is room for more. */
  #send(messages: readonly Buffer[]): void | Promise<void> {
    let room: void | Promise<void> = undefined
    for (const message of messages) room = this.#host.toClient(message)
    return room
  }

  /** A piece of what was spoken in a response that has ended. */
  #deliverLate({ event, bytes }: Heard): void | Promise<void> {
    const late = this.#late
    if (late.isMuted) return
    const guard = late.guard(() => this.#options.guard())
    const messages = [...late.pass(bytes)]
    const failure = guard?.failure ?? null
    if (failure === null && event.trails === 'last') messages.push(...late.end())
    const room = this.#send(messages)
    if (failure !== null) {
      late.isMuted = true
      void this.#refuseAnswer(null, failure, event)
    }
    return room
  }

  #endResponse(turn: SessionTurn | null, { responseId, usage, fails }: ServerEvent): void {
    this.#host.responses.unmute(responseId ?? '')
    const error = turn?.refusal ?? null
    if (error !== null) {
      this.#late.isMuted = true
      turn?.end({ ending: 'refused', usage, error })
    } else if (fails) turn?.end({ ending: 'upstream_failed', usage })
    else if (turn !== null) {
      this.#host.responses.own(turn.responseId)
      turn.end({ ending: 'complete', usage })
    } else if (responseId === null) {
      // Nothing came of what was asked.
      this.#host.responses.expected(undefined, true)?.end({ ending: 'complete', usage })
    }
  }

  /** Nothing of it passes any more, and the provider is told to stop, where it can be. */
  #mute(responseId: string): void | Promise<void> {
    this.#host.responses.mute(responseId)
    const cancel = this.#options.reader.cancel(responseId)
    if (cancel !== null) return this.#host.toUpstream(Buffer.from(cancel))
  }

  /** What a policy refuses of an answer is not sent, and the provider told to stop. */
  #refuseAnswer(
    turn: SessionTurn | null,
    error: GovernorError,
    { ends }: ServerEvent,
  ): void | Promise<void> {
    const requestId = turn?.trail?.requestId ?? this.#options.trail.requestId
    this.#host.tell(error, { requestId, eventId: turn?.event?.eventId ?? null, endsTurn: true })
    if (turn === null) return
    turn.refusal = error
    if (!ends) return this.#mute(turn.responseId)
  }
}

async function bothOf(...rooms: readonly (void | Promise<void>)[]): Promise<void> {
  for (const room of rooms) await room
}

/** An event of the provider, read and as it came. */
interface Heard {
  readonly event: ServerEvent
  readonly bytes: Buffer
  readonly message: Json
}

interface Delivery {
  readonly event: ServerEvent
  readonly bytes: Buffer
  readonly turn: SessionTurn | null
  readonly guard: TurnGuard
}
