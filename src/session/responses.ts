import type { ServerEvent } from '../nouns/socket-events.ts'
import type { SessionTurn, TurnEnd } from './turn.ts'

/** Responses that one session may have asked for and not got yet. */
const EXPECTED_MAX = 16
/** Responses of which nothing passes that may go on at once; the oldest is forgotten. */
const MUTED_MAX = 64
/** Responses of a session that it may go on from; the oldest is forgotten. */
const OWN_MAX = 256

/** Which response of a session belongs to which event that asked for it. */
export class SessionResponses {
  /** Input that was added to responses under way, and not answered: an error may be about that. */
  #added = 0
  /** Sent on, oldest first; the provider answers in this order. */
  readonly #expected: SessionTurn[] = []
  readonly #open = new Map<string, SessionTurn>()
  readonly #muted = new Set<string>()
  readonly #own = new Set<string>()

  get isFull(): boolean {
    return this.#expected.length + this.#open.size >= EXPECTED_MAX
  }

  get isIdle(): boolean {
    return this.#expected.length === 0 && this.#open.size === 0
  }

  /** Input was added to a response under way. */
  addInput(): void {
    this.#added++
  }

  /** Input that was added was taken, or not. */
  answerInput(): void {
    if (this.#added > 0) this.#added--
  }

  /** The response that began last and has not ended. */
  get latest(): SessionTurn | null {
    return [...this.#open.values()].at(-1) ?? null
  }

  expect(turn: SessionTurn): void {
    this.#expected.push(turn)
  }

  /**
   * The turn whose response begins now: the oldest of its lane, or with `all` the last of them, which
   * answers the others, too. Null when nobody asked for one.
   */
  expected(lane: string | undefined, all: boolean): SessionTurn | null {
    if (!all) return this.#take((turn) => turn.event?.lane === lane)
    const turn = this.#expected.pop() ?? null
    for (const answered of this.#expected.splice(0)) answered.end({ ending: 'complete' })
    return turn
  }

  #take(isIt: (turn: SessionTurn) => boolean): SessionTurn | null {
    const index = this.#expected.findIndex(isIt)
    return index === -1 ? null : (this.#expected.splice(index, 1)[0] ?? null)
  }

  /** One of the same id, or before it in its lane, is over: nothing more of it will come. */
  begin({ responseId, lane }: Pick<ServerEvent, 'responseId' | 'lane'>, turn: SessionTurn): void {
    const id = responseId ?? ''
    for (const other of this.#open.values()) {
      const isBefore = lane !== undefined && other.lane === lane
      if (isBefore || other.responseId === id) other.end({ ending: 'upstream_failed' })
    }
    turn.responseId = id
    turn.lane = lane
    this.#open.set(id, turn)
  }

  of(id: string | null): SessionTurn | null {
    return id === null ? null : (this.#open.get(id) ?? null)
  }

  /**
   * The provider refused an event. Where it does not say which, it was the oldest that waits: should it
   * not have been, its response is decided anew when it begins. False when it may be about the
   * response under way.
   */
  fail({ eventId, lane }: Pick<ServerEvent, 'eventId' | 'lane'>): boolean {
    const turn = this.#take(({ event }) =>
      eventId === null ? event?.lane === lane : event?.eventId === eventId,
    )
    if (turn === null) {
      const isAboutInput = this.#added > 0
      this.answerInput()
      return isAboutInput
    }
    turn.trail!.upstreamStatus = 400
    turn.end({ ending: 'upstream_failed' })
    return true
  }

  /** A response that passed to its end. */
  own(id: string): void {
    const [oldest] = this.#own
    if (oldest !== undefined && this.#own.size >= OWN_MAX) this.#own.delete(oldest)
    this.#own.add(id)
  }

  isOwn(id: string): boolean {
    return this.#own.has(id)
  }

  mute(id: string): void {
    const [oldest] = this.#muted
    if (oldest !== undefined && this.#muted.size >= MUTED_MAX) this.#muted.delete(oldest)
    this.#muted.add(id)
  }

  unmute(id: string): void {
    this.#muted.delete(id)
  }

  isMuted(id: string | null): boolean {
    return id !== null && this.#muted.has(id)
  }

  /** It has been settled. */
  forget(turn: SessionTurn): void {
    if (this.#open.get(turn.responseId) === turn) this.#open.delete(turn.responseId)
    const index = this.#expected.indexOf(turn)
    if (index !== -1) this.#expected.splice(index, 1)
  }

  endAll(how: TurnEnd): void {
    for (const turn of [...this.#expected, ...this.#open.values()]) {
      const { refusal } = turn
      turn.end(refusal === null ? how : { ...how, ending: 'refused', error: refusal })
    }
  }
}
