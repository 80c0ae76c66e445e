import { setMembers } from '../dialect/set-members.ts'
import { inspectCall } from '../dialect/unknown.ts'
import { GovernorError } from '../errors.ts'
import type {
  Body,
  Changes,
  Decision,
  Facts,
  PolicyResult,
  Reading,
  Splice,
  Trail,
} from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import { evaluate } from '../policy/evaluate.ts'
import type { ExternalAnswer } from '../policy/external/external-detector.ts'
import type { Span } from '../policy/external/wire.ts'
import type { ServicePlaces } from '../policy/mask-search.ts'
import { type Cut, findLeftOver, planRedaction } from '../policy/redact.ts'
import { combineSettings, settle } from '../policy/settle.ts'
import { inTurns } from '../turns.ts'
import { applySplices } from '../upstream/splice.ts'
import type { World } from '../world.ts'
import { askFor } from './external-detectors.ts'

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
  exchange: Pick<HttpExchange, 'whilePresent'>,
): Decision | Promise<Decision> {
  const services = new Map<string, ReadonlyMap<string, readonly Span[]>>()
  const ask = world.detectors.size > 0 ? askFor(world.detectors, facts, exchange) : null
  const decided = evaluate(world.policies, {
    ...(ask !== null && {
      ask: (ids) => ask(ids).then((answers) => remembered(answers, services)),
    }),
    principal: trail.principal!,
    route: trail.route!,
    facts,
    upstream: trail.upstream,
    wallMs: trail.occurredAtMs,
    unusual: trail.unusual,
  })
  // A described call has no bytes to change.
  if (!world.policies.changes || facts.texts.edit === undefined) return decided
  return decided instanceof Promise
    ? decided.then((decision) => changed(world, decision, trail, services))
    : changed(world, decided, trail, services)
}

function changed(
  world: World,
  decision: Decision,
  trail: Trail,
  services: ServicePlaces,
): Decision | Promise<Decision> {
  if (decision.effect === 'deny' || !decision.policies.some(isChange)) return decision
  return new Change(world, decision, trail, services).run()
}

/** Keeps where services found something, for what is masked. */
function remembered(
  answers: ReadonlyMap<string, ExternalAnswer>,
  places: Map<string, ReadonlyMap<string, readonly Span[]>>,
): ReadonlyMap<string, ExternalAnswer> {
  for (const [id, answer] of answers) {
    if ('found' in answer && answer.places !== undefined) places.set(id, answer.places)
  }
  return answers
}

/** How a body is read, the first time and again; of JSON, which is nearly all, nothing is made. */
export function readingOf(
  { boundary, spooled }: Pick<Body, 'boundary' | 'spooled'>,
  maximums: Reading,
): Reading {
  if (boundary === undefined) return maximums
  const { jsonDepth } = maximums
  return { jsonDepth, boundary, ...(spooled !== undefined && { holes: spooled.holes }) }
}

function isChange({ result }: PolicyResult): boolean {
  return result === 'redacted' || result === 'set'
}

/** The changes of one call. */
class Change {
  readonly #world: World
  readonly #trail: Trail
  readonly #services: ServicePlaces
  #decision: Decision

  constructor(world: World, decision: Decision, trail: Trail, services: ServicePlaces) {
    this.#services = services
    this.#world = world
    this.#trail = trail
    this.#decision = decision
  }

  async run(): Promise<Decision> {
    const set = await this.#set()
    const masking = this.#policies('redacted', true)
    try {
      if (masking.length > 0) return await this.#redact(masking, set)
    } catch (error) {
      // What cannot be searched to its end cannot be masked.
      if (error instanceof RangeError) return this.#refuse(masking[0], 'too much of it')
      throw error
    }
    if (set.length === 0) return this.#decision
    const going = await this.#readAgain(set)
    if (going === null) throw new GovernorError('INTERNAL', { detail: 'set made no request' })
    return { ...this.#decision, changes: { ...going, names: ['set'] } }
  }

  /** Policies of one result, in the order of the file; with `isEnforced` without those in shadow. */
  #policies(result: PolicyResult['result'], isEnforced: boolean): readonly CompiledPolicy[] {
    const ids = new Set<string>()
    for (const each of this.#decision.policies) {
      if (each.result === result && (!isEnforced || each.mode === 'enforce')) ids.add(each.id)
    }
    return this.#world.policies.policies.filter(({ id }) => ids.has(id))
  }

  /** What is set; of the policies that set, the decision names those that would change this call. */
  async #set(): Promise<readonly Splice[]> {
    const setting = this.#policies('set', false)
    if (setting.length === 0) return []
    const idle = new Set<string>()
    for (const policy of setting) {
      if (!(await this.#wouldSet(policy))) idle.add(policy.id)
    }
    const policies = this.#decision.policies.filter(
      ({ id, result }) => result !== 'set' || !idle.has(id),
    )
    this.#decision = { ...this.#decision, policies }
    return this.#splicesOf(this.#policies('set', true))
  }

