import { monotonicMs, wallMs } from './clock.ts'
import type { OwnershipConfig } from './config/snapshot.ts'
import { readingOf } from './decide.ts'
import { findReferences, mayRefer, NO_REFERENCES } from './dialect/references.ts'
import { GovernorError } from './errors.ts'
import type { Body, Decision, Facts, Trail, Uninspectable } from './exchange.ts'
import type { HttpExchange } from './http/exchange.ts'
import type { KnownTenants } from './known-tenants.ts'
import type { OwnedCall, References } from './owned.ts'
import { MODELS_MAX, type Owned, type OwnerStore } from './owner/store.ts'
import { createsStored, listsStored } from './ownership-calls.ts'
import { answerPolicies } from './policy/evaluate.ts'
import { inTurns } from './turns.ts'
import type { World } from './world.ts'

/** What tenants keep at a provider, kept apart: who may name what, before a call is decided. */

/** Query parameters that name something that is kept. */
const NAMING: ReadonlySet<string> = new Set(['after', 'before', 'after_id', 'before_id', 'run_id'])
/** What an id in a body may be marked as. */
const LIFTED: ReadonlySet<string> = new Set(['reference', 'file', 'image', 'audio'])
/** As `MARKS_PER_KIND_MAX`: of a kind with as many marks some may be missing. */
const MARKS_MAX = 16
/** A store that failed is asked again this often at most. */
const RECHECK_MS = 1_000

/** What keeps tenants apart while a snapshot holds. */
export interface OwnershipParts {
  readonly config: OwnershipConfig
  /** Null while nothing is kept apart. */
  readonly store: OwnerStore | null
  /** Every tenant known of; asked for calls about kept things where the file does not choose. */
  tenants(): Promise<ReadonlySet<string>>
  readonly jsonDepth: number
  /** Ids of policies that look at what such models say to such a caller. */
  answerPolicies(trail: Trail, models: readonly string[]): readonly string[]
}

/** What keeps tenants apart under a snapshot; null where nothing does. */
export function ownershipOf(
  { snapshot, policies }: World,
  shared: { readonly owners: OwnerStore | null; readonly tenants: KnownTenants },
): Ownership | null {
  const { pod } = snapshot.auth
  return Ownership.of({
    config: snapshot.ownership,
    store: shared.owners,
    tenants: async () => {
      const tenants = await shared.tenants.tenants(wallMs())
      return pod === null ? tenants : new Set(tenants).add(pod.tenant)
    },
    jsonDepth: snapshot.maximums.jsonDepth,
    answerPolicies: (trail, models) => {
      const endpoint = { ...trail.route!.endpoint, operation: 'chat' as const }
      return answerPolicies(policies, {
        principal: trail.principal!,
        route: { endpoint, pathModel: null },
        facts: { ...trail.facts!, model: models[0] ?? '', models },
        upstream: trail.upstream,
        wallMs: trail.occurredAtMs,
      })
    },
  })
}

/** Whether any part of the path may name something that is kept, as nobody knows what the call does. */
const isUnknown = ({ route }: Trail): boolean => route!.endpoint.operation === 'other'

type Decide = (
  facts: Facts,
  trail: Trail,
  exchange: Pick<HttpExchange, 'whilePresent'>,
) => Decision | Promise<Decision>

/** How a body is read. */
type BodyReading = Pick<Body, 'bytes' | 'boundary' | 'spooled'>

/**
 * Says whose each id of a call is. What the caller's own tenant created here counts as inspected; an id in
 * a path that is anybody else's, or nobody's, is 404, and so is another tenant's in a body, once policies
 * have decided as they would about an id that nobody knows. Throws STORED_UNKNOWN, OWNERSHIP_UNAVAILABLE,
 * OWNERSHIP_UNCHOSEN.
 */
export class Ownership {
  readonly #parts: OwnershipParts
  #recheckedMs = Number.NEGATIVE_INFINITY

