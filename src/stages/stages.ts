import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

import { answerGuard } from '../answers/policies.ts'
import { Kept } from '../audit/kept.ts'
import type { Recorder } from '../audit/record.ts'
import type { KeyRing } from '../auth/key-ring.ts'
import type { UsualUse } from '../auth/usual.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import { skeletonOf } from '../dialect/form-skeleton.ts'
import { inspectCall, UnknownMeter } from '../dialect/unknown.ts'
import { GovernorError } from '../errors.ts'
import {
  type Facts,
  type Instant,
  type Meter,
  type Principal,
  type Route,
  Trail,
} from '../exchange.ts'
import type { ActiveCalls } from '../http/active-calls.ts'
import { type FormPlace, type InFlight, readBody, release } from '../http/body.ts'
import type { HttpExchange } from '../http/exchange.ts'
import { checkHead, limitAddress } from '../http/headers.ts'
import { match, type Mount } from '../http/match.ts'
import { dialectFor, type RequestHead } from '../http/place.ts'
import { relay } from '../http/relay.ts'
import { respond } from '../http/respond.ts'
import type { Spool } from '../http/spool.ts'
import { admit } from '../limit/admit.ts'
import type { LimitCall } from '../limit/bucket.ts'
import type { Forecast } from '../limit/forecast.ts'
import { ratelimitHeaders } from '../limit/headers.ts'
import { OutputCounter } from '../limit/output-counter.ts'
import { reserve } from '../limit/reserve.ts'
import { CountingMeter, spentBy } from '../limit/spent.ts'
import type { LimitStore } from '../limit/store.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { estimateTokens, isUnweighed, weigh } from '../nouns/token-estimate.ts'
import type { OwnerStore } from '../owner/store.ts'
import type { Stages } from '../pipeline.ts'
import { inTurns } from '../turns.ts'
import type { Answer } from '../upstream/call.ts'
import { Scrubber } from '../upstream/scrub.ts'
import { applySplices } from '../upstream/splice.ts'
import type { RunningUpstream, World } from '../world.ts'
import { besideCandidate } from './candidate.ts'
import { decide, readingOf } from './decide.ts'
import { nextPass } from './fall-back.ts'
import { Forwarding, mayReach, type PermittedCall, subjectOf } from './forwarding.ts'
import { identify, noteSpent } from './identify.ts'
import type { KnownTenants } from './known-tenants.ts'
import { listModels, listsModels } from './list-models.ts'
import { ownedAnswer } from './ownership-answers.ts'
import { chargeOnce, laterForecast } from './ownership-charges.ts'
import { type Ownership, ownershipOf } from './ownership.ts'
import { hashForm, noteForwarded } from './spooled-form.ts'

/** What all requests of a process share, whatever snapshot they began with. */
export interface Shared {
  readonly ring: KeyRing
  /** What each key usually does. */
  readonly usual: UsualUse
  readonly limits: LimitStore
  readonly recorder: Recorder
  /** Null while what tenants keep at providers is not kept apart. */
  readonly owners: OwnerStore | null
  readonly tenants: KnownTenants
  readonly metrics: Metrics
  readonly log: Log
  readonly inFlight: InFlight
  /** Where large forms are kept until they are sent. */
  readonly spool: Spool
  /** Requests under way, so that `maximums.streams` and the drain know. */
  readonly active: ActiveCalls
  draining: boolean
}

/** The pipeline as calls go through it. */
export type GovernorStages = Stages<HttpExchange, Answer>

/** The real verbs of the pipeline over one snapshot. A request keeps the snapshot it began with. */
export function createStages(world: World, shared: Shared): GovernorStages {
  const ownership = ownershipOf(world, shared)
  return {
    ...checkingStages(world, shared, ownership),
    ...callingStages(world, shared, ownership),
  }
}

type CallingVerb = 'rewrite' | 'record' | 'forward' | 'fallback' | 'relay' | 'respond' | 'settle'

type Parts = [world: World, shared: Shared, ownership: Ownership | null]

