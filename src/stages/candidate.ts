import type { Decision, Facts, Trail } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import { evaluate } from '../policy/evaluate.ts'
import type { CandidateWorld, World } from '../world.ts'
import { askFor } from './external-detectors.ts'

type Present = Pick<HttpExchange, 'whilePresent'>
type Decide = (facts: Facts, trail: Trail, exchange: Present) => Decision | Promise<Decision>

/**
 * Asks the candidate of `world` about every call that `decide` has decided, and keeps what it says in
 * the trail. Without a candidate it is `decide` itself.
 */
export function besideCandidate({ candidate }: World, decide: Decide): Decide {
  if (candidate === null) return decide
  return async (facts, trail, exchange) => {
    const decision = await decide(facts, trail, exchange)
    trail.candidate = {
      digest: candidate.digest,
      decision: await candidateDecision(candidate, facts, { trail, exchange }),
    }
    return decision
  }
}

/** By its own policies, exceptions, defaults and upstreams. Rejects as `decide` does where services are asked. */
function candidateDecision(
  { policies, route, detectors }: CandidateWorld,
  facts: Facts,
  { trail, exchange }: { readonly trail: Trail; readonly exchange: Present },
): Decision | Promise<Decision> {
  const { endpoint, pathModel } = trail.route!
  const principal = trail.principal!
  const models =
    pathModel === null || facts.models.includes(pathModel)
      ? facts.models
      : [...facts.models, pathModel]
  const subject = { principal, operation: endpoint.operation, models, upstream: null }
  const upstream = route(subject, trail.upstream?.name)
  if (upstream === null) return UNSERVED
  return evaluate(policies, {
    ...(detectors.size > 0 && { ask: askFor(detectors, facts, exchange) }),
    principal,
    route: trail.route!,
    facts,
    upstream,
    wallMs: trail.occurredAtMs,
    unusual: trail.unusual,
  })
}

/** The client would be told by 404. */
const UNSERVED: Decision = {
  effect: 'deny',
  policy: null,
  message: 'No upstream serves this model',
  policies: [],
  warnings: [],
}
