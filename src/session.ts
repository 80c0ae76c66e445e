import type { RawData, WebSocket } from 'ws'

import type { Caller } from './auth/authenticate.ts'
import { every, monotonicMs } from './clock.ts'
import { GovernorError } from './errors.ts'
import type { Facts, Trail } from './exchange.ts'
import type { Interruptible } from './http/exchange.ts'
import { handle, type Stages } from './pipeline.ts'
import { Inbox } from './session-inbox.ts'
import { SessionResponses } from './session-responses.ts'
import { closeSocket, sendText } from './session-socket.ts'
import { SessionTurn, type TurnEnd, type TurnGuard } from './session-turn.ts'
import type { ServerEvent, SocketReader } from './socket-events.ts'

export type TurnStages = Stages<SessionTurn, void>

/** How long audio passes by what was decided of the piece before it. */
const AUDIO_DECIDED_MS = 10_000
/** Both sides are asked this often whether they are there; three silences are an answer. */
const PING_MS = 15_000
/** The provider ends its own sessions after an hour. */
const SESSION_MS_MAX = 2 * 3_600_000
const MODELS_MAX = 16

export interface SessionOptions {
  /** Of the request that opened it. */
  readonly trail: Trail
  readonly client: WebSocket
  readonly upstream: WebSocket
  readonly reader: SocketReader
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

/** How a session ends: what is told to whom. */
interface End {
  readonly ending: Trail['ending']
  /** RFC 6455 §7.4.1. */
  readonly code: number
  readonly error?: GovernorError
}

/** A message, or that there will be no more. */
type Received = { readonly bytes: Buffer; readonly isBinary: boolean } | { readonly closed: number }

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
  readonly #startedMs = monotonicMs()
  /** Every model the session was ever asked for: which of them answers is the provider's to know. */
  #models: readonly string[]
  #audio: { readonly untilMs: number; readonly by: TurnStages } | null = null
  #activeMs = monotonicMs()
  #clientSeenMs = monotonicMs()
  #upstreamSeenMs = monotonicMs()
  #isEnded = false
  #stopTicking: () => void = () => {}

  constructor(options: SessionOptions) {
    this.#options = options
    this.trail = options.trail
    this.reader = options.reader
    this.peer = options.peer
    this.caller = options.caller
    this.#client = options.client
    this.#upstream = options.upstream
    this.#models = [options.trail.route!.pathModel!]
  }

