import process from 'node:process'

import type { LimitConfig, RedisPlace } from '../../src/config/snapshot.ts'
import { RedisStore } from '../../src/limit/redis-store.ts'
import { callBy, limitOf, matches } from '../limit/limits.ts'
import { Seeded } from '../support/seeded.ts'
import { until } from '../support/until.ts'
import type { Grant } from './limits-oracle.ts'

/** One sidecar's share of a round: asks a store of its own as fast as it can, and tells what passed. */

/** What a worker is told to do. */
export interface Share {
  readonly place: string | RedisPlace
  readonly limits: readonly Partial<LimitConfig>[]
  readonly tenant: string
  readonly seed: number
  readonly calls: number
  readonly atOnce: number
  readonly keys: number
  readonly holdMsMax: number
  /** Tokens expected of a call, at most; what it takes differs. */
  readonly tokensMax: number
}

/** What it says: what has passed since it last said, and at the end that it is the end. */
export interface Told {
  readonly grants: readonly Grant[]
  readonly asked: number
  /** Answered without Redis. */
  readonly lost: number
  readonly isOver: boolean
}

/** What nobody renews is free again after this. */
export const LEASE_MS = 3_000
const TELL_EVERY = 200

const clock = () => Number(process.hrtime.bigint()) / 1e6
const now = () => ({ wallMs: Date.now(), monotonicMs: performance.now() })

async function run(share: Share): Promise<void> {
  const { place, limits, seed, calls, atOnce } = share
  // Nobody is to be lost because a machine is slow: what is counted is what Redis says.
  const store = new RedisStore({ place, sidecars: 1, waitMs: 20_000, leaseMs: LEASE_MS })
  store.reconfigure(limits.map(limitOf), matches)
  await store.open()
  // On a busy machine it goes on without; nothing here is to be counted elsewhere.
  await until('Redis', () => store.mode === 'redis', 60_000)
  const random = new Seeded(seed)
  let told = { grants: [] as Grant[], asked: 0, lost: 0 }
  let left = calls
  const tell = (isOver: boolean) => {
    process.send!({ ...told, isOver } satisfies Told)
    told = { grants: [], asked: 0, lost: 0 }
  }
  const client = async () => {
    while (left-- > 0) {
      const grant = await call(store, share, random)
      told.asked++
      if (grant === 'lost') told.lost++
      else if (grant !== null) told.grants.push(grant)
      if (told.asked >= TELL_EVERY) tell(false)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, client))
  await store.close()
  tell(true)
}

async function call(
  store: RedisStore,
  { tenant, keys, holdMsMax, tokensMax }: Share,
  random: Seeded,
): Promise<Grant | 'lost' | null> {
  const key = Math.floor(random.between(0, keys))
  const inputTokens = Math.floor(random.between(0, tokensMax))
  const spent = Math.floor(inputTokens * random.between(0, 2))
  const holdMs = random.next() < 0.2 ? random.between(0, holdMsMax) : 0
  const forecast = { inputTokens, outputTokensMax: 0, price: null, allowsUnpriced: true }
  const principal = callBy({ tenant, keyId: `key-${key}` })
  const sentMs = clock()
  const outcome = await store.reserve({ ...principal, forecast }, now())
  const heardMs = clock()
  if (!('states' in outcome)) return outcome.kind === 'over' ? null : 'lost'
  if (outcome.how !== 'redis') return 'lost'
  if (holdMs > 0) await new Promise((resolve) => setTimeout(resolve, holdMs))
  const settledMs = clock()
  outcome.settle({ tokens: spent, costNanoUsd: null, estimated: false }, now())
  return { sentMs, heardMs, settledMs, key, spent }
}

if (process.send !== undefined && process.argv[1] === import.meta.filename) {
  process.on('message', (share: Share) => void run(share))
  process.on('disconnect', () => process.exit())
}