/** Everything up to the decision and the place in the limits. */
function checkingStages(...[world, shared, ownership]: Parts): Omit<GovernorStages, CallingVerb> {
  const { snapshot } = world
  const { maximums, timeouts } = snapshot
  const decided = besideCandidate(world, (facts, trail, exchange) =>
    decide(world, facts, trail, exchange),
  )
  // How long a prompt is matters to nobody else, and to weigh a long one takes a while.
  const weighed: typeof decided = !countsTokens(world)
    ? decided
    : (facts, trail, exchange) =>
        isUnweighed(facts)
          ? inTurns(weigh(facts)).then(() => decided(facts, trail, exchange))
          : decided(facts, trail, exchange)
  const mounts = mountsOf(world)
  const parts = { world, shared }
  const forms = formsOf(maximums, shared.spool)
  return {
    begin: (exchange) => {
      const trail = new Trail(randomUUID(), wallMs(), monotonicMs())
      trail.policyDigest = snapshot.digest
      exchange.trail = trail
      shared.active.add(exchange)
      if (shared.draining) exchange.drain()
      if (snapshot.audit.content !== 'none') trail.client = clientOf(exchange)
      return trail
    },
    match: ({ incoming }) => {
      checkHead(incoming)
      return match(headOf(incoming), mounts, snapshot.defaults.unknownOperation)
    },
    authenticate: ({ incoming, trail }) => {
      const ip = limitAddress(incoming.socket.remoteAddress)
      const { headers, socket } = incoming
      return identify(trail!, { headers, socket, ip }, parts)
    },
    admit: (principal, route) => {
      if (shared.draining) throw new GovernorError('DRAINING')
      if (shared.active.size > maximums.streams) {
        throw new GovernorError('OVERLOADED', { detail: `${maximums.streams} calls at once` })
      }
      admit(shared.limits, { principal, operation: route.endpoint.operation }, now())
    },
    read: (exchange, { endpoint }) => {
      const { keyId, tenant } = exchange.trail!.principal!
      return readBody(exchange, {
        endpoint,
        maximums,
        timeoutMs: timeouts.clientBodyMs,
        inFlight: shared.inFlight,
        holder: keyId === '' ? tenant : keyId,
        active: shared.active,
        forms,
      })
    },
    inspect: (body, route) => inspectCall(route, body.bytes, readingOf(body, maximums)),
    route: (_facts, trail) => findUpstream(world, trail),
    decide: ownership === null ? weighed : ownership.beside(weighed),
    reserve: (facts, trail) => {
      const { spends } = shared.limits
      const reserved = () => {
        const forecast = spends ? forecastOf(world, trail.going, trail) : null
        return reserve(shared.limits, limitCall(facts, trail, forecast), now())
      }
      return spends && isUnweighed(trail.going)
        ? inTurns(weigh(trail.going)).then(reserved)
        : reserved()
    },
  }
}

