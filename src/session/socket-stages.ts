import type { WebSocket } from 'ws'

import { endedKey, governorKeyId } from '../auth/authenticate.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import { GovernorError } from '../errors.ts'
import type { Trail } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import { forwardable } from '../http/headers.ts'
import { Intake } from '../http/intake.ts'
import { governorHeaders } from '../http/respond.ts'
import { acceptSocket, offeredSubprotocols } from '../http/socket.ts'
import { ratelimitHeaders } from '../limit/headers.ts'
import type { SocketReader } from '../nouns/socket-events.ts'
import type { Permit, Stages } from '../pipeline.ts'
import { identify } from '../stages/identify.ts'
import { ownershipOf } from '../stages/ownership.ts'
import type { GovernorStages, Shared } from '../stages/stages.ts'
import { Scrubber } from '../upstream/scrub.ts'
import { openSocket } from '../upstream/socket.ts'
import { hasKeys, headersOf, type RunningUpstream, type World } from '../world.ts'
import { callerOf, withOfferedKey } from './caller.ts'
import { SessionClaims } from './claims.ts'
import { eventGuard } from './guard.ts'
import { openingStages } from './opening-stages.ts'
import type { Opening } from './opening.ts'
import { Session } from './session.ts'
import type { StagesOf } from './stages.ts'

/** The pipeline as the request that opens a session goes through it. */
export type SocketStages = Stages<HttpExchange, WebSocket>

/**
 * The request that opens a session walks the same pipeline as a call: authenticated, limited, decided
 * and recorded. Its answer is a session, which lasts until either side ends it; its place among the
 * concurrent is held as long.
 */
export function createSocketStages(
  stages: GovernorStages,
  { world, shared, current }: { world: World; shared: Shared; current: StagesOf },
): SocketStages {
  const { maximums } = world.snapshot
  const ownership = ownershipOf(world, shared)
  const openings = new WeakMap<HttpExchange, Opening>()
  const intakeOf = (exchange: HttpExchange): Intake => {
    const { keyId, tenant } = exchange.trail!.principal!
    const holder = keyId === '' ? tenant : keyId
    const { inFlight, active } = shared
    return new Intake(exchange, { maximums, inFlight, holder, active })
  }
  return {
    ...stages,
    ...openingStages(stages, { world, openings, intakeOf }),
    authenticate: (exchange, route) => {
      const caller = callerOf(exchange, route.socket!)
      return identify(exchange.trail!, caller, { world, shared })
    },
    forward: (permit, exchange, trail) =>
      forwardSession({ world, shared }, permit, exchange, trail),
    relay: async (upstream, exchange, trail) => {
      trail.firstByteMs = monotonicMs()
      trail.upstreamStatus = trail.status = 101
      const reader = trail.route!.socket!
      const running = trail.upstream as RunningUpstream
      const { idleMs } = running
      const secret = exchange.sentToken ?? running.secret
      const opening = openings.get(exchange)
      try {
        const client =
          opening?.client ??
          (await acceptSocket(exchange, {
            messageBytesMax: maximums.bodyBytes,
            headers: [...idHeaders(trail), ...governorHeaders(trail), ...limitHeaders(trail)],
            subprotocol: chosen(upstream.protocol, exchange, reader),
          }))
        const [first, ...others] = opening?.release() ?? []
        const session = new Session({
          trail,
          client,
          upstream,
          heard: first === undefined || reader.first === 'setup' ? others : [first, ...others],
          reader,
          intake: opening?.intake ?? intakeOf(exchange),
          caller: callerOf(exchange, reader),
          peer: exchange.incoming.socket.remoteAddress,
          jsonDepth: maximums.jsonDepth,
          idleMs,
          filter: secret === null ? null : new Scrubber(secret),
          claims: SessionClaims.of(ownership),
          stages: current,
          guard: () => eventGuard(world, trail),
          isDraining: () => shared.draining,
        })
        exchange.interruptible = session
        shared.metrics.streamsOpen.inc(1)
        await session.run()
        shared.metrics.streamsOpen.inc(-1)
        tellOf(trail, shared)
      } finally {
        if (upstream.readyState === upstream.OPEN) upstream.terminate()
      }
    },
  }
}

async function forwardSession(
  { world, shared }: { readonly world: World; readonly shared: Shared },
  permit: Permit,
  exchange: HttpExchange,
  trail: Trail,
): Promise<WebSocket> {
  if (exchange.clientGone) throw new GovernorError('CLIENT_CLOSED')
  const ended = shared.ring.ended(governorKeyId(trail.principal!), wallMs())
  if (ended !== null) throw endedKey(ended)
  const reader = permit.route.socket!
  const running = permit.upstream as RunningUpstream
  const { pool, dialect } = running
  if (!hasKeys(running, wallMs())) throw new GovernorError('UPSTREAM_KEYS_MISSING')
  // The offered key among them: what repeats it is left out.
  const headers = withOfferedKey(exchange, reader)
  const passing = forwardable(headers, world.headers.get(dialect)!.request)
  trail.forwarded = true
  const upstream = await openSocket(permit, {
    pool,
    headers: [...passing, ...headersOf(running, exchange, wallMs())],
    subprotocols: offeredSubprotocols(headers).filter((name) => reader.subprotocols.includes(name)),
    faults: shared.metrics.upstreamErrors,
    exchange,
  })
  if (reader.first === 'setup') upstream.send(permit.bytes, { binary: false }, () => {})
  return upstream
}

/** What is a bug here is the log's; the client was told no more than that there is one. */
function tellOf({ refusal, requestId }: Trail, { log }: Shared): void {
  if (refusal?.code !== 'INTERNAL') return
  log.error({ request_id: requestId, err: refusal.cause }, refusal.message)
}

function idHeaders({ requestId, route }: Trail): readonly string[] {
  return [route!.dialect.requestIdHeader, requestId]
}

function limitHeaders({ lease }: Trail): readonly string[] {
  return ratelimitHeaders(lease!)
}

/** The one the provider speaks; a client that offered some takes none for a failure. */
function chosen(spoken: string, { incoming }: HttpExchange, reader: SocketReader): string {
  const offered = offeredSubprotocols(incoming.headers)
  if (offered.includes(spoken)) return spoken
  return offered.find((name) => reader.subprotocols.includes(name)) ?? ''
}