  constructor(parts: OwnershipParts) {
    this.#parts = parts
  }

  get store(): OwnerStore | null {
    return this.#parts.store
  }

  /** Null where everything may be named by anybody, so that no call pays for it. */
  static of(parts: OwnershipParts): Ownership | null {
    const { config } = parts
    return config.store === 'off' && config.isChosen ? null : new Ownership(parts)
  }

  /** The same decision, of facts from which the tenant's own things are taken out. */
  beside(decide: Decide): Decide {
    return (facts, trail, exchange) => {
      if (!this.#concerns(trail)) return decide(facts, trail, exchange)
      return this.#decided(facts, trail, (seen) => decide(seen, trail, exchange))
    }
  }

  /** Whether its answer is a list that is cut down to the tenant's own. */
  filters(trail: Trail): boolean {
    return this.#parts.store !== null && listsStored(trail)
  }

  /** Whether there is anything to do about the answer to this call. */
  minds(trail: Trail): boolean {
    if (this.#parts.store === null) return false
    return trail.owned !== null || listsStored(trail) || this.creates(trail)
  }

  /** Whether an answer to this call may name something new. */
  creates(trail: Trail): boolean {
    return this.#parts.store !== null && createsStored(trail)
  }

  #concerns(trail: Trail): boolean {
    const { route, body } = trail
    if (route!.endpoint.api === 'check') return false
    if (isUnknown(trail) || route!.ids !== undefined || listsStored(trail)) return true
    return this.creates(trail) || (body !== null && mayRefer(body.bytes, body))
  }

  async #decided(
    facts: Facts,
    trail: Trail,
    decide: (seen: Facts) => Decision | Promise<Decision>,
  ): Promise<Decision> {
    const { config, store, jsonDepth } = this.#parts
    const references = await referencesOf(trail.body!, jsonDepth)
    if (store === null) {
      await this.#refuseUnchosen(trail, references)
      return decide(facts)
    }
    const call = new Looked(trail, references)
    if (call.ids.length > 0) call.found = await this.#ask(() => store.find(call.ids))
    call.checkPath()
    trail.owned = call
    const seen = call.lift(facts)
    trail.facts = seen
    const decision = await decide(seen)
    if (decision.effect === 'deny') return decision
    call.checkBody(config.store !== 'off' && config.unknown === 'refuse')
    if (this.creates(trail)) await this.#checkRoom(store, trail.principal!.tenant)
    return this.#withAnswerPolicies(decision, trail, call.models)
  }