  /** Whether a policy would change this call; one in shadow refuses nothing that it could not change. */
  async #wouldSet(policy: CompiledPolicy): Promise<boolean> {
    try {
      return (await this.#splicesOf([policy])).length > 0
    } catch (error) {
      if (error instanceof GovernorError && policy.mode === 'shadow') return true
      throw error
    }
  }

  #splicesOf(policies: readonly CompiledPolicy[]): Promise<readonly Splice[]> | readonly Splice[] {
    if (policies.length === 0) return []
    const { route, body } = this.#trail
    // No endpoint that takes a form has parameters.
    if (body?.boundary !== undefined) return []
    const table = route!.dialect.parameters?.(route!.endpoint.api) ?? {}
    const settings = combineSettings(policies.flatMap((policy) => policy.settings))
    const { jsonDepth } = this.#world.snapshot.maximums
    return soon(
      setMembers(body!.bytes, { table, jsonDepth }, (parameter) => {
        const setting = settings.get(parameter)
        return setting === undefined ? undefined : (sent) => settle(setting, sent)
      }),
    )
  }

  /** First with as little cut as readings allow; what is left then is cut out whole. */
  async #redact(policies: readonly CompiledPolicy[], set: readonly Splice[]): Promise<Decision> {
    const least = await this.#cut(policies, set, 'inner')
    if (least.left === null) return least.decision
    return (await this.#cut(policies, set, 'whole')).decision
  }

  /** `left` is a policy that still finds something. */
  async #cut(policies: readonly CompiledPolicy[], set: readonly Splice[], cut: Cut) {
    const { policies: compiled } = this.#world
    const { texts } = this.#trail.facts!
    const refuse = (what: string, left: CompiledPolicy | null = null) => {
      return { decision: this.#refuse(left ?? policies[0], what), left }
    }
    const plan = await soon(
      planRedaction(compiled, policies, { texts, cut, services: this.#services }),
    )
    if (plan === null) return refuse('too much of it')
    const edited = await soon(texts.edit!(plan.edits))
    if (edited.refused !== undefined) return refuse(`it is in ${edited.refused}`)
    const splices = together(edited.splices, set)
    const going = splices === null ? null : await this.#readAgain(splices)
    if (going === null) return refuse('it is in a field that has to stay')
    const { values, restores } = plan
    const left = await soon(findLeftOver(compiled, policies, { texts: going.facts.texts, values }))
    if (left !== null) return refuse('it is spread over several texts', left)
    if (plan.edits.length === 0) return refuse('it is spread over several texts')
    const names = set.length === 0 ? (['redacted'] as const) : (['redacted', 'set'] as const)
    return {
      decision: { ...this.#decision, changes: { ...going, names, masked: values, restores } },
      left: null,
    }
  }

  /** The call with its edits, read as any other; null where it is another call or none any more. */
  async #readAgain(splices: readonly Splice[]): Promise<Pick<Changes, 'bytes' | 'facts'> | null> {
    const { body, route, facts } = this.#trail
    const bytes = applySplices(body!.bytes, splices)
    try {
      const reading = readingOf(body!, this.#world.snapshot.maximums)
      const found = await inspectCall(route!, bytes, reading)
      const read = this.#trail.owned?.lift(found) ?? found
      return identity(read) === identity(facts!) ? { bytes, facts: read } : null
    } catch (error) {
      if (error instanceof GovernorError) return null
      throw error
    }
  }

  /** The refusal of a call that cannot be masked, by the policy that would have to. */
  #refuse(policy: CompiledPolicy | undefined, what: string): Decision {
    const id = policy?.id ?? null
    const policies = this.#decision.policies.map((each): PolicyResult => {
      return each.id === id ? { ...each, result: 'failed', why: `cannot be masked: ${what}` } : each
    })
    const message = policy?.message ?? `Policy "${id}" cannot mask this input: ${what}`
    return { ...this.#decision, effect: 'deny', policy: id, message, policies }
  }
}

/** All splices in order of place; null where two of them meet. */
function together(some: readonly Splice[], more: readonly Splice[]): readonly Splice[] | null {
  if (more.length === 0) return some
  const all = [...some, ...more].sort((a, b) => a.start - b.start || a.end - b.end)
  const isApart = all.every(({ start }, index) => index === 0 || start >= all[index - 1]!.end)
  return isApart ? all : null
}

/** What was decided about, beside the texts. */
function identity({ model, models, stream, tools, uninspectable }: Facts): string {
  return JSON.stringify([model, models, stream, tools, uninspectable.map(({ kind }) => kind)])
}

/** Short work at once, long work in turns with that of other calls. */
function soon<Result>(steps: Generator<unknown, Result>): Result | Promise<Result> {
  const { done, value } = steps.next()
  return done === true ? value : inTurns(steps)
}
