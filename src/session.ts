import type { RawData, WebSocket } from 'ws'

import type { Caller } from './auth/authenticate.ts'
import { monotonicMs } from './clock.ts'
import { GovernorError } from './errors.ts'
import type { Facts, Trail } from './exchange.ts'
import type { Interruptible } from './http/exchange.ts'
import type { Intake } from './http/intake.ts'
import { handle, type Stages } from './pipeline.ts'
import { Inbox } from './session-inbox.ts'
import { SessionModels } from './session-models.ts'
import { Pulse } from './session-pulse.ts'
import { SessionResponses } from './session-responses.ts'
import { closeSocket, type Message, type Received, sendMessage } from './session-socket.ts'
import { type SessionEnd, SessionTurn, type TurnEnd, type TurnGuard } from './session-turn.ts'
import type {
  AnswerEvents,
  ClientEvent,
  ErrorContext,
  ServerEvent,
  SocketReader,
} from './socket-events.ts'

export type TurnStages = Stages<SessionTurn, void>

/** How long audio passes by what was decided of the piece before it. */
const AUDIO_DECIDED_MS = 10_000

export interface SessionOptions {
  /** Of the request that opened it. */
  readonly trail: Trail
  readonly client: WebSocket
  readonly upstream: WebSocket
  /** What the client said before the session began, and nobody has heard yet. */
  readonly heard: readonly Message[]
  readonly reader: SocketReader
  /** Counts what the client sends. */
  readonly intake: Pick<Intake, 'taken' | 'giveBack'>
  /** Asked again with every event: a token may have run out since. */
  readonly caller: Caller
  readonly peer: string | undefined
  readonly jsonDepth: number
  readonly idleMs: number
  /** Takes our credential out of what the provider says; null where there is none. */
  readonly filter: { whole(body: Buffer): Buffer } | null
  /** Of the snapshot of the moment. */
  stages(session: Session): TurnStages
  /** For an event that belongs to no response; null where no policy looks at answers. */
  guard(): TurnGuard | null
  isDraining(): boolean
}

/**
 * One session: two sockets, and every event between them on its way through the pipeline. Events of
 * one side are looked at one after the other, in their order; while one is looked at, its side is not
 * read. Nothing here rejects; `run` resolves when the session is over and everything in it settled.
 */
export class Session implements Interruptible {
  readonly trail: Trail
  readonly reader: SocketReader
  readonly peer: string | undefined
  readonly caller: Caller
  readonly #options: SessionOptions
  readonly #client: WebSocket
  readonly #upstream: WebSocket
  readonly #responses = new SessionResponses()
  readonly #running = new Set<Promise<void>>()
  readonly #ending = new AbortController()
  readonly #finished = Promise.withResolvers<void>()
  readonly #pulse: Pulse
  readonly #answers: AnswerEvents
  readonly #models: SessionModels
  #audio: { readonly untilMs: number; readonly by: TurnStages } | null = null
  /** How the provider sends its events. */
  #isBinary = false
  #isEnded = false
  /** When there is room again behind the error that was told last. */
  #told: void | Promise<void> = undefined

  constructor(options: SessionOptions) {
    this.#options = options
    this.trail = options.trail
    this.reader = options.reader
    this.peer = options.peer
    this.caller = options.caller
    this.#client = options.client
    this.#upstream = options.upstream
    this.#models = new SessionModels(options.trail.facts!.models, options.reader.keepsModels)
    this.#answers = options.reader.answers()
    const { client, upstream, idleMs } = options
    this.#pulse = new Pulse({ client, upstream, idleMs, over: (why) => this.#over(why) })
  }

