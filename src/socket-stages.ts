import type { WebSocket } from 'ws'

import { authenticate, type Caller, endedKey, governorKeyId } from './auth/authenticate.ts'
import { monotonicMs, wallMs } from './clock.ts'
import { GovernorError } from './errors.ts'
import type { Trail } from './exchange.ts'
import type { HttpExchange } from './http/exchange.ts'
import { forwardable, limitAddress } from './http/headers.ts'
import { governorHeaders } from './http/respond.ts'
import { acceptSocket, offeredSubprotocols } from './http/socket.ts'
import { ratelimitHeaders } from './limit/headers.ts'
import type { Stages } from './pipeline.ts'
import { eventGuard } from './session-guard.ts'
import type { StagesOf } from './session-stages.ts'
import { Session } from './session.ts'
import type { SocketReader } from './socket-events.ts'
import type { GovernorStages, Shared } from './stages.ts'
import { Scrubber } from './upstream/scrub.ts'
import { openSocket } from './upstream/socket.ts'
import type { RunningUpstream, World } from './world.ts'

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
  return {
    ...stages,
    authenticate: (exchange, route) => {
      const caller = callerOf(exchange, route.dialect.sockets!)
      return authenticate(caller, shared.ring, world.ways, wallMs())
    },
    forward: async (permit, exchange, trail) => {
      if (exchange.clientGone) throw new GovernorError('CLIENT_CLOSED')
      const ended = shared.ring.ended(governorKeyId(trail.principal!), wallMs())
      if (ended !== null) throw endedKey(ended)
      const reader = permit.route.dialect.sockets!
      const { pool, dialect, credentialHeaders } = permit.upstream as RunningUpstream
      // The offered key among them: what repeats it is left out.
      const headers = withOfferedKey(exchange, reader)
      const passing = forwardable(headers, world.headers.get(dialect)!.request)
      trail.forwarded = true
      return openSocket(permit, {
        pool,
        headers: [...passing, ...credentialHeaders],
        subprotocols: offeredSubprotocols(headers).filter((name) =>
          reader.subprotocols.includes(name),
        ),
        faults: shared.metrics.upstreamErrors,
        exchange,
      })
    },
    relay: async (upstream, exchange, trail) => {
      trail.firstByteMs = monotonicMs()
      trail.upstreamStatus = trail.status = 101
      const reader = trail.route!.dialect.sockets!
      const { requestIdHeader } = trail.route!.dialect
      const { secret, idleMs } = trail.upstream as RunningUpstream
      try {
        const client = await acceptSocket(exchange, {
          messageBytesMax: maximums.bodyBytes,
          headers: [requestIdHeader, trail.requestId, ...ourHeaders(trail)],
          subprotocol: chosen(upstream.protocol, exchange, reader),
        })
        const session = new Session({
          trail,
          client,
          upstream,
          reader,
          caller: callerOf(exchange, reader),
          peer: exchange.incoming.socket.remoteAddress,
          jsonDepth: maximums.jsonDepth,
          idleMs,
          filter: secret === null ? null : new Scrubber(secret),
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

/** What is a bug here is the log's; the client was told no more than that there is one. */
function tellOf({ refusal, requestId }: Trail, { log }: Shared): void {
  if (refusal?.code !== 'INTERNAL') return
  log.error({ request_id: requestId, err: refusal.cause }, refusal.message)
}

function ourHeaders(trail: Trail): readonly string[] {
  return [...governorHeaders(trail), ...ratelimitHeaders(trail.lease!)]
}

function callerOf(exchange: HttpExchange, reader: SocketReader): Caller {
  const { socket } = exchange.incoming
  const ip = limitAddress(socket.remoteAddress)
  return { headers: withOfferedKey(exchange, reader), socket, ip }
}

/** Browsers cannot set headers, so their clients put the key into a subprotocol. */
function withOfferedKey(
  { incoming }: HttpExchange,
  { keySubprotocol }: SocketReader,
): HttpExchange['incoming']['headers'] {
  const { headers } = incoming
  const offered = offeredSubprotocols(headers).find((name) => name.startsWith(keySubprotocol))
  if (offered === undefined) return headers
  const key = offered.slice(keySubprotocol.length)
  const other = headers['x-goog-api-key']
  if (other === undefined || other === key) return { ...headers, 'x-goog-api-key': key }
  const detail = 'two different keys in one request'
  throw new GovernorError('HEADER_INVALID', { detail, param: 'sec-websocket-protocol' })
}

/** The one the provider speaks; a client that offered some takes none for a failure. */
function chosen(spoken: string, { incoming }: HttpExchange, reader: SocketReader): string {
  const offered = offeredSubprotocols(incoming.headers)
  if (offered.includes(spoken)) return spoken
  return offered.find((name) => reader.subprotocols.includes(name)) ?? ''
}
