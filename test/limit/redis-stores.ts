import type { LimitConfig, RedisPlace } from '../../src/config/snapshot.ts'
import type { LimitCall } from '../../src/limit/bucket.ts'
import { RedisStore } from '../../src/limit/redis-store.ts'
import type { Refusal } from '../../src/limit/store.ts'
import type { Lease } from '../../src/nouns/lease.ts'
import { callBy, limitOf, matches } from './limits.ts'

/** Stores in Redis and calls to them, for tests. */

export const HOUR_MS = 3_600_000
export const now = () => ({ wallMs: Date.now(), monotonicMs: performance.now() })

export async function storeAt(
  t: { teardown(then: () => unknown): void },
  place: string | RedisPlace,
  limits: readonly Partial<LimitConfig>[],
  { sidecars = 1, waitMs = 10_000 }: { sidecars?: number; waitMs?: number } = {},
): Promise<RedisStore> {
  const store = new RedisStore({ place, sidecars, waitMs })
  t.teardown(() => store.close())
  store.reconfigure(limits.map(limitOf), matches)
  await store.open()
  return store
}

export async function ask(store: RedisStore, call: LimitCall = callBy()): Promise<Lease | Refusal> {
  return store.reserve(call, now())
}

/** At least, where a setting-up call may itself have been too late. */
export function remainingOf(outcome: Lease | Refusal): number {
  return 'states' in outcome ? (outcome.states[0]?.remaining ?? -1) : -1
}

export async function passing(store: RedisStore, tries: number, call = callBy()): Promise<number> {
  const outcomes = await Promise.all(Array.from({ length: tries }, () => ask(store, call)))
  return outcomes.filter((outcome) => 'states' in outcome).length
}
