import { GovernorError } from './errors.ts'
import type { Body, Decision, Facts, Lease, Principal, Route, Trail, Upstream } from './exchange.ts'

/** The verbs, in the order they run. `governor.ts` builds the real ones; tests script them. */
export interface Stages<Request, Response> {
  begin(request: Request): Trail
  match(request: Request): Route
  authenticate(request: Request, route: Route): Principal | Promise<Principal>
  admit(principal: Principal, route: Route): void
  read(request: Request, route: Route): Promise<Body>
  inspect(body: Body, route: Route): Promise<Facts>
  route(facts: Facts, trail: Trail): Upstream
  decide(facts: Facts, trail: Trail, request: Request): Decision | Promise<Decision>
  reserve(facts: Facts, trail: Trail): Lease | Promise<Lease>
  /** The bytes that will go upstream, with the changes the entry names. */
  rewrite(body: Body, trail: Trail): Buffer
  /** Resolves when the decision is on disk. */
  record(trail: Trail): Promise<void>
  /** Null when the upstream failed and the call is to be made again with another model. */
  forward(permit: Permit, request: Request, trail: Trail): Promise<Response | null>
  /** Settles the pass that failed and begins the next one; absent where `forward` returns no null. */
  fallback?(request: Request, trail: Trail): Promise<Trail>
  relay(response: Response, request: Request, trail: Trail): Promise<void>
  /** Answers with an error: the one place that turns errors into bytes. Never throws. */
  respond(request: Request, trail: Trail, error: GovernorError): void
  /** Releases what is held, queues the outcome, counts. Never throws. */
  settle(request: Request, trail: Trail): void
}

declare const permitted: unique symbol

/** Proof that every check passed: a literal elsewhere does not type-check; `forward` demands it. */
export interface Permit {
  readonly [permitted]: true
  readonly route: Route
  readonly upstream: Upstream
  readonly facts: Facts
  readonly bytes: Buffer
}

/** One request, top to bottom. Each trailing number is the status that line may refuse with. */
export async function handle<In, Out>(stages: Stages<In, Out>, request: In): Promise<void> {
  let trail = stages.begin(request)
  try {
    await enter(stages, request, trail)
    let response = await pass(stages, request, trail)
    while (response === null) {
      trail = await stages.fallback!(request, trail)
      response = await pass(stages, request, trail)
    }
    trail.passed('relay', await stages.relay(response, request, trail)) // (error frame)
  } catch (thrown) {
    await refuse(stages, request, trail, thrown) // 500
  } finally {
    stages.settle(request, trail)
  }
}

async function enter<In>(stages: Stages<In, unknown>, request: In, trail: Trail): Promise<void> {
  // Headers only: a client we do not know cannot make us buffer a body.
  const route = (trail.route = trail.passed('match', stages.match(request))) // 400, 403, 404, 405
  const principal = await stages.authenticate(request, route) // 401, 429, 503
  trail.principal = trail.passed('authenticate', principal)
  trail.passed('admit', stages.admit(principal, route)) // 429, 503
  const body = (trail.body = trail.passed('read', await stages.read(request, route))) // 413, 415
  trail.facts = trail.passed('inspect', await stages.inspect(body, route)) // 400
}

/** The checks of one decision: once, and again for each model that the call falls back to. */
async function pass<In, Out>(stages: Stages<In, Out>, request: In, trail: Trail) {
  const route = trail.route!
  const upstream = (trail.upstream = trail.passed('route', stages.route(trail.facts!, trail))) // 404
  trail.decision = trail.passed('decide', await stages.decide(trail.facts!, trail, request))
  if (trail.decision.effect === 'deny') throw denied(trail.decision) // 403
  trail.lease = trail.passed('reserve', await stages.reserve(trail.going, trail)) // 429, 403
  // Durable before the upstream sees a byte.
  const bytes = stages.rewrite(trail.body!, trail)
  trail.passed('record', await stages.record(trail)) // 503
  const permit = { route, upstream, facts: trail.going, bytes } as Permit
  return trail.passed('forward', await stages.forward(permit, request, trail)) // 502, 503, 504
}

/** A known caller's refusal is durable before the caller hears it; if it cannot be, that is the answer. */
async function refuse<In>(stages: Stages<In, unknown>, request: In, trail: Trail, error: unknown) {
  trail.refusal = GovernorError.from(error)
  try {
    if (trail.principal !== null && !trail.decisionQueued) await stages.record(trail) // 503
  } catch (thrown) {
    trail.refusal = GovernorError.from(thrown)
  }
  stages.respond(request, trail, trail.follows?.failure ?? trail.refusal)
}

function denied({ policy, message: detail }: Decision): GovernorError {
  return new GovernorError('POLICY_DENIED', policy === null ? { detail } : { detail, policy })
}