  async run(): Promise<void> {
    this.#pulse.start()
    this.#listen(this.#client, (received) => this.#fromClient(received), 'client')
    this.#listen(this.#upstream, (received) => this.#fromUpstream(received), 'upstream')
    await this.#finished.promise
    await Promise.all(this.#running)
  }

  #listen(
    socket: WebSocket,
    take: (received: Received) => void | Promise<void>,
    side: 'client' | 'upstream',
  ): void {
    const inbox = new Inbox<Received>(socket, take, (error) => {
      this.interrupt(GovernorError.from(error))
    })
    const seen = (): void => this.#pulse.seen(side)
    socket.on('message', (data: RawData, isBinary: boolean) => {
      this.#pulse.said(side)
      const heldBytes = side === 'client' ? this.#options.intake.taken() : 0
      inbox.push({ bytes: data as Buffer, isBinary, heldBytes })
    })
    socket.on('pong', seen)
    socket.on('ping', seen)
    // What a socket complains of ends it, and that is heard of as `close`.
    socket.on('error', () => {})
    socket.on('close', (closed: number) => {
      // What the provider said before is still the client's; a client that is gone asks nothing.
      if (side === 'upstream') inbox.push({ closed })
      else void take({ closed })
    })
    const isOpen = socket.readyState === socket.OPEN
    // Before the inbox has something to do, which is when it pauses it.
    if (isOpen) socket.resume()
    if (side === 'client') for (const message of this.#options.heard) inbox.push(message)
    if (!isOpen) inbox.push({ closed: 1006 })
  }

  // --- what the pipeline asks of it ---

  /** Facts of an event, with what is known of the session. */
  factsOf(event: ClientEvent): Facts {
    return this.#models.factsOf(event, (id) => this.#responses.isOwn(id))
  }

  /** Throws OVERLOADED where too many responses are asked for at once. */
  checkRoom(): void {
    if (this.#responses.isFull) {
      throw new GovernorError('OVERLOADED', { detail: 'too many responses at once in one session' })
    }
  }

  /** Sends an event that was let through. Resolves when there is room for the next. */
  async forward(turn: SessionTurn, bytes: Buffer): Promise<void> {
    if (this.#isEnded) throw new GovernorError('CLIENT_CLOSED')
    if (turn.event?.produces === true && !turn.isImplied) this.#responses.expect(turn)
    this.#remember(turn)
    if (!turn.isImplied) await this.#toUpstream(bytes)
  }

  /** Tells the client of an event that was not let through. */
  refuse(turn: SessionTurn, error: GovernorError): void {
    const { trail, event } = turn
    if (error.code !== 'CLIENT_CLOSED') {
      const endsTurn = event?.produces === true && !turn.isImplied
      this.#tell(error, { requestId: trail!.requestId, eventId: event?.eventId ?? null, endsTurn })
    }
    // The client believes it talks to another model from here on.
    const isOtherModel = event?.type === 'session.update' && event.facts.models.length > 0
    if (isOtherModel && error.code === 'POLICY_DENIED') this.#end({ ending: 'refused', code: 1008 })
    if (error.code === 'AUTH_KEY_INVALID') this.#end({ ending: 'refused', code: 1008, error })
  }

  // --- how it ends ---

  interrupt(error: GovernorError): void {
    if (error.code === 'CLIENT_CLOSED') this.#end({ ending: 'client_closed', code: 1001 })
    else if (error.code === 'DRAINING') this.#end({ ending: 'incomplete', code: 1001, error })
    else this.#end({ ending: 'incomplete', code: error.source === 'client' ? 1008 : 1011, error })
  }

  drain(): void {
    if (this.#responses.isIdle) this.interrupt(new GovernorError('DRAINING'))
  }

  #end({ ending, code, error }: SessionEnd): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#pulse.stop()
    this.trail.ending = ending
    this.trail.refusal = error ?? null
    if (error !== undefined) this.#tellOfEnd(error)
    const how: TurnEnd = {
      ending: ending === 'complete' ? 'client_closed' : ending,
      ...(error !== undefined && { error }),
    }
    this.#responses.endAll(how)
    this.#ending.abort(error ?? new GovernorError('CLIENT_CLOSED'))
    closeSocket(this.#client, code, error?.code ?? '')
    closeSocket(this.#upstream, 1000, '')
    this.#finished.resolve()
  }

  #tell(error: GovernorError, about: ErrorContext): void {
    this.#told = this.#toClient(Buffer.from(this.reader.errorEvent(error, about)))
  }

  #tellOfEnd(error: GovernorError): void {
    this.#tell(error, { requestId: this.trail.requestId, eventId: null, endsTurn: true })
  }

  /** Whoever waits for an answer that does not come hears of it. */
  #over(why: 'idle' | 'old'): void {
    if (why === 'old' || this.#responses.isIdle) {
      return this.#end({ ending: 'complete', code: 1001 })
    }
    const error = new GovernorError('UPSTREAM_TIMEOUT')
    this.#end({ ending: 'upstream_failed', code: 1011, error })
  }

  // --- client to provider ---

  #fromClient(received: Received): void | Promise<void> {
    if (this.#isEnded) return
    if ('closed' in received) {
      const isRegular = [1000, 1001, 1005].includes(received.closed)
      return this.#end({ ending: isRegular ? 'complete' : 'client_closed', code: 1000 })
    }
    if (!received.isBinary) return this.#takeEvent(received)
    const error = new GovernorError('BODY_INVALID', { detail: 'events are text, this is binary' })
    this.#end({ ending: 'refused', code: 1003, error })
  }

  async #takeEvent({ bytes, heldBytes = 0 }: Message): Promise<void> {
    const turn = new SessionTurn(bytes, this.#ending.signal)
    turn.heldBytes = heldBytes
    const { jsonDepth } = this.#options
    try {
      turn.event = await this.reader.read(bytes, { jsonDepth })
    } catch (error) {
      turn.fault = GovernorError.from(error)
    }
    if (this.#isEnded) return
    const isAudio = turn.event?.isAudioOnly === true
    const stages = this.#options.stages(this)
    const audio = this.#audio
    if (isAudio && audio !== null && audio.by === stages && monotonicMs() < audio.untilMs) {
      this.#options.intake.giveBack(heldBytes)
      return this.#toUpstream(bytes)
    }
    await this.#handle(turn, stages)
    // Who sends and does not read is not asked for more.
    if (turn.isRefused) await this.#told
    if (!isAudio) return
    const untilMs = monotonicMs() + AUDIO_DECIDED_MS
    this.#audio = turn.isRefused ? null : { untilMs, by: stages }
  }

  async #handle(turn: SessionTurn, stages: TurnStages): Promise<void> {
    const running = handle(stages, turn)
    this.#running.add(running)
    void running.finally(() => {
      this.#running.delete(running)
      this.#responses.forget(turn)
      this.#options.intake.giveBack(turn.heldBytes)
      if (this.#options.isDraining()) this.drain()
    })
    await turn.sent
  }

  #remember({ event }: SessionTurn): void {
    if (event?.type === 'session.update') this.#audio = null
    if (event?.type === 'response.steer') this.#responses.addsInput = true
    if (event !== null) this.#models.remember(event)
  }

  // --- provider to client ---

  #fromUpstream(received: Received): void | Promise<void> {
    if (this.#isEnded) return
    if ('closed' in received) return this.#upstreamClosed(received.closed)
    const bytes = this.#options.filter?.whole(received.bytes) ?? received.bytes
    const event = this.#read(bytes, received.isBinary)
    if (event === null) {
      const error = new GovernorError('UPSTREAM_FAILED', { detail: 'it sent what is no event' })
      return this.#end({ ending: 'upstream_failed', code: 1011, error })
    }
    this.#isBinary = received.isBinary
    this.trail.answerBytes += bytes.length
    if (event.begins) return this.#begin(event, bytes)
    if (event.fails) {
      // Too late to stop a response: nothing the client asked for.
      if (event.eventId !== null && event.eventId === this.reader.cancelEventId) return
      // What goes on must not be taken for over: it would no longer be looked at as one text.
      if (this.#responses.fail(event)) return this.#deliver({ ...event, ends: false }, bytes)
    }
    return this.#deliver(event, bytes)
  }

  #read(bytes: Buffer, isBinary: boolean): ServerEvent | null {
    return isBinary && !this.reader.sendsBinary ? null : this.#answers(bytes.toString('utf8'))
  }

  #upstreamClosed(code: number): void {
    if (code === 1000) return this.#end({ ending: 'complete', code })
    const error = new GovernorError('UPSTREAM_FAILED', { detail: `it closed with code ${code}` })
    this.#end({ ending: 'upstream_failed', code: 1011, error })
  }

