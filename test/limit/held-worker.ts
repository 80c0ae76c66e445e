import process from 'node:process'

import { RedisStore } from '../../src/limit/redis-store.ts'
import { HELD, LEASE_MS } from './held.ts'
import { limitOf, matches } from './limits.ts'

/** A sidecar of its own that holds all places until it is told to settle. */

const now = () => ({ wallMs: Date.now(), monotonicMs: performance.now() })

const store = new RedisStore({
  place: process.argv[2]!,
  sidecars: 1,
  waitMs: 10_000,
  leaseMs: LEASE_MS,
})
store.reconfigure(HELD.limits.map(limitOf), matches)
await store.open()
const leases = [await store.reserve(HELD.call, now()), await store.reserve(HELD.call, now())]
process.on('message', () => {
  for (const lease of leases) {
    if ('states' in lease) lease.settle({ tokens: 150, costNanoUsd: null, estimated: false })
  }
  void store.close().then(() => process.disconnect())
})
process.send!(leases.every((lease) => 'states' in lease && lease.how === 'redis'))
