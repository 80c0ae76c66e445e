import type { Lease } from '../exchange.ts'
import type { LimitCall } from './bucket.ts'
import type { MemoryStore, Now } from './memory-store.ts'
import { refusalError } from './refuse.ts'

/**
 * Takes a place in every limit that is about this call, or in none. Throws LIMIT_EXCEEDED,
 * LIMIT_EXHAUSTED, or OVERLOADED when nobody new can be counted. The lease must be settled.
 */
export function reserve(store: MemoryStore, call: LimitCall, now: Now): Lease {
  const outcome = store.reserve(call, now)
  if ('kind' in outcome) throw refusalError(outcome)
  return outcome
}
