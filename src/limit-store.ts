import { Recorder } from './audit/record.ts'
import { monotonicMs, wallMs } from './clock.ts'
import type { Snapshot } from './config/snapshot.ts'
import { lookbackMs } from './limit/lookback.ts'
import { MemoryStore } from './limit/memory-store.ts'
import type { LimitStore } from './limit/store.ts'
import type { Log } from './log.ts'

/** Opens the store that counts limits. Throws where its URL cannot be used. */
export async function openLimits(
  { limitStore: place, sidecars }: Snapshot,
  log: Log,
): Promise<LimitStore> {
  if (place === 'memory') return new MemoryStore([], () => false)
  // 4 MB of a process that most run without it.
  const { RedisStore } = await import('./limit/redis-store.ts')
  const lost = 'The shared store of limits is lost: each limit does what on_store_loss says'
  const store: InstanceType<typeof RedisStore> = new RedisStore({
    place,
    sidecars,
    onChange: (usable) => {
      if (usable) log.info('Limits are counted in Redis')
      else log.error({ why: store.why }, lost)
    },
  })
  await store.open()
  // One that was never reached was never lost, and as much is amiss.
  if (store.mode !== 'redis') log.error({ why: store.why }, lost)
  return store
}

/** Charges the memory store with what the log recorded: long windows would begin anew with every restart; the log knows what was charged. */
export function restoreLimits({ limits, audit }: Snapshot, store: MemoryStore, log: Log): void {
  const figures = limits.flatMap((limit) => [limit, ...limit.overrides])
  const longestMs = Math.max(0, ...figures.map(lookbackMs))
  if (longestMs === 0) return
  const now = { wallMs: wallMs(), monotonicMs: monotonicMs() }
  let restored = 0
  const sinceMs = now.wallMs - longestMs
  const { damagedEntries, unreadableFiles } = Recorder.charges(audit.path, sinceMs, (charge) => {
    if (store.restore(charge, now)) restored += 1
  })
  if (damagedEntries > 0 || unreadableFiles.length > 0) {
    log.error(
      { entries: damagedEntries, files: unreadableFiles },
      'Entries of the audit are damaged and count in no limit: run governor audit verify',
    )
  }
  log.info({ calls: restored }, 'Limit windows of an hour or more restored from the audit')
}