/** From the permit to the last byte and the outcome. */
function callingStages(...[world, shared, ownership]: Parts): Pick<GovernorStages, CallingVerb> {
  const { timeouts, audit } = world.snapshot
  const keeps = audit.content === 'full'
  const forwarding = new Forwarding(world, shared)
  const forward = ownedForwarding(forwarding, ownership)
  const close = (trail: Trail, { incoming }: HttpExchange): void => {
    trail.spent = spentBy(trail, world.prices)
    if (trail.counts === null) trail.lease?.settle()
    else trail.lease?.settle(trail.spent, now())
    noteSpent(trail, shared)
    shared.recorder.settle(trail, incoming.socket.remoteAddress)
  }
  return {
    rewrite: (body, trail) => {
      const { bytes, decoded } = body
      const asks = usesAsk(trail)
      const changes = trail.decision?.changes
      if (decoded) trail.changed.push('decoded')
      if (changes !== undefined) trail.changed.push(...changes.names)
      if (asks) trail.changed.push('usage')
      if (trail.follows !== null) trail.changed.push('fallback')
      const list = listOf(trail, ownership)
      if (list !== null) trail.changed.push(list)
      const edited = changes?.bytes ?? bytes
      const outgoing = asks ? applySplices(edited, [trail.going.askUsage!]) : edited
      if (keeps) trail.kept = new Kept(outgoing)
      noteForwarded(trail, body, outgoing)
      return outgoing
    },
    record: (trail) => recordOf(trail, shared, audit.required),
    forward: (permit, exchange, trail) => forward({ permit, exchange, trail }),
    fallback: async (exchange, former) => {
      const trail = await nextPass(world, former)
      close(former, exchange)
      exchange.trail = trail
      return trail
    },
    relay: async (received, exchange, trail) => {
      trail.firstByteMs = monotonicMs()
      const isList = listsModels(trail.route!)
      const answer = isList ? await listModels(world, received, trail) : received
      const upstream = trail.upstream as RunningUpstream
      await relay(answer, exchange, trail, {
        meter: meterOf(trail),
        filter: scrubberOf(exchange, upstream),
        ...answerGuard(world, trail),
        headerList: world.headers.get(upstream.dialect)!.response,
        limitHeaders: ratelimitHeaders(trail.lease!),
        idleMs: timeouts.idleMs,
        streams: shared.metrics.streamsOpen,
      })
      if (trail.owned !== null) await chargeOnce(shared.owners, trail)
    },
    respond: (exchange, trail, error) => {
      if (error.source === 'governor') {
        const said = { request_id: trail.requestId, code: error.code, err: error.cause }
        shared.log.error(said, error.message)
      }
      const dialect = trail.route?.dialect ?? dialectFor(headOf(exchange.incoming), mountsOf(world))
      respond(exchange, trail, error, dialect)
    },
    settle: (exchange, trail) => {
      shared.active.remove(exchange)
      exchange.interruptible = null
      release(exchange, shared.inFlight)
      close(trail, exchange)
    },
  }
}

function recordOf(trail: Trail, { recorder }: Shared, required: boolean): Promise<void> {
  if (trail.body?.spooled === undefined) return recorder.record(trail, required)
  return hashForm(trail).then(() => recorder.record(trail, required))
}

function formsOf(maximums: World['snapshot']['maximums'], spool: Spool): FormPlace {
  const { uploadBytes: bytesMax, spooledBytes: allBytesMax } = maximums
  return { spool, bytesMax, allBytesMax, cut: skeletonOf }
}

/** Takes what we sent as our credential out of the answer. */
function scrubberOf({ sentToken }: HttpExchange, { secret }: RunningUpstream): Scrubber | null {
  const sent = sentToken ?? secret
  return sent === null ? null : new Scrubber(sent)
}

function headOf({ method = '', url = '', headers }: IncomingMessage): RequestHead {
  return { method, target: url, headers }
}

/** Upstreams as a request may name them. */
export function mountsOf({ upstreams }: World): readonly Mount[] {
  return upstreams.map(({ name, provider, config }) => {
    return { name, dialect: provider, tunnels: config.inspect === 'none' }
  })
}

/** The answer as its caller may have it, once what it created is the caller's. */
function ownedForwarding(forwarding: Forwarding, ownership: Ownership | null) {
  const owned = async (call: PermittedCall): Promise<Answer | null> => {
    const answer = await forwarding.run(call)
    if (answer === null) return null
    return ownedAnswer(ownership!, answer, call.trail, (path) => forwarding.page(call, path))
  }
  return (call: PermittedCall): Promise<Answer | null> => {
    return ownership?.minds(call.trail) === true ? owned(call) : forwarding.run(call)
  }
}

/** Which list the answer is, of those that are cut down to what the caller may see. */
function listOf(trail: Trail, ownership: Ownership | null): 'models' | 'stored' | null {
  if (listsModels(trail.route!)) return 'models'
  return ownership?.filters(trail) === true ? 'stored' : null
}

function clientOf({ incoming }: HttpExchange): NonNullable<Trail['client']> {
  const { socket, headers } = incoming
  return { address: socket.remoteAddress ?? '', userAgent: headers['user-agent'] ?? '' }
}

