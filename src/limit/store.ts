import type { LimitConfig } from '../config/snapshot.ts'
import type { Principal } from '../exchange.ts'
import type { PoolState } from '../metrics.ts'
import type { Instant, Lease, LimitState } from '../nouns/lease.ts'
import type { LimitCall, Matches, Tier } from './bucket.ts'
import type { LimitStanding } from './standing.ts'

/** Why a call may not pass, and of a shared store or what stands in for it, who says so. */
export type Refusal = { readonly how?: 'redis' | 'local_share' } & Cause

type Cause =
  /** The limit with the longest wait. */
  | {
      readonly kind: 'over'
      readonly state: LimitState
      readonly waitMs: number
      readonly tier: Tier
    }
  /** No room to count it. */
  | { readonly kind: 'full' }
  /** Its model has no price, and limit `id` is about cost. */
  | { readonly kind: 'unpriced'; readonly id: string }
  /** The shared store is lost, and limit `id` says `deny`. */
  | { readonly kind: 'lost'; readonly id: string }

/** What a former process charged to a bucket, as its audit tells; `requests` are always one. */
export interface FormerCharge {
  readonly id: string
  readonly bucket: string
  readonly what: 'requests' | 'tokens' | 'cost'
  readonly amount: number
  readonly atWallMs: number
}

/**
 * Where limits are counted. It outlives snapshots. A store in memory answers at once; a shared one
 * with a promise that is never rejected and never late.
 */
export interface LimitStore {
  /** Whether any limit is about tokens or cost, so that calls need a forecast. */
  readonly spends: boolean
  /** How it counts at the moment: what the metric says. */
  readonly mode: 'memory' | 'redis' | 'local_share'
  /** Of a shared store; absent where there is none. */
  readonly connections?: PoolState
  /** Takes the limits of a new snapshot, and keeps what was counted. */
  reconfigure(limits: readonly LimitConfig[], matches: Matches): void
  /** Checks all limits of a call, then charges all. A refusal charges nothing. */
  reserve(call: LimitCall, now: Instant): Lease | Refusal | Promise<Lease | Refusal>
  /** The refusal a call is sure to meet, from what its headers tell; null when there is none. */
  peek(call: Pick<LimitCall, 'principal' | 'operation'>, now: Instant): Refusal | null
  /**
   * How limits stand for a caller, who need not be calling: nothing is charged. Where a shared store is
   * lost, how this process stands in for it.
   */
  standing(
    principal: Principal,
    now: Instant,
  ): readonly LimitStanding[] | Promise<readonly LimitStanding[]>
  close(): void | Promise<void>
}