  /** What a model said before is looked at when it is fetched, by the policies on what it says. */
  #withAnswerPolicies(decision: Decision, trail: Trail, models: readonly string[]): Decision {
    if (models.length === 0 || !trail.route!.endpoint.operation.endsWith('.read')) return decision
    const more = this.#parts.answerPolicies(trail, models)
    if (more.length === 0) return decision
    return { ...decision, answers: [...new Set([...(decision.answers ?? []), ...more])] }
  }

  /** Runs a question to the store; whatever is wrong with it, nobody is let through. */
  async #ask<Result>(question: () => Promise<Result>): Promise<Result> {
    try {
      return await question()
    } catch (cause) {
      throw unavailable(cause)
    }
  }

  /** What is created has to be written down: that it can is found out before it is. */
  async #checkRoom(store: OwnerStore, tenant: string): Promise<void> {
    if (store.fault(tenant) === null) return
    const nowMs = monotonicMs()
    if (nowMs - this.#recheckedMs >= RECHECK_MS) {
      this.#recheckedMs = nowMs
      await store.sweep()
    }
    if (store.fault(tenant) !== null) throw unavailable(undefined, store.fault(tenant)!)
  }

  async #refuseUnchosen({ route, principal }: Trail, references: References): Promise<void> {
    const { named, everybody } = references
    const isAbout = route!.ids !== undefined || route!.endpoint.body === 'none'
    if (!isAbout && named.length === 0 && everybody === null) return
    const tenants = new Set(await this.#ask(() => this.#parts.tenants())).add(principal!.tenant)
    if (tenants.size < 2) return
    throw new GovernorError('OWNERSHIP_UNCHOSEN', {
      detail: 'several tenants share this provider',
      hint: 'Whoever runs Governor chooses with `ownership` in its configuration.',
      headers: { 'x-should-retry': 'false' },
    })
  }

  /** Writes down what an answer created, before it leaves; ids that the call itself named are no news. */
  async claim(trail: Trail, ids: readonly string[], isAwaited: boolean): Promise<void> {
    const { store } = this.#parts
    if (store === null || ids.length === 0) return
    const { tenant } = trail.principal!
    const origin = trail.owned?.origin ?? trail.requestId
    const models = modelsOf(trail)
    const claims = ids.map((id): Owned => ({ id, tenant, origin, models, isAwaited }))
    const others = await this.#ask(() => store.claim(claims, wallMs()))
    if (others.length === 0) return
    // A provider that repeats an answer (an idempotency key) repeats it to whoever asks.
    const detail = 'it answered with what it keeps for somebody else'
    throw new GovernorError('UPSTREAM_FAILED', { detail })
  }

  /** The ids among `ids` that `tenant` created. Rejects with OWNERSHIP_UNAVAILABLE. */
  async own(ids: readonly string[], tenant: string): Promise<ReadonlySet<string>> {
    const { store } = this.#parts
    if (store === null) return new Set(ids)
    const found = await this.#ask(() => store.find(ids))
    return new Set(ids.filter((id) => found.get(id)?.tenant === tenant))
  }
}

/** Models of what a call makes: its own; those of what it is about; of a batch those of its requests. */
function modelsOf({ owned, going, route }: Trail): readonly string[] {
  const call = owned instanceof Looked ? owned : null
  const made = call?.models ?? []
  const requested = route!.endpoint.operation === 'batches' ? (call?.modelsNamed ?? []) : []
  return [...new Set([...made, ...going.models, ...requested])].slice(0, MODELS_MAX)
}

function unavailable(cause: unknown, detail?: string): GovernorError {
  return new GovernorError('OWNERSHIP_UNAVAILABLE', {
    cause,
    ...(detail !== undefined && { detail }),
    headers: { 'retry-after': '1' },
  })
}

async function referencesOf(body: BodyReading, jsonDepth: number): Promise<References> {
  const reading = readingOf(body, { jsonDepth })
  if (!mayRefer(body.bytes, reading)) return NO_REFERENCES
  const steps = findReferences(body.bytes, reading)
  const { done, value } = steps.next()
  return done === true ? value : inTurns(steps)
}

/** What was found out about one call. */
class Looked implements OwnedCall {
  readonly references: References
  readonly ids: readonly string[]
  found: ReadonlyMap<string, Owned> = new Map()
  later: OwnedCall['later'] = null
  readonly #tenant: string
  readonly #path: readonly string[]
  readonly #query: readonly string[]