/** Whether a policy is about how many tokens a prompt has. */
function countsTokens({ policies, candidate }: World): boolean {
  return [policies, candidate?.policies].some((compiled) => {
    return compiled?.policies.some((each) => (each.for.tokensMax ?? each.own.tokensMax) !== null)
  })
}

function limitCall({ models }: Facts, trail: Trail, forecast: Forecast | null): LimitCall {
  return {
    principal: trail.principal!,
    operation: trail.route!.endpoint.operation,
    models: allModels(models, trail.route!),
    upstream: trail.upstream!.name,
    forecast,
    isPart: trail.session !== null,
  }
}

function now(): Instant {
  return { wallMs: wallMs(), monotonicMs: monotonicMs() }
}

/** Every model a call names, in its body or its path. */
function allModels(models: readonly string[], { pathModel }: Route): readonly string[] {
  return pathModel === null ? models : [...models, pathModel]
}

/** Streams that say their parts once more, whole. */
const REPEATING = /^(?:responses$|realtime\.)/

/** What a call will take, as far as can be told; null for calls that take no tokens. */
function forecastOf(world: World, facts: Facts, trail: Trail): Forecast | null {
  const { endpoint } = trail.route!
  const models = allModels(facts.models, trail.route!)
  // What takes no tokens, or takes them later: nothing here says how many.
  if (endpoint.body === 'none') return laterForecast(trail)
  if (endpoint.operation === 'files.write') return null
  if (models.length === 0 && !endpoint.generates) return null
  const inputTokens = estimateTokens(facts)
  const outputTokensMax = endpoint.generates ? facts.maxOutputTokens : 0
  const { prices, reserveOutput } = world
  trail.counts = {
    inputTokens,
    outputTokensHidden: Math.min(outputTokensMax ?? Infinity, reserveOutput),
    output: new OutputCounter(facts.stream && REPEATING.test(endpoint.api)),
  }
  const price = prices.dearest(models)
  return { inputTokens, outputTokensMax, price, allowsUnpriced: prices.allowsUnknown }
}

function meterOf(trail: Trail): Meter {
  const { dialect, endpoint } = trail.route!
  const known = dialect.meter(trail.route!, trail.going, usesAsk(trail))
  const meter = endpoint.operation === 'other' ? new UnknownMeter(known) : known
  const counter = trail.counts?.output
  return counter instanceof OutputCounter ? new CountingMeter(meter, counter) : meter
}

function usesAsk(trail: Trail): boolean {
  return trail.going.askUsage !== null && (trail.upstream as RunningUpstream).config.usage === 'ask'
}

/**
 * The first upstream in the order of the file that the mount allows and that serves every model; where it
 * is one of a group, the one of them whose turn it is.
 */
function findUpstream(world: World, trail: Trail): RunningUpstream {
  const { mount, dialect } = trail.route!
  const subject = subjectOf(trail)
  const able = (upstream: RunningUpstream) =>
    (mount === null || upstream.name === mount) &&
    upstream.provider === dialect &&
    upstream.serves.fails(subject) === null
  const serves = (upstream: RunningUpstream) =>
    mayReach(subject.principal, upstream) && able(upstream)
  const found = world.upstreams.find(serves)
  if (found === undefined) {
    const other = world.upstreams.find(able)
    if (other !== undefined) throw notForIt(other, subject.principal)
    const { models } = trail.facts!
    throw new GovernorError('UPSTREAM_UNKNOWN', {
      detail: models.length === 0 ? 'this call names no model' : `"${models.join('", "')}"`,
      param: 'model',
    })
  }
  if (found.group === null || mount !== null) return found
  return found.group.pick(serves, monotonicMs()) ?? found
}

/** Refuses a call that only an upstream serves which its key is not for. */
function notForIt({ name }: RunningUpstream, { upstreams = [] }: Principal): GovernorError {
  return new GovernorError('KEY_UPSTREAM_REFUSED', {
    detail: `it would go to "${name}", the key is for "${upstreams.join('", "')}"`,
    hint: `Send a model that one of those serves, or use a key for it: governor keys create --upstream ${name}`,
    headers: { 'x-should-retry': 'false' },
  })
}
