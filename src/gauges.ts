import type { monitorEventLoopDelay } from 'node:perf_hooks'

import type { KeySource } from './auth/key-store.ts'
import { monotonicMs } from './clock.ts'
import type { Metrics, PoolState } from './metrics.ts'
import type { Shared } from './stages/stages.ts'
import type { World } from './world.ts'

const QUANTILES = [
  ['0.5', 50],
  ['0.99', 99],
  ['1', 100],
] as const

type Delay = ReturnType<typeof monitorEventLoopDelay>

/** What is read beside the world. */
interface Sources {
  readonly shared: Shared
  readonly keys: KeySource
  /** The admin API's reader of the audit in PostgreSQL. */
  readonly desk: { readonly connections: PoolState }
  /** In ns; it is reset. */
  readonly delay: Delay
}

/** Sets what is looked up, not counted, before the metrics are read. */
export function setGauges({ upstreams }: World, { shared, keys, desk, delay }: Sources): void {
  const { metrics, active, inFlight, spool, limits, recorder, owners } = shared
  metrics.inflightRequests.set(active.size)
  metrics.inflightBytes.set(inFlight.bytes)
  metrics.spooledBytes.set(spool.bytes)
  metrics.limitStoreMode.reset()
  metrics.limitStoreMode.set({ mode: limits.mode }, 1)
  metrics.ownershipRecords.set(owners?.records ?? 0)
  metrics.keysAgeSeconds.set((keys.ageMs ?? 0) / 1000)
  metrics.poolConnections.reset()
  setUpstreams(shared, upstreams)
  // An upstream cannot have these names: a colon is not part of one.
  setPool(metrics, 'redis:limits', limits.connections)
  setPool(metrics, 'postgres:ownership', owners?.connections)
  setPool(metrics, 'postgres:keys', keys.connections)
  setPool(metrics, 'postgres:audit', recorder.connections)
  // Opened for a question and closed after it.
  if (recorder.connections !== undefined) setPool(metrics, 'postgres:admin', desk.connections)
  for (const [quantile, percent] of QUANTILES) {
    metrics.eventLoopDelay.set({ quantile }, delay.percentile(percent) / 1e9)
  }
  delay.reset()
  recorder.gauges()
}

function setUpstreams({ metrics }: Shared, upstreams: World['upstreams']): void {
  metrics.breakerState.reset()
  for (const { pool, care } of upstreams) {
    const { name, stats } = pool
    const { size, running, queued } = stats
    const breaker = care?.breaker?.state(monotonicMs())
    if (breaker !== undefined) metrics.breakerState.set({ upstream: name }, breaker)
    const waiting = queued + (care?.gate?.waiting ?? 0)
    setPool(metrics, name, { open: size, inUse: running, waiting })
  }
}

function setPool({ poolConnections }: Metrics, pool: string, state: PoolState | undefined): void {
  if (state === undefined) return
  poolConnections.set({ pool, state: 'open' }, state.open)
  poolConnections.set({ pool, state: 'in_use' }, state.inUse)
  poolConnections.set({ pool, state: 'waiting' }, state.waiting)
}
