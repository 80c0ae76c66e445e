import type { WebSocket } from 'ws'

import type { Caller } from '../auth/authenticate.ts'
import { monotonicMs } from '../clock.ts'
import { GovernorError } from '../errors.ts'
import type { Facts, Trail } from '../exchange.ts'
import type { Interruptible } from '../http/exchange.ts'
import type { Intake } from '../http/intake.ts'
import type { ClientEvent, ErrorContext, SocketReader } from '../nouns/socket-events.ts'
import { handle, type Stages } from '../pipeline.ts'
import { type AnswerHost, type AnswerOptions, SessionAnswers } from './answers.ts'
import { SessionModels } from './models.ts'
import { Pulse } from './pulse.ts'
import { SessionResponses } from './responses.ts'
import { closeSocket, listenTo, type Message, type Received, sendMessage } from './socket.ts'
import { type SessionEnd, SessionTurn, type TurnEnd } from './turn.ts'

/** The pipeline as the events of a session go through it. */
export type TurnStages = Stages<SessionTurn, void>

/** How long audio passes by what was decided of the piece before it. */
const AUDIO_DECIDED_MS = 10_000

/** A session that is open on both sides, and what its events go through. */
export interface SessionOptions extends AnswerOptions {
  readonly client: WebSocket
  readonly upstream: WebSocket
  /** What the client said before the session began, and nobody has heard yet. */
  readonly heard: readonly Message[]
  /** Counts what the client sends. */
  readonly intake: Pick<Intake, 'taken' | 'giveBack'>
  /** Asked again with every event: a token may have run out since. */
  readonly caller: Caller
  readonly peer: string | undefined
  readonly jsonDepth: number
  readonly idleMs: number
  /** Of the snapshot of the moment. */
  stages(session: Session): TurnStages
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
  readonly #answers: SessionAnswers
  readonly #models: SessionModels
  #audio: { readonly untilMs: number; readonly by: TurnStages } | null = null
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
    this.#answers = new SessionAnswers(options, this.#host())
    const { client, upstream, idleMs } = options
    const startedMs = monotonicMs()
    this.#pulse = new Pulse({ client, upstream, idleMs, startedMs, over: (why) => this.#over(why) })
  }

  /** What the provider's side does to the session. */
  #host(): AnswerHost {
    return {
      responses: this.#responses,
      isEnded: () => this.#isEnded,
      end: (how) => this.#end(how),
      ask: (turn) => this.#handle(turn, this.#options.stages(this)),
      newTurn: () => new SessionTurn(this.reader.implied, this.#ending.signal, true),
      tell: (error, about) => this.#tell(error, about),
      toClient: (bytes) => this.#toClient(bytes),
      toUpstream: (bytes) => this.#toUpstream(bytes),
    }
  }

  async run(): Promise<void> {
    this.#pulse.start()
    const { heard, intake } = this.#options
    const pulse = this.#pulse
    const fail = (error: unknown): void => this.interrupt(GovernorError.from(error))
    listenTo(this.#client, {
      take: (received) => this.#fromClient(received),
      fail,
      seen: () => pulse.seen('client'),
      said: () => {
        pulse.said('client')
        return intake.taken()
      },
      heard,
      // A client that is gone asks nothing.
      outlives: false,
    })
    listenTo(this.#upstream, {
      take: (received) => this.#fromUpstream(received),
      fail,
      seen: () => pulse.seen('upstream'),
      said: () => {
        pulse.said('upstream')
        return 0
      },
      heard: [],
      // What the provider said before is still the client's.
      outlives: true,
    })
    await this.#finished.promise
    await Promise.all(this.#running)
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
    if (!received.isBinary) return this.#takeText(received)
    const error = new GovernorError('BODY_INVALID', { detail: 'events are text, this is binary' })
    this.#end({ ending: 'refused', code: 1003, error })
  }

  /** Audio that was decided goes on as it came, at once; everything else is read. */
  #takeText(received: Message): void | Promise<void> {
    const { bytes, heldBytes = 0 } = received
    if (this.#audio === null || this.reader.isPlainAudio?.(bytes) !== true) {
      return this.#takeEvent(received)
    }
    if (!this.#isDecided(this.#options.stages(this))) return this.#takeEvent(received)
    this.#options.intake.giveBack(heldBytes)
    return this.#toUpstream(bytes)
  }

  /** Whether what was decided of audio holds, under the snapshot of now. */
  #isDecided(stages: TurnStages): boolean {
    const audio = this.#audio
    return audio !== null && audio.by === stages && monotonicMs() < audio.untilMs
  }

  async #takeEvent({ bytes, heldBytes = 0 }: Message): Promise<void> {
    const turn = new SessionTurn(bytes, this.#ending.signal)
    turn.heldBytes = heldBytes
    const { jsonDepth, claims } = this.#options
    if (claims !== null) turn.knows = (id) => claims.holds(id)
    try {
      turn.event = await this.reader.read(bytes, { jsonDepth })
    } catch (error) {
      turn.fault = GovernorError.from(error)
    }
    if (this.#isEnded) return
    const isAudio = turn.event?.isAudioOnly === true
    const stages = this.#options.stages(this)
    if (isAudio && this.#isDecided(stages)) {
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
    if (event?.type === 'response.steer') this.#responses.addInput()
    if (event !== null) this.#models.remember(event)
  }

  // --- provider to client ---

  #fromUpstream(received: Received): void | Promise<void> {
    if (this.#isEnded) return
    if ('closed' in received) return this.#upstreamClosed(received.closed)
    return this.#answers.take(received)
  }

  #upstreamClosed(code: number): void {
    if (code === 1000) return this.#end({ ending: 'complete', code })
    const error = new GovernorError('UPSTREAM_FAILED', { detail: `it closed with code ${code}` })
    this.#end({ ending: 'upstream_failed', code: 1011, error })
  }

  #toUpstream(bytes: Buffer): void | Promise<void> {
    return sendMessage(this.#upstream, { bytes, isBinary: false }, this.#options.idleMs)
  }

  #toClient(bytes: Buffer): void | Promise<void> {
    return sendMessage(
      this.#client,
      { bytes, isBinary: this.#answers.isBinary },
      this.#options.idleMs,
    )
  }
}
