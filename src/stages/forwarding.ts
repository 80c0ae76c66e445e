import { endedKey, governorKeyId } from '../auth/authenticate.ts'
import type { KeyRing } from '../auth/key-ring.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import type { RetryConfig } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import type { Principal, Trail, Upstream } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import { forwardable } from '../http/headers.ts'
import type { Metrics } from '../metrics.ts'
import type { Permit } from '../pipeline.ts'
import type { Answer } from '../upstream/call.ts'
import { UpstreamCare } from '../upstream/care.ts'
import { wasUnsent } from '../upstream/fault.ts'
import { forward } from '../upstream/forward.ts'
import { mayRepeat, type Outcome, retryWaitMs } from '../upstream/retry.ts'
import { hasKeys, headersOf, type RunningUpstream, type World } from '../world.ts'
import { fallbackOf } from './fall-back.ts'
import { sentForm } from './spooled-form.ts'

const NO_CARE = new UpstreamCare({})

/** A call that may go upstream. */
export interface PermittedCall {
  readonly permit: Permit
  readonly exchange: HttpExchange
  readonly trail: Trail
}

/** What it needs of what all requests share. */
interface ForwardingParts {
  readonly ring: KeyRing
  readonly metrics: Metrics
}

/** Sends permitted calls: once, or where the upstream says so again, there or to one of its group. */
export class Forwarding {
  readonly #world: World
  readonly #shared: ForwardingParts

  constructor(world: World, shared: ForwardingParts) {
    this.#world = world
    this.#shared = shared
  }

  /**
   * The answer, as it begins. Rejects with what the last try failed with; an answer that says "try again"
   * is an answer, once nobody does. Null when `trail.fallback` says what follows instead.
   */
  run(call: PermittedCall): Promise<Answer | null> {
    const upstream = call.permit.upstream as RunningUpstream
    // After a fallback there may be another one, whatever this upstream says.
    const isPlain = upstream.care === null && call.trail.follows === null
    return isPlain ? this.#send(call, upstream, null) : this.#repeat(call, upstream)
  }

  /** Another page of the list that the call asked for, from whoever answered. Rejects as `run` does. */
  page({ permit, exchange, trail }: PermittedCall, path: string): Promise<Answer> {
    const route = { ...permit.route, path }
    const call = { permit: { ...permit, route }, exchange, trail }
    return this.#send(call, trail.upstream as RunningUpstream, null)
  }

  async #repeat(call: PermittedCall, first: RunningUpstream): Promise<Answer | null> {
    const { trail, exchange } = call
    const tried = [first]
    first.care?.budget?.call()
    for (;;) {
      const upstream = tried.at(-1)!
      const send = (onEnd: (() => void) | null) => this.#send(call, upstream, onEnd)
      const outcome = await (upstream.care ?? NO_CARE).attempt(send, exchange)
      const next = this.#next(call, outcome, tried)
      if (next === null) {
        if (await this.#fallsBack(call, outcome)) return null
        if ('error' in outcome) throw outcome.error
        return outcome.answer
      }
      // While nobody works on it the call costs nothing, should its client leave now.
      trail.forwarded = 'error' in outcome && !wasUnsent(outcome.error)
      if ('answer' in outcome) outcome.answer.abort()
      this.#shared.metrics.upstreamRetries.inc({ upstream: upstream.name })
      if (next.waitMs > 0) await exchange.whilePresent((signal) => sleep(next.waitMs, signal))
      tried.push(next.upstream)
      if (next.upstream !== upstream) trail.movedTo = next.upstream.name
      trail.upstream = next.upstream
    }
  }

  /** Whether the call goes on with another model; what came of this one is let go of then. */
  async #fallsBack({ permit, trail, exchange }: PermittedCall, outcome: Outcome): Promise<boolean> {
    const first = permit.upstream as RunningUpstream
    if (exchange.clientGone || (first.config.fallback === undefined && trail.follows === null)) {
      return false
    }
    trail.fallback = await fallbackOf(this.#world, trail, first, outcome)
    if (trail.fallback === null) return false
    if ('error' in outcome) trail.refusal = outcome.error
    else {
      trail.upstreamStatus = outcome.answer.status
      outcome.answer.abort()
    }
    return true
  }

