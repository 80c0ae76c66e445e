import type { monitorEventLoopDelay } from 'node:perf_hooks'

import { monotonicMs } from './clock.ts'
import type { Shared } from './stages.ts'
import type { World } from './world.ts'

const QUANTILES = [
  ['0.5', 50],
  ['0.99', 99],
  ['1', 100],
] as const

type Delay = ReturnType<typeof monitorEventLoopDelay>

/** Sets what is looked up, not counted, before the metrics are read; resets `delay`, in ns. */
export function setGauges(shared: Shared, { upstreams }: World, delay: Delay): void {
  const { metrics, active, inFlight, spool, limits, recorder, owners } = shared
  metrics.inflightRequests.set(active.size)
  metrics.inflightBytes.set(inFlight.bytes)
  metrics.spooledBytes.set(spool.bytes)
  metrics.limitStoreMode.reset()
  metrics.limitStoreMode.set({ mode: limits.mode }, 1)
  metrics.ownershipRecords.set(owners?.records ?? 0)
  setUpstreams(shared, upstreams)
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
    metrics.poolConnections.set({ pool: name, state: 'open' }, size)
    metrics.poolConnections.set({ pool: name, state: 'in_use' }, running)
    const waiting = queued + (care?.gate?.waiting ?? 0)
    metrics.poolConnections.set({ pool: name, state: 'waiting' }, waiting)
  }
}
