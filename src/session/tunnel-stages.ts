import { endedKey, governorKeyId } from '../auth/authenticate.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import { inspectPath } from '../dialect/inspect-body.ts'
import { GovernorError } from '../errors.ts'
import type { Decision, Facts, Route, Trail } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import { forwardable } from '../http/headers.ts'
import { governorHeaders } from '../http/respond.ts'
import { offeredSubprotocols } from '../http/socket.ts'
import { ratelimitHeaders } from '../limit/headers.ts'
import type { Permit, Stages } from '../pipeline.ts'
import { identify } from '../stages/identify.ts'
import type { GovernorStages, Shared } from '../stages/stages.ts'
import { createTunnels, Tunnel, type Tunnels } from '../upstream/tunnel.ts'
import { headersOf, type RunningUpstream, type World } from '../world.ts'
import { callerOf, withOfferedKey } from './caller.ts'

/** The pipeline as the request that opens a tunnel goes through it. */
export type TunnelStages = Stages<HttpExchange, Tunnel>

const NOTHING = Buffer.alloc(0)
/** Headers of the upgrade itself, which both sides have to agree on (RFC 6455 §4.1, §4.2.2). */
const ASKING = ['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-extensions']
const AGREEING = ['sec-websocket-accept', 'sec-websocket-protocol', 'sec-websocket-extensions']
const UPGRADE = ['connection', 'Upgrade', 'upgrade', 'websocket']

/**
 * An upgrade to an upstream that nobody reads along: authenticated, limited, decided and recorded like
 * a call of which no content can be read, its place held until either side ends it.
 */
export function createTunnelStages(
  stages: GovernorStages,
  { world, shared }: { readonly world: World; readonly shared: Shared },
): TunnelStages {
  const tunnels = createTunnels()
  return {
    ...stages,
    authenticate: (exchange, route) => {
      const caller = callerOf(exchange, route.tunnel!)
      return identify(exchange.trail!, caller, { world, shared })
    },
    inspect: async (_, route) => factsOf(route),
    decide: async (facts, trail, exchange) =>
      judged(world, await stages.decide(facts, trail, exchange)),
    forward: (permit, exchange, trail) => {
      if (exchange.clientGone) throw new GovernorError('CLIENT_CLOSED')
      const ended = shared.ring.ended(governorKeyId(trail.principal!), wallMs())
      if (ended !== null) throw endedKey(ended)
      return open({ world, shared, tunnels }, permit, exchange, trail)
    },
    relay: async (tunnel, _, trail) => {
      trail.firstByteMs = monotonicMs()
      trail.upstreamStatus = trail.status = 101
      shared.metrics.streamsOpen.inc(1)
      const { ending, error, sentBytes, answerBytes } = await tunnel.ended
      shared.metrics.streamsOpen.inc(-1)
      trail.ending = ending
      trail.refusal = error
      trail.sentBytes = sentBytes
      trail.answerBytes = answerBytes
    },
  }
}

/** All of it is content that nobody can read. */
function factsOf(route: Route): Facts {
  return { ...inspectPath(route, NOTHING), uninspectable: [{ kind: 'tunnel', pointer: '' }] }
}

/**
 * A tunnel takes an `allow` that says so in so many words, and no policy that would have to look at
 * what is answered.
 */
function judged({ policies, snapshot }: World, decision: Decision): Decision {
  if (decision.effect === 'deny') return decision
  const saysSo = decision.policies.some(({ id, mode, result }) => {
    const policy = policies.policies.find((each) => each.id === id)
    return result === 'allowed' && mode === 'enforce' && policy?.allowsUnread === true
  })
  const isHeld = policies.policies.some(({ id, mode }) => {
    return mode === 'enforce' && decision.answers?.includes(id) === true
  })
  const deny = (message: string): Decision => {
    return { ...decision, effect: 'deny', policy: null, message }
  }
  if (!saysSo)
    return deny('Nobody can read a tunnel: it takes an allow with uninspectable: [tunnel]')
  if (!isHeld || snapshot.defaults.uninspectable === 'allow') return decision
  return deny('A policy on the answer applies and a tunnel cannot be read')
}

interface Parts {
  readonly world: World
  readonly shared: Shared
  readonly tunnels: Tunnels
}

async function open(
  { world, shared, tunnels }: Parts,
  permit: Permit,
  exchange: HttpExchange,
  trail: Trail,
): Promise<Tunnel> {
  const { incoming, outgoing, head } = exchange
  const { socket } = incoming
  const { pool, idleMs, dialect } = permit.upstream as RunningUpstream
  const list = world.headers.get(dialect)!.response
  const ours = [...governorHeaders(trail), ...ratelimitHeaders(trail.lease!)]
  const tunnel = new Tunnel({
    pool,
    client: { socket, head: head ?? NOTHING, detach: () => outgoing.detachSocket(socket) },
    headers: upgradeHeaders(world, permit, exchange),
    answerHeaders: (headers) => {
      const names = Object.keys(headers).filter((name) => list.has(name) || AGREEING.includes(name))
      const passing = names.flatMap((name) => [name, String(headers[name])])
      return [...UPGRADE, ...passing, ...ours]
    },
    idleMs,
    faults: shared.metrics.upstreamErrors,
  })
  trail.forwarded = true
  exchange.interruptible = tunnel
  try {
    await tunnel.open(tunnels, permit)
  } catch (error) {
    exchange.interruptible = null
    throw error
  }
  return tunnel
}

/** Our credential in place of the client's, the configured host, and nothing that is not listed. */
function upgradeHeaders(
  world: World,
  { upstream, route }: Permit,
  exchange: HttpExchange,
): readonly string[] {
  const running = upstream as RunningUpstream
  const { pool, dialect } = running
  const { headers } = exchange.incoming
  const passing = forwardable(
    withOfferedKey(exchange, route.tunnel!),
    world.headers.get(dialect)!.request,
  )
  const { keySubprotocol } = route.tunnel!
  const offered = offeredSubprotocols(headers).filter(
    (name) => keySubprotocol === '' || !name.startsWith(keySubprotocol),
  )
  const asking = ASKING.flatMap((name) => {
    const value = headers[name]
    return typeof value === 'string' ? [name, value] : []
  })
  return [
    'host',
    new URL(pool.url).host,
    ...UPGRADE,
    ...asking,
    ...(offered.length === 0 ? [] : ['sec-websocket-protocol', offered.join(', ')]),
    ...passing,
    ...headersOf(running, exchange, wallMs()),
  ]
}
