import type { Instant, Lease } from '../nouns/lease.ts'
import type { LimitCall } from './bucket.ts'
import { refusalError } from './refuse.ts'
import type { LimitStore, Refusal } from './store.ts'

/**
 * Takes a place in every limit that is about this call, or in none. Throws LIMIT_EXCEEDED,
 * LIMIT_EXHAUSTED, PRICE_UNKNOWN, LIMITS_UNAVAILABLE, or OVERLOADED when nobody new can be counted;
 * with a shared store the promise is rejected with them. The lease must be settled.
 */
export function reserve(store: LimitStore, call: LimitCall, now: Instant): Lease | Promise<Lease> {
  const outcome = store.reserve(call, now)
  return outcome instanceof Promise ? outcome.then(granted) : granted(outcome)
}

function granted(outcome: Lease | Refusal): Lease {
  if ('kind' in outcome) throw refusalError(outcome)
  return outcome
}
