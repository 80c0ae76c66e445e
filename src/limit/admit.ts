import type { LimitCall } from './bucket.ts'
import type { MemoryStore, Now } from './memory-store.ts'
import { refusalError } from './refuse.ts'

/**
 * Refuses, before a byte of the body is read, what `reserve` is sure to refuse: a caller already over
 * a limit that is not about models or upstreams. Charges nothing. Throws as `reserve` does.
 */
export function admit(
  store: MemoryStore,
  call: Pick<LimitCall, 'principal' | 'operation'>,
  now: Now,
): void {
  const refusal = store.peek(call, now)
  if (refusal !== null) throw refusalError(refusal)
}