  constructor(trail: Trail, references: References) {
    const { route, principal } = trail
    this.references = references
    this.#tenant = principal!.tenant
    this.#path = route!.ids ?? []
    this.#query = isUnknown(trail) ? route!.path.split('/') : namedIn(route!.path)
    const said = [...references.named, ...references.carried].map(({ id }) => id)
    // What cannot be an id is nobody's; a store could choke on it.
    this.ids = [...new Set([...this.#path, ...this.#query, ...said])].filter((id) => ID.test(id))
  }

  get origin(): string | null {
    return this.#thing?.origin ?? null
  }

  get isAwaited(): boolean {
    return this.#thing?.isAwaited ?? false
  }

  get models(): readonly string[] {
    return this.#thing?.models ?? []
  }

  /** Models of what a body refers to. */
  get modelsNamed(): readonly string[] {
    return this.references.named.flatMap(({ id }) => this.found.get(id)?.models ?? [])
  }

  get #thing(): Owned | undefined {
    return this.found.get(this.#path[0] ?? '')
  }

  /** What is below a thing of the tenant is its own, unless another is known to own it. */
  checkPath(): void {
    const [first, ...below] = this.#path
    if (first !== undefined && !this.#isOwn(first)) throw unknown()
    if ([...below, ...this.#query].some((id) => this.#isOthers(id))) throw unknown()
  }

  checkBody(refusesUnknown: boolean): void {
    const { named, carried, everybody } = this.references
    if (everybody !== null) throw unknown(everybody)
    const wrong =
      named.find(({ id }) => {
        return refusesUnknown ? !this.#isOwn(id) : this.#isOthers(id) || !ID.test(id)
      }) ?? carried.find(({ id }) => this.#isOthers(id))
    if (wrong !== undefined) throw unknown(wrong.pointer)
  }

  /** Facts of the same call, read anew or as it was. */
  lift(facts: Facts): Facts {
    const { named } = this.references
    const strange = named.filter(({ id }) => !this.#isOwn(id)).map(({ pointer }) => pointer)
    const full = new Set(
      [...Map.groupBy(facts.uninspectable, ({ kind }) => kind)]
        .filter(([, marks]) => marks.length >= MARKS_MAX)
        .map(([kind]) => kind),
    )
    const kept = facts.uninspectable.filter(
      (mark) => full.has(mark.kind) || !this.#lifts(mark, strange),
    )
    const known = new Set(kept.map(({ pointer }) => pointer))
    const added = strange
      .filter((pointer) => !holders(pointer).some((holder) => known.has(holder)))
      .slice(0, MARKS_MAX)
      .map((pointer): Uninspectable => ({ kind: 'reference', pointer }))
    const isSame = kept.length === facts.uninspectable.length && added.length === 0
    return isSame ? facts : { ...facts, uninspectable: [...kept, ...added] }
  }

  /** Whether all that a mark stands for was created here by the same tenant. */
  #lifts({ kind, pointer }: Uninspectable, strange: readonly string[]): boolean {
    if (!LIFTED.has(kind)) return false
    // What is answered later is looked at when it is fetched.
    if (pointer === '/background') return this.references.isBackground
    const { named, mixed } = this.references
    if (pointer === '') return strange.length === 0 && this.#path.length + named.length > 0
    const isBelow = (each: string) => each === pointer || each.startsWith(`${pointer}/`)
    if (mixed.has(pointer) || strange.some(isBelow)) return false
    return named.some((each) => isBelow(each.pointer))
  }

  #isOwn(id: string): boolean {
    return this.found.get(id)?.tenant === this.#tenant
  }

  #isOthers(id: string): boolean {
    const owner = this.found.get(id)?.tenant
    return owner !== undefined && owner !== this.#tenant
  }
}

/** Ids and addresses of files. What else stands in an id some provider may read as another. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_./:-]{0,1023}$/

/** A pointer and those of all that holds it. */
function holders(pointer: string): string[] {
  const all = [pointer]
  for (let at = pointer.lastIndexOf('/'); at >= 0; at = pointer.lastIndexOf('/', at - 1)) {
    all.push(pointer.slice(0, at))
    if (at === 0) break
  }
  return all
}

function unknown(param?: string): GovernorError {
  return new GovernorError('STORED_UNKNOWN', {
    ...(param !== undefined && { param }),
    headers: { 'x-should-retry': 'false' },
  })
}

function namedIn(path: string): string[] {
  const at = path.indexOf('?')
  if (at === -1) return []
  const found: string[] = []
  for (const [name, value] of new URLSearchParams(path.slice(at + 1))) {
    if (NAMING.has(name) && value !== '') found.push(value)
  }
  return found
}