  /** A response nobody asked for is asked about now; until it was decided nothing is read on. */
  async #begin(event: ServerEvent, bytes: Buffer): Promise<void> {
    let turn = this.#responses.expected(event.lane, this.reader.answersAll)
    if (turn === null) {
      turn = new SessionTurn(this.reader.implied, this.#ending.signal, true)
      turn.event = await this.reader.read(this.reader.implied, this.#options)
      await this.#handle(turn, this.#options.stages(this))
      if (this.#isEnded) return
      if (turn.isRefused) {
        if (!event.ends) return this.#mute(event.responseId ?? '')
        return
      }
    }
    this.#responses.begin(event, turn)
    turn.trail!.upstreamStatus = 200
    turn.trail!.firstByteMs = monotonicMs()
    return this.#deliver(event, bytes)
  }

  #deliver(event: ServerEvent, bytes: Buffer): void | Promise<void> {
    const turn = this.#responses.of(event.responseId)
    if (this.#responses.isMuted(event.responseId)) {
      if (event.ends) this.#endResponse(turn, event)
      return
    }
    turn?.count(event, bytes)
    const guard = this.#guardOf(turn, event)
    if (guard !== null) return this.#deliverGuarded({ event, bytes, turn, guard })
    if (event.ends) this.#endResponse(turn, event)
    return this.#toClient(bytes)
  }

  /** An event of no response stands behind those of the one that is under way. */
  #guardOf(turn: SessionTurn | null, { isEcho }: ServerEvent): TurnGuard | null {
    if (turn !== null) return turn.guard
    return isEcho ? null : (this.#responses.latest?.guard ?? this.#options.guard())
  }

  async #deliverGuarded({ event, bytes, turn, guard }: Delivery): Promise<void> {
    const about = turn ?? this.#responses.latest
    const messages = [...guard.pass(bytes)]
    const isLast = event.ends || guard !== about?.guard
    if (isLast && guard.failure === null) messages.push(...guard.flush())
    for (const message of messages) await this.#toClient(message)
    const { failure } = guard
    if (failure !== null) await this.#refuseAnswer(about, failure, event)
    if (event.ends) this.#endResponse(turn, event)
  }

