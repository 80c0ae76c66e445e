import type { Decision, Facts, Trail } from './exchange.ts'
import { evaluate } from './policy/evaluate.ts'
import type { World } from './world.ts'

/** What the policies of `world` decide of one call. Never rejects. */
export async function decide(world: World, facts: Facts, trail: Trail): Promise<Decision> {
  const decision = await evaluate(world.policies, {
    principal: trail.principal!,
    route: trail.route!,
    facts,
    upstream: trail.upstream,
    wallMs: trail.occurredAtMs,
  })
  const masks = decision.policies.find(
    ({ result, mode }) => result === 'redacted' && mode === 'enforce',
  )
  if (decision.effect === 'deny' || masks === undefined) return decision
  const message = `Policy "${masks.id}" cannot mask this input in this version`
  return { ...decision, effect: 'deny', policy: masks.id, message }
}
