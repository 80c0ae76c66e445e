import { monotonicMs, wallMs } from '../clock.ts'
import { placeOfModel } from '../dialect/model-place.ts'
import { inspectCall } from '../dialect/unknown.ts'
import { GovernorError } from '../errors.ts'
import { type Fallback, Trail } from '../exchange.ts'
import { inTurns } from '../turns.ts'
import { mayRepeat, type Outcome, REPEATS } from '../upstream/retry.ts'
import { applySplices } from '../upstream/splice.ts'
import type { RunningUpstream, World } from '../world.ts'

/** The same call with another model, when the one it asked for gives no answer. */

/**
 * What follows a pass that came to `outcome`; null where that is what the client gets: nothing else is
 * configured, somebody may have worked on it, or the call names its model elsewhere than in its body.
 */
export async function fallbackOf(
  world: World,
  trail: Trail,
  { config }: RunningUpstream,
  outcome: Outcome,
): Promise<Fallback | null> {
  const { models } = trail.facts!
  const [model, ...rest] = restOf(trail, config.fallback?.models)
  const isElsewhere = trail.route!.pathModel !== null || trail.body!.boundary !== undefined
  if (model === undefined || models.length !== 1 || isElsewhere) return null
  const { operation } = trail.route!.endpoint
  if (!mayRepeat(outcome, operation, config.retry ?? REPEATS)) return null
  const { jsonDepth } = world.snapshot.maximums
  const splice = await inTurns(placeOfModel(trail.body!.bytes, model, jsonDepth))
  if (splice === null) return null
  const attempt = (trail.follows?.attempt ?? 1) + 1
  return { attempt, model, splice, rest, failure: failureOf(outcome) }
}

/** Those of the upstream that was asked first; what others would fall back to does not matter. */
function restOf({ follows, facts }: Trail, configured: readonly string[] = []): readonly string[] {
  return follows?.rest ?? configured.filter((model) => model !== facts!.model)
}

function failureOf(outcome: Outcome): GovernorError {
  if ('error' in outcome) return outcome.error
  return new GovernorError('UPSTREAM_FAILED', { detail: `it answered ${outcome.answer.status}` })
}

/**
 * The trail of the next pass: who asks and what is the same, but for the model. The body is inspected
 * again, as if it had come so. Rejects with INTERNAL when that does not read as a call of the new model.
 */
export async function nextPass(world: World, former: Trail): Promise<Trail> {
  const { model, splice } = former.fallback!
  const trail = new Trail(former.requestId, wallMs(), former.startedMs, monotonicMs())
  trail.follows = former.fallback
  trail.policyDigest = former.policyDigest
  trail.client = former.client
  trail.route = former.route
  trail.principal = former.principal
  trail.unusual = former.unusual
  const bytes = applySplices(former.body!.bytes, [splice])
  trail.body = { ...former.body!, bytes }
  const { maximums } = world.snapshot
  const facts = await inspectCall(former.route!, bytes, maximums)
  if (facts.models.length !== 1 || facts.model !== model) throw new GovernorError('INTERNAL')
  trail.facts = facts
  return trail
}
