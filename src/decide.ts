import { GovernorError } from './errors.ts'
import type { Decision, Facts, PolicyResult, Splice, Trail } from './exchange.ts'
import { askFor } from './external-detectors.ts'
import type { HttpExchange } from './http/exchange.ts'
import type { CompiledPolicy } from './policy/compile.ts'
import { evaluate } from './policy/evaluate.ts'
import { findLeftOver, planRedaction, redactPolicies } from './policy/redact.ts'
import { inTurns } from './turns.ts'
import { applySplices } from './upstream/splice.ts'
import type { World } from './world.ts'

/**
 * What the policies of `world` decide of one call, and the call as they change it. Changes are made to
 * the bytes, and what comes out is read and searched again: a value that is still there, in whatever
 * reading, refuses the call. Never rejects, but for what no policy can be blamed for, and when services
 * are asked and the client goes away or the call is cut.
 */
export function decide(
  world: World,
  facts: Facts,
  trail: Trail,
  exchange: HttpExchange,
): Decision | Promise<Decision> {
  const decided = evaluate(world.policies, {
    ...(world.detectors.size > 0 && { ask: askFor(world.detectors, facts, exchange) }),
    principal: trail.principal!,
    route: trail.route!,
    facts,
    upstream: trail.upstream,
    wallMs: trail.occurredAtMs,
  })
  // A described call has no bytes to change.
  if (!world.policies.changes || facts.texts.edit === undefined) return decided
  return decided instanceof Promise
    ? decided.then((decision) => changed(world, decision, trail))
    : changed(world, decided, trail)
}

function changed(world: World, decision: Decision, trail: Trail): Decision | Promise<Decision> {
  if (decision.effect === 'deny') return decision
  const masking = decision.policies.filter(isMasking)
  if (masking.length === 0) return decision
  const policies = redactPolicies(world.policies, new Set(masking.map(({ id }) => id)))
  return redacted(world, decision, trail, policies).catch((error: unknown) => {
    // What cannot be searched to its end cannot be masked.
    if (error instanceof RangeError) return refused(decision, policies[0], 'too much of it')
    throw error
  })
}

function isMasking({ result, mode }: PolicyResult): boolean {
  return result === 'redacted' && mode === 'enforce'
}

async function redacted(
  { policies: compiled, snapshot }: World,
  decision: Decision,
  trail: Trail,
  policies: readonly CompiledPolicy[],
): Promise<Decision> {
  const refuse = (what: string, policy = policies[0]) => refused(decision, policy, what)
  const { texts } = trail.facts!
  const plan = await soon(planRedaction(compiled, policies, texts))
  if (plan === null) return refuse('too much of it')
  const edited = await soon(texts.edit!(plan.edits))
  if (edited.refused !== undefined) return refuse(`it is in ${edited.refused}`)
  const going = await readAgain(trail, edited.splices, snapshot.maximums)
  if (going === null) return refuse('it is in a field that has to stay')
  const left = await soon(
    findLeftOver(compiled, policies, { texts: going.facts.texts, values: plan.values }),
  )
  if (left !== null) return refuse('it is spread over several texts', left)
  return { ...decision, changes: { ...going, names: ['redacted'] } }
}

/** The call with its edits, read as any other; null where it is another call or none any more. */
async function readAgain(
  trail: Trail,
  splices: readonly Splice[],
  maximums: { readonly jsonDepth: number },
): Promise<{ readonly bytes: Buffer; readonly facts: Facts } | null> {
  const bytes = applySplices(trail.body!.bytes, splices)
  try {
    const facts = await trail.route!.dialect.inspect(trail.route!, bytes, maximums)
    return identity(facts) === identity(trail.facts!) ? { bytes, facts } : null
  } catch (error) {
    if (error instanceof GovernorError) return null
    throw error
  }
}

/** What was decided about, beside the texts. */
function identity({ model, models, stream, tools, uninspectable }: Facts): string {
  return JSON.stringify([model, models, stream, tools, uninspectable.map(({ kind }) => kind)])
}

/** The refusal of a call that cannot be masked, by the policy that would have to. */
function refused(decision: Decision, policy: CompiledPolicy | undefined, what: string): Decision {
  const id = policy?.id ?? null
  const policies = decision.policies.map((each): PolicyResult => {
    return each.id === id ? { ...each, result: 'failed', why: `cannot be masked: ${what}` } : each
  })
  const message = policy?.message ?? `Policy "${id}" cannot mask this input: ${what}`
  return { ...decision, effect: 'deny', policy: id, message, policies }
}

/** Short work at once, long work in turns with that of other calls. */
function soon<Result>(steps: Generator<unknown, Result>): Result | Promise<Result> {
  const { done, value } = steps.next()
  return done === true ? value : inTurns(steps)
}
