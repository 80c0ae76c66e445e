import type { IncomingHttpHeaders } from 'node:http'

import { monotonicMs, wallMs } from '../clock.ts'
import type { OwnershipConfig } from '../config/snapshot.ts'
import { tunedId } from '../dialect/created.ts'
import { findReferences, mayRefer, NO_REFERENCES } from '../dialect/references.ts'
import { GovernorError } from '../errors.ts'
import type { Body, Decision, Facts, Trail } from '../exchange.ts'
import type { HttpExchange } from '../http/exchange.ts'
import type { References } from '../nouns/owned.ts'
import { MODELS_MAX, type Owned, type OwnerStore } from '../owner/store.ts'
import { answerPolicies } from '../policy/evaluate.ts'
import { inTurns } from '../turns.ts'
import type { World } from '../world.ts'
import { readingOf } from './decide.ts'
import type { KnownTenants } from './known-tenants.ts'
import { listsModels } from './list-models.ts'
import { isUnknown, Looked } from './looked-up.ts'
import { createsStored, listsStored } from './ownership-calls.ts'

/** What tenants keep at a provider, kept apart: who may name what, before a call is decided. */

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

/** A call, or an event of a session, which has no headers. */
type Asking = Pick<HttpExchange, 'whilePresent'> & {
  readonly incoming?: { readonly headers: IncomingHttpHeaders }
  /** Whether an id is of something that lives as long as the session, which made it. Absent for calls. */
  knows?(id: string): boolean
}
type Decide = (facts: Facts, trail: Trail, exchange: Asking) => Decision | Promise<Decision>

/** What is to be decided of a call. */
interface Asked {
  readonly mayRepeat: boolean
  readonly knows: (id: string) => boolean
  readonly decide: (seen: Facts) => Decision | Promise<Decision>
}

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
      if (!this.#concerns(trail) && !facts.models.some((model) => tunedId(model) !== null)) {
        return decide(facts, trail, exchange)
      }
      const mayRepeat = exchange.incoming?.headers['idempotency-key'] !== undefined
      return this.#decided(facts, trail, {
        mayRepeat,
        knows: (id) => exchange.knows?.(id) === true,
        decide: (seen) => decide(seen, trail, exchange),
      })
    }
  }

  /** Whether its answer is a list that is cut down to the tenant's own. */
  filters(trail: Trail): boolean {
    return this.#parts.store !== null && listsStored(trail)
  }

  /** Whether there is anything to do about the answer to this call. */
  minds(trail: Trail): boolean {
    if (this.#parts.store === null) return false
    if (trail.owned !== null || listsModels(trail.route!)) return true
    return listsStored(trail) || this.creates(trail)
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

  async #decided(facts: Facts, trail: Trail, asked: Asked): Promise<Decision> {
    const { mayRepeat, knows, decide } = asked
    const { config, store, jsonDepth } = this.#parts
    const references = await referencesOf(trail.body!, jsonDepth)
    if (store === null) {
      await this.#refuseUnchosen(trail, references)
      return decide(facts)
    }
    const call = new Looked(trail, references, mayRepeat)
    if (call.ids.length > 0) call.found = await this.#ask(() => store.find(call.ids))
    call.adopt(knows)
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

  /**
   * Writes down what an answer created, before it leaves; ids that the call itself named are no news. What
   * another tenant owns already is nobody's from then on, and no answer to a call that asks for a repetition.
   * Rejects with OWNERSHIP_UNAVAILABLE, UPSTREAM_FAILED.
   */
  async claim(trail: Trail, ids: readonly string[], isAwaited: boolean): Promise<void> {
    const { store } = this.#parts
    if (store === null || ids.length === 0) return
    const { tenant } = trail.principal!
    const origin = trail.owned?.origin ?? trail.requestId
    const models = modelsOf(trail)
    const claims = ids.map((id): Owned => ({ id, tenant, origin, models, isAwaited }))
    const others = await this.#ask(() => store.claim(claims, wallMs()))
    if (others.length === 0) return
    if (trail.owned?.mayRepeat === true) {
      // A provider that repeats an answer repeats it to whoever asks.
      const detail = 'it answered with what it keeps for somebody else'
      throw new GovernorError('UPSTREAM_FAILED', { detail })
    }
    // It counts its ids from the start again. Whose thing it keeps under one of them cannot be told any more.
    await this.#ask(() => store.contest(others))
  }

  /** The ids among `ids` that others than `tenant` created. Rejects with OWNERSHIP_UNAVAILABLE. */
  async others(ids: readonly string[], tenant: string): Promise<ReadonlySet<string>> {
    const { store } = this.#parts
    if (store === null || ids.length === 0) return new Set()
    const found = await this.#ask(() => store.find(ids))
    return new Set(ids.filter((id) => (found.get(id)?.tenant ?? tenant) !== tenant))
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
