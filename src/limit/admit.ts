import type { Instant } from '../nouns/lease.ts'
import type { LimitCall } from './bucket.ts'
import { refusalError } from './refuse.ts'
import type { LimitStore } from './store.ts'

/**
 * Refuses, before a byte of the body is read, what `reserve` is sure to refuse: a caller already over
 * a limit that is not about models or upstreams. Charges nothing. Throws as `reserve` does.
 */
export function admit(
  store: LimitStore,
  call: Pick<LimitCall, 'principal' | 'operation'>,
  now: Instant,
): void {
  const refusal = store.peek(call, now)
  if (refusal !== null) throw refusalError(refusal)
}