  async run(): Promise<void> {
    const { idleMs } = this.#options
    this.#stopTicking = every(Math.min(PING_MS, idleMs / 2), () => this.#tick())
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
    const seen = (): void => {
      if (side === 'client') this.#clientSeenMs = monotonicMs()
      else this.#upstreamSeenMs = monotonicMs()
    }
    socket.on('message', (data: RawData, isBinary: boolean) => {
      seen()
      this.#activeMs = monotonicMs()
      inbox.push({ bytes: data as Buffer, isBinary })
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
    if (socket.readyState === socket.OPEN) socket.resume()
    else inbox.push({ closed: 1006 })
  }

  // --- what the pipeline asks of it ---

  /** Facts of an event, with the models that the session was asked for before. */
  withModels(facts: Facts): Facts {
    const models = [...new Set([...facts.models, ...this.#models])]
    return { ...facts, model: facts.model === '' ? this.#models.at(-1)! : facts.model, models }
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
    if (!turn.isImplied) await this.#send(this.#upstream, bytes)
  }

  /** Tells the client of an event that was not let through. */
  refuse(turn: SessionTurn, error: GovernorError): void {
    const { trail, event } = turn
    if (error.code !== 'CLIENT_CLOSED') this.#tell(error, trail!.requestId, event?.eventId ?? null)
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

  #end({ ending, code, error }: End): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#stopTicking()
    this.trail.ending = ending
    this.trail.refusal = error ?? null
    if (error !== undefined) this.#tell(error, this.trail.requestId, null)
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

  #tell(error: GovernorError, requestId: string, eventId: string | null): void {
    const event = this.reader.errorEvent(error, requestId, eventId)
    void this.#send(this.#client, Buffer.from(event))
  }

  #tick(): void {
    const nowMs = monotonicMs()
    // Whoever is not read cannot be heard.
    if (this.#client.isPaused) this.#clientSeenMs = nowMs
    if (this.#upstream.isPaused) this.#upstreamSeenMs = nowMs
    if (nowMs - this.#clientSeenMs > 3 * PING_MS) this.#client.terminate()
    if (nowMs - this.#upstreamSeenMs > 3 * PING_MS) this.#upstream.terminate()
    for (const socket of [this.#client, this.#upstream]) {
      if (socket.readyState === socket.OPEN) socket.ping()
    }
    if (nowMs - this.#activeMs > this.#options.idleMs) {
      if (this.#responses.isIdle) this.#end({ ending: 'complete', code: 1001 })
      else {
        const error = new GovernorError('UPSTREAM_TIMEOUT')
        this.#end({ ending: 'upstream_failed', code: 1011, error })
      }
    }
    if (nowMs - this.#startedMs > SESSION_MS_MAX) this.#end({ ending: 'complete', code: 1001 })
  }

  // --- client to provider ---

  #fromClient(received: Received): void | Promise<void> {
    if (this.#isEnded) return
    if ('closed' in received) {
      const isRegular = [1000, 1001, 1005].includes(received.closed)
      return this.#end({ ending: isRegular ? 'complete' : 'client_closed', code: 1000 })
    }
    if (!received.isBinary) return this.#takeEvent(received.bytes)
    const error = new GovernorError('BODY_INVALID', { detail: 'events are text, this is binary' })
    this.#end({ ending: 'refused', code: 1003, error })
  }

  async #takeEvent(bytes: Buffer): Promise<void> {
    const turn = new SessionTurn(bytes, this.#ending.signal)
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
      return this.#send(this.#upstream, bytes)
    }
    await this.#handle(turn, stages)
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
      if (this.#options.isDraining()) this.drain()
    })
    await turn.sent
  }

  #remember({ event }: SessionTurn): void {
    if (event?.type !== 'session.update') return
    this.#audio = null
    this.#models = [...new Set([...this.#models, ...event.facts.models])]
    if (this.#models.length > MODELS_MAX) {
      throw new GovernorError('MODEL_INVALID', { detail: 'too many models in one session' })
    }
  }

  // --- provider to client ---

  #fromUpstream(received: Received): void | Promise<void> {
    if (this.#isEnded) return
    if ('closed' in received) return this.#upstreamClosed(received.closed)
    const bytes = this.#options.filter?.whole(received.bytes) ?? received.bytes
    const event = received.isBinary ? null : this.reader.answer(bytes.toString('utf8'))
    if (event === null) {
      const error = new GovernorError('UPSTREAM_FAILED', { detail: 'it sent what is no event' })
      return this.#end({ ending: 'upstream_failed', code: 1011, error })
    }
    this.trail.answerBytes += bytes.length
    if (event.kind === 'begins') return this.#begin(event, bytes)
    if (event.kind === 'fails') {
      // Too late to stop a response: nothing the client asked for.
      if (event.eventId === this.reader.cancelEventId) return
      this.#responses.fail(event.eventId)
    }
    return this.#deliver(event, bytes)
  }

  #upstreamClosed(code: number): void {
    if (code === 1000) return this.#end({ ending: 'complete', code })
    const error = new GovernorError('UPSTREAM_FAILED', { detail: `it closed with code ${code}` })
    this.#end({ ending: 'upstream_failed', code: 1011, error })
  }

  /** A response nobody asked for is asked about now; until it was decided nothing is read on. */
  async #begin(event: ServerEvent, bytes: Buffer): Promise<void> {
    const id = event.responseId ?? ''
    let turn = this.#responses.expected()
    if (turn === null) {
      turn = new SessionTurn(IMPLIED, this.#ending.signal, true)
      turn.event = await this.reader.read(IMPLIED, this.#options)
      await this.#handle(turn, this.#options.stages(this))
      if (this.#isEnded) return
      if (turn.isRefused) {
        this.#responses.mute(id)
        return this.#send(this.#upstream, Buffer.from(this.reader.cancel(id)))
      }
    }
    this.#responses.begin(id, turn)
    turn.trail!.upstreamStatus = 200
    turn.trail!.firstByteMs = monotonicMs()
    return this.#deliver(event, bytes)
  }

  #deliver(event: ServerEvent, bytes: Buffer): void | Promise<void> {
    const turn = this.#responses.of(event.responseId)
    if (this.#responses.isMuted(event.responseId)) {
      if (event.kind === 'ends') this.#endResponse(turn, event)
      return
    }
    turn?.count(event.type, bytes)
    const guard = this.#guardOf(turn, event)
    if (guard !== null) return this.#deliverGuarded({ event, bytes, turn, guard })
    if (event.kind === 'ends') this.#endResponse(turn, event)
    return this.#send(this.#client, bytes)
  }

  /** An event of no response stands behind those of the one that is under way. */
  #guardOf(turn: SessionTurn | null, { isEcho }: ServerEvent): TurnGuard | null {
    if (turn !== null) return turn.guard
    return isEcho ? null : (this.#responses.latest?.guard ?? this.#options.guard())
  }

  async #deliverGuarded({ event, bytes, turn, guard }: Delivery): Promise<void> {
    const about = turn ?? this.#responses.latest
    const messages = [...guard.pass(bytes)]
    const isLast = event.kind === 'ends' || guard !== about?.guard
    if (isLast && guard.failure === null) messages.push(...guard.flush())
    for (const message of messages) await this.#send(this.#client, message)
    const { failure } = guard
    if (failure !== null) await this.#refuseAnswer(about, failure, event)
    if (event.kind === 'ends') this.#endResponse(turn, event)
  }

  #endResponse(turn: SessionTurn | null, { responseId, usage }: ServerEvent): void {
    this.#responses.unmute(responseId ?? '')
    const error = turn?.refusal ?? null
    if (error === null) turn?.end({ ending: 'complete', usage })
    else turn?.end({ ending: 'refused', usage, error })
  }

  /** What a policy refuses of an answer is not sent, and the provider told to stop. */
  async #refuseAnswer(
    turn: SessionTurn | null,
    error: GovernorError,
    { kind }: ServerEvent,
  ): Promise<void> {
    this.#tell(error, turn?.trail?.requestId ?? this.trail.requestId, turn?.event?.eventId ?? null)
    if (turn === null) return
    turn.refusal = error
    if (kind === 'ends') return
    this.#responses.mute(turn.responseId)
    await this.#send(this.#upstream, Buffer.from(this.reader.cancel(turn.responseId)))
  }

  #send(to: WebSocket, bytes: Buffer): void | Promise<void> {
    return sendText(to, bytes, this.#options.idleMs)
  }
}

interface Delivery {
  readonly event: ServerEvent
  readonly bytes: Buffer
  readonly turn: SessionTurn | null
  readonly guard: TurnGuard
}

/** What the provider decides to answer by itself, as if the client had asked for it. */
const IMPLIED = Buffer.from('{"type":"response.create"}')
