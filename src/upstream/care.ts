import { monotonicMs } from '../clock.ts'
import type { RetryConfig, UpstreamConfig } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import { Breaker, type Ticket } from './breaker.ts'
import type { Answer } from './call.ts'
import { Gate } from './gate.ts'
import { hasFailed, type Outcome, RetryBudget } from './retry.ts'

/** A call's client, for as long as something waits on its behalf. */
export interface Presence {
  whilePresent<Value>(task: (signal: AbortSignal) => Promise<Value>): Promise<Value>
}

/** What one upstream is spared, and remembered by: made when a snapshot is loaded, kept by the next. */
export class UpstreamCare {
  readonly retry: RetryConfig | null
  readonly breaker: Breaker | null
  readonly gate: Gate | null
  readonly budget: RetryBudget | null

  constructor({
    retry,
    breaker,
    concurrency,
  }: Pick<UpstreamConfig, 'retry' | 'breaker' | 'concurrency'>) {
    this.retry = retry ?? null
    this.breaker = breaker === undefined ? null : new Breaker(breaker)
    this.gate = concurrency === undefined ? null : new Gate(concurrency)
    this.budget = retry === undefined ? null : new RetryBudget(retry.budget)
  }

  /** Whether a call would be sent now, without waiting. */
  available(nowMs: number): boolean {
    return (this.breaker?.passable(nowMs) ?? true) && (this.gate?.isFree ?? true)
  }

  /**
   * One try: waits for a place, asks the breaker, sends, and tells the breaker what came of it. `send` gets
   * what is to be called when the answer has ended. Never rejects.
   */
  async attempt(
    send: (onEnd: (() => void) | null) => Promise<Answer>,
    presence: Presence,
  ): Promise<Outcome> {
    const { gate, breaker } = this
    try {
      if (gate !== null && !gate.enter()) await presence.whilePresent((signal) => gate.wait(signal))
    } catch (thrown) {
      return { error: GovernorError.from(thrown) }
    }
    const ticket = breaker === null ? 'call' : breaker.pass(monotonicMs())
    if (ticket === null) {
      gate?.leave()
      return { error: away(breaker!.waitMs(monotonicMs())) }
    }
    const outcome = await outcomeOf(() => send(gate === null ? null : () => gate.leave()))
    if (breaker !== null) tell(breaker, ticket, outcome)
    return outcome
  }
}

async function outcomeOf(send: () => Promise<Answer>): Promise<Outcome> {
  try {
    return { answer: await send() }
  } catch (thrown) {
    return { error: GovernorError.from(thrown) }
  }
}

function tell(breaker: Breaker, ticket: Ticket, outcome: Outcome): void {
  const nowMs = monotonicMs()
  if (hasFailed(outcome)) breaker.failed(ticket, nowMs)
  // A client that left, or a call that was cut, says nothing about the upstream.
  else if ('error' in outcome && outcome.error.source !== 'upstream') breaker.abandoned(ticket)
  else breaker.succeeded(ticket, nowMs)
}

function away(waitMs: number): GovernorError {
  const headers = { 'retry-after': String(Math.ceil(waitMs / 1000)) }
  return new GovernorError('UPSTREAM_AWAY', { headers })
}
