import { authenticate, type Caller } from '../auth/authenticate.ts'
import { monotonicMs, wallMs } from '../clock.ts'
import type { Principal, Trail } from '../exchange.ts'
import type { World } from '../world.ts'
import type { Shared } from './stages.ts'

/**
 * Who makes a call, as `authenticate` says it, and what is unusual about it, noted in its trail. Without
 * a promise where nothing is waited for. Throws and rejects as `authenticate` does.
 */
export function identify(
  trail: Trail,
  caller: Caller,
  { world, shared }: { readonly world: World; readonly shared: Shared },
): Principal | Promise<Principal> {
  const found = authenticate(caller, shared.ring, world.ways, wallMs())
  if (found instanceof Promise)
    return found.then((principal) => noted(principal, trail, { caller, shared }))
  return noted(found, trail, { caller, shared })
}

function noted(
  principal: Principal,
  trail: Trail,
  { caller, shared }: { readonly caller: Caller; readonly shared: Shared },
): Principal {
  const userAgent = caller.headers['user-agent']
  const client = typeof userAgent === 'string' ? userAgent : undefined
  trail.unusual = shared.usual.look(principal, client, monotonicMs())
  for (const reason of trail.unusual) shared.metrics.unusualCalls.inc({ reason })
  return principal
}

/** What a call took counts among what its key usually takes. */
export function noteSpent({ principal, spent }: Trail, { usual }: Shared): void {
  if (principal !== null && spent !== null) usual.spent(principal.keyId, spent, monotonicMs())
}
