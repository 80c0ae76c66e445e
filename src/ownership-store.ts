import type { Snapshot } from './config/snapshot.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { AWAY, type OwnerCount, type OwnerStore } from './owner/store.ts'

const CONNECT_MS = 20_000

/**
 * Opens the store of who owns what providers keep; null where nobody asked for one. Rejects with an Error
 * where its file cannot be used or its database was not migrated; one that cannot be reached now is asked
 * again by every call that needs it.
 */
export async function openOwners(
  { ownership, timeouts }: Snapshot,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
): Promise<OwnerStore | null> {
  if (ownership.store === 'off') return null
  const { recordsMax, expiresMs } = ownership
  const count = (what: OwnerCount, by: number): void => {
    if (what === 'expired') metrics.ownershipExpired.inc({}, by)
    else metrics.ownershipLookups.inc({ result: what }, by)
  }
  const bounds = { recordsMax, expiresMs, timeoutMs: timeouts.commitMs, count }
  // Neither is loaded by the many that run without.
  if (ownership.store === 'embedded') {
    const { EmbeddedOwners } = await import('./owner/embedded.ts')
    return EmbeddedOwners.open(ownership.path, bounds)
  }
  const { checkSchema, openPool, postgresMessage } = await import('./audit/postgres.ts')
  const { PostgresOwners } = await import('./owner/postgres.ts')
  // No call waits for a connection for longer than for an answer; but it may take several answers to make one.
  const pool = openPool(ownership.url, timeouts.commitMs, CONNECT_MS)
  const store = await PostgresOwners.open(pool, bounds)
  try {
    if (store.fault('') !== AWAY) return store
    await checkSchema(pool)
  } catch (error) {
    const why = postgresMessage(error)
    if (/run governor migrate|newer Governor/.test(why)) {
      await store.close()
      throw new Error(`ownership: ${why}`, { cause: error })
    }
    log.error({ why }, 'The store of owners cannot be reached: what needs it is refused')
  }
  return store
}