  /** Who is asked next and when; null when what came is what the client gets. */
  #next(
    { permit, trail, exchange }: PermittedCall,
    outcome: Outcome,
    tried: readonly RunningUpstream[],
  ): Next | null {
    const { retry, budget } = tried[0]!.care ?? NO_CARE
    if (retry === null || tried.length > retry.attempts || exchange.clientGone) return null
    if (!mayRepeat(outcome, permit.route.endpoint.operation, retry)) return null
    const next = this.#other(trail, tried) ?? again(outcome, tried, retry)
    return next === null || budget?.take() === false ? null : next
  }

  /** Another one of the group. A call to `/<name>/…` is for that upstream alone. */
  #other(trail: Trail, tried: readonly RunningUpstream[]): Next | null {
    const { group } = tried[0]!
    if (group === null || trail.route!.mount !== null) return null
    const subject = subjectOf(trail)
    const serves = (each: RunningUpstream) =>
      mayReach(subject.principal, each) && each.serves.fails(subject) === null
    const upstream = group.pick(serves, monotonicMs(), tried)
    return upstream === null ? null : { upstream, waitMs: 0 }
  }

  /** One try. Rejects with CLIENT_CLOSED, with why the key ended, and as `forward` does. */
  #send(
    call: PermittedCall,
    upstream: RunningUpstream,
    onEnd: (() => void) | null,
  ): Promise<Answer> {
    const { permit, exchange, trail } = call
    const { method = '' } = exchange.incoming
    const ended = this.#shared.ring.ended(governorKeyId(trail.principal!), wallMs())
    if (exchange.clientGone || ended !== null) {
      onEnd?.()
      return Promise.reject(ended === null ? new GovernorError('CLIENT_CLOSED') : endedKey(ended))
    }
    if (!hasKeys(upstream, wallMs())) {
      onEnd?.()
      return Promise.reject(new GovernorError('UPSTREAM_KEYS_MISSING'))
    }
    trail.forwarded = true
    trail.tries += 1
    const form = sentForm(permit.bytes, trail.body)
    const headers = this.#headers(call, upstream)
    if (form !== null) headers.push('content-length', String(form.bytes))
    return forward(permit, {
      pool: upstream.pool,
      method,
      headers,
      stream: form?.stream ?? null,
      firstByteMs: upstream.firstByteMs,
      idleMs: upstream.idleMs,
      faults: this.#shared.metrics.upstreamErrors,
      exchange,
      onEnd,
    })
  }

  /** What the client may say to a provider, then what only we say: nothing of ours can be dropped. */
  #headers({ permit, exchange, trail }: PermittedCall, upstream: RunningUpstream): string[] {
    const { dialect, signer } = upstream
    const { headers, method = '' } = exchange.incoming
    const outgoing = forwardable(headers, this.#world.headers.get(dialect)!.request)
    if (permit.bytes.length > 0) outgoing.push('content-type', contentType(trail.body?.boundary))
    outgoing.push('accept-encoding', 'identity', ...headersOf(upstream, exchange, wallMs()))
    if (signer !== null) {
      const { path } = permit.route
      const bodySha256 = trail.forwardedSha256!
      outgoing.push(...signer.sign({ method, path, bodySha256, wallMs: wallMs() }))
    }
    return outgoing
  }
}

function contentType(boundary: string | undefined): string {
  return boundary === undefined ? 'application/json' : `multipart/form-data; boundary=${boundary}`
}

interface Next {
  readonly upstream: RunningUpstream
  readonly waitMs: number
}

/** The same one, after a while. */
function again(
  outcome: Outcome,
  tried: readonly RunningUpstream[],
  { waitMsMax }: RetryConfig,
): Next | null {
  // Too many wait for it already.
  if ('error' in outcome && outcome.error.code === 'UPSTREAM_BUSY') return null
  const upstream = tried.at(-1)!
  const waitMs = retryWaitMs(outcome, tried.length, { waitMsMax, random: Math.random() })
  if (waitMs === null) return null
  const passable = upstream.care?.breaker?.passable(monotonicMs() + waitMs) ?? true
  return passable ? { upstream, waitMs } : null
}

/** What selectors are asked about the call of a trail, the choice of its upstream aside. */
export function subjectOf({ principal, route, facts }: Trail) {
  const { endpoint, pathModel } = route!
  const { models } = facts!
  return {
    principal: principal!,
    operation: endpoint.operation,
    models: pathModel === null ? models : [...models, pathModel],
    upstream: null,
  }
}

/** Whether the key of a call is for this upstream. */
export function mayReach({ upstreams }: Principal, { name }: Upstream): boolean {
  return upstreams === undefined || upstreams.includes(name)
}

function sleep(timeMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, timeMs)
  signal.addEventListener('abort', () => {
    clearTimeout(timer)
    reject(signal.reason)
  })
  return promise
}
