import { hash, randomUUID } from 'node:crypto'

import { endedKey, governorKeyId } from '../auth/authenticate.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import { GovernorError } from '../errors.ts'
import { type Body, type Endpoint, type Facts, type Lease, type Route, Trail } from '../exchange.ts'
import { spentBy } from '../limit/spent.ts'
import { besideCandidate } from '../stages/candidate.ts'
import { decide } from '../stages/decide.ts'
import { mayReach } from '../stages/forwarding.ts'
import { identify, noteSpent } from '../stages/identify.ts'
import { ownershipOf } from '../stages/ownership.ts'
import type { GovernorStages, Shared } from '../stages/stages.ts'
import { breath } from '../turns.ts'
import type { RunningUpstream, World } from '../world.ts'
import { eventGuard } from './guard.ts'
import type { Session, TurnStages } from './session.ts'
import type { SessionTurn } from './turn.ts'

/** What an event takes that no model answers: no limit is about it. */
const NO_LEASE: Lease = { states: [], how: 'memory', settle() {} }

/** The verbs of a session under one snapshot. */
export type StagesOf = (session: Session) => TurnStages

/**
 * The pipeline for the events of a session: each is read, decided and recorded like a call before the
 * provider sees it, by the snapshot of that moment; the one that asks for a response takes its place in
 * the limits, too. What the session itself was asked is not asked again.
 */
export function createSessionStages(
  stages: GovernorStages,
  world: World,
  shared: Shared,
): StagesOf {
  const cached = new WeakMap<Session, TurnStages>()
  return (session) => {
    let own = cached.get(session)
    if (own === undefined) {
      own = {
        ...deciding(stages, world, shared, session),
        ...sending(stages, world, shared, session),
      }
      cached.set(session, own)
    }
    return own
  }
}

type SendingVerb = 'rewrite' | 'record' | 'forward' | 'relay' | 'respond' | 'settle'
type Parts = [stages: GovernorStages, world: World, shared: Shared, session: Session]

function deciding(...[stages, world, shared, session]: Parts): Omit<TurnStages, SendingVerb> {
  const { trail: opening, reader } = session
  const unread: Route = { ...opening.route!, endpoint: reader.eventEndpoint(null) }
  const routes = new Map<Endpoint, Route>()
  const turns = new WeakMap<Body, SessionTurn>()
  const judged = besideCandidate(world, (facts, trail, turn) => decide(world, facts, trail, turn))
  const decided = ownershipOf(world, shared)?.beside(judged) ?? judged
  return {
    begin: (turn) => {
      const trail = new Trail(randomUUID(), wallMs(), monotonicMs())
      trail.policyDigest = world.snapshot.digest
      trail.session = opening.requestId
      if (world.snapshot.audit.content !== 'none') trail.client = opening.client
      turn.trail = trail
      return trail
    },
    match: () => unread,
    authenticate: ({ trail }) => {
      const ended = shared.ring.ended(governorKeyId(opening.principal!), wallMs())
      if (ended !== null) throw endedKey(ended)
      return identify(trail!, session.caller, { world, shared })
    },
    admit: () => {
      if (shared.draining) throw new GovernorError('DRAINING')
      session.checkRoom()
    },
    read: async (turn) => {
      const { bytes } = turn
      const receivedSha256 = hash('sha256', bytes)
      const body = { bytes, decoded: false, receivedBytes: bytes.length, receivedSha256 }
      turns.set(body, turn)
      return body
    },
    inspect: async (body) => {
      const { event, fault, trail } = turns.get(body)!
      if (event === null) throw fault ?? new GovernorError('BODY_INVALID')
      const endpoint = reader.eventEndpoint(event)
      let route = routes.get(endpoint)
      if (route === undefined) {
        const inspect = async (_: Route, bytes: Buffer) =>
          session.factsOf(await reader.read(bytes, world.snapshot.maximums))
        // What a policy has changed is read again: as an event of this session.
        route = { ...unread, endpoint, dialect: { ...unread.dialect, inspect } }
        routes.set(endpoint, route)
      }
      trail!.route = route
      return session.factsOf(event)
    },
    route: (facts, trail) => upstreamFor(world, session, facts, trail),
    decide: async (facts, trail, turn) => {
      // What begins a response takes half a millisecond: events of other sessions pass in between.
      await breath()
      const decision = await decided(facts, trail, turn)
      if (!turn.isImplied || decision.changes === undefined) return decision
      const message = 'a policy changes responses, and the provider began this one by itself'
      return { ...decision, effect: 'deny', message }
    },
    reserve: (_, trail) => {
      return trail.route!.endpoint.generates ? stages.reserve(trail.facts!, trail) : NO_LEASE
    },
  }
}

/** The provider the session is connected to, as long as the file names it and lets it serve the models. */
function upstreamFor(
  world: World,
  session: Session,
  { models }: Facts,
  trail: Trail,
): RunningUpstream {
  const { name, pool } = session.trail.upstream as RunningUpstream
  const principal = trail.principal!
  const { operation } = trail.route!.endpoint
  const upstream = world.upstreams.find((each) => each.name === name && each.pool.url === pool.url)
  const subject = { principal, operation, models, upstream: null }
  const may = upstream !== undefined && mayReach(principal, upstream)
  if (!may || upstream.serves.fails(subject) !== null) {
    throw new GovernorError('UPSTREAM_UNKNOWN', {
      detail: `"${models.join('", "')}"`,
      param: 'model',
    })
  }
  return upstream
}

function sending(...[stages, world, shared, session]: Parts): Pick<TurnStages, SendingVerb> {
  return {
    rewrite: (body, trail) => stages.rewrite(body, trail),
    record: async (trail) => {
      await breath()
      await shared.recorder.record(trail, world.snapshot.audit.required)
    },
    forward: async (permit, turn, trail) => {
      trail.forwarded = true
      if (trail.route!.endpoint.generates) turn.guard = eventGuard(world, trail)
      await session.forward(turn, permit.bytes)
      turn.markSent()
    },
    relay: async (_, turn, trail) => {
      trail.status = 200
      trail.ending = 'complete'
      if (!trail.route!.endpoint.generates) return
      const { ending, usage = null, error } = await turn.done
      trail.ending = ending
      trail.usage = usage
      trail.refusal = error ?? null
      await breath()
    },
    respond: (turn, trail, error) => {
      if (error.source === 'governor') {
        const about = { request_id: trail.requestId, code: error.code, err: error.cause }
        shared.log.error(about, error.message)
      }
      trail.status = error.status
      turn.isRefused = true
      session.refuse(turn, error)
      turn.markSent()
    },
    settle: (turn, trail) => {
      trail.spent = spentBy(trail, world.prices)
      const now = { wallMs: wallMs(), monotonicMs: monotonicMs() }
      if (trail.counts === null) trail.lease?.settle()
      else trail.lease?.settle(trail.spent, now)
      noteSpent(trail, shared)
      shared.recorder.settle(trail, session.peer)
      turn.markSent()
    },
  }
}