  #endResponse(turn: SessionTurn | null, { responseId, usage, fails }: ServerEvent): void {
    this.#responses.unmute(responseId ?? '')
    const error = turn?.refusal ?? null
    if (error !== null) turn?.end({ ending: 'refused', usage, error })
    else if (fails) turn?.end({ ending: 'upstream_failed', usage })
    else if (turn !== null) {
      this.#responses.own(turn.responseId)
      turn.end({ ending: 'complete', usage })
    } else if (responseId === null) {
      // Nothing came of what was asked.
      this.#responses.expected(undefined, true)?.end({ ending: 'complete', usage })
    }
  }

  /** Nothing of it passes any more, and the provider is told to stop, where it can be. */
  #mute(responseId: string): void | Promise<void> {
    this.#responses.mute(responseId)
    const cancel = this.reader.cancel(responseId)
    if (cancel !== null) return this.#toUpstream(Buffer.from(cancel))
  }

  /** What a policy refuses of an answer is not sent, and the provider told to stop. */
  async #refuseAnswer(
    turn: SessionTurn | null,
    error: GovernorError,
    { ends }: ServerEvent,
  ): Promise<void> {
    const requestId = turn?.trail?.requestId ?? this.trail.requestId
    this.#tell(error, { requestId, eventId: turn?.event?.eventId ?? null, endsTurn: true })
    if (turn === null) return
    turn.refusal = error
    if (!ends) await this.#mute(turn.responseId)
  }

  #toUpstream(bytes: Buffer): void | Promise<void> {
    return sendMessage(this.#upstream, { bytes, isBinary: false }, this.#options.idleMs)
  }

  #toClient(bytes: Buffer): void | Promise<void> {
    return sendMessage(this.#client, { bytes, isBinary: this.#isBinary }, this.#options.idleMs)
  }
}

interface Delivery {
  readonly event: ServerEvent
  readonly bytes: Buffer
  readonly turn: SessionTurn | null
  readonly guard: TurnGuard
}
