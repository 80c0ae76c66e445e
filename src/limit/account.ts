import type { LimitState, Spent } from '../exchange.ts'
import type { Bucket, LimitCall, Tier } from './bucket.ts'
import { needOf } from './forecast.ts'
import type { Spend, SpendFigure } from './spend.ts'
import type { Refusal } from './store.ts'

/** When calls under way will end is not known; this is what clients are told. */
const RESERVED_WAIT_MS = 1_000

/** Both times a counter may take. */
export interface Times {
  readonly wallMs: number
  readonly steadyMs: number
}

/** What one call holds of one account. */
export interface Reservation {
  readonly figure: SpendFigure
  readonly spend: Spend
  readonly amount: number
}

/** Why a call may not spend what it is expected to; null when it may. Reserves nothing. */
export function spendRefusal(
  tier: Tier,
  bucket: Bucket,
  { call, times }: { readonly call: LimitCall; readonly times: Times },
): Refusal | null {
  const { forecast = null } = call
  if (forecast === null) return null
  let found: Refusal | null = null
  for (const [index, figure] of tier.spending.entries()) {
    const spend = bucket.spends[index]!
    const need = needOf(figure, forecast)
    if (need === null) return { kind: 'unpriced', id: tier.id }
    const waitMs = waitFor(figure, spend, { need, times })
    if (waitMs === 0 || (found?.kind === 'over' && found.waitMs >= waitMs)) continue
    const state = spendState(tier, bucket, { index, times })
    found = { kind: 'over', state, waitMs, tier }
  }
  return found
}

function waitFor(
  { rate }: SpendFigure,
  { counter, reserved }: Spend,
  { need, times }: { readonly need: number; readonly times: Times },
): number {
  const at = timeFor(counter, times)
  const used = counter.used(rate.count, at)
  // Uncounted calls take nothing, and wait for nobody's debt.
  if (need === 0 || used + reserved + need <= rate.count) return 0
  const waitMs = counter.waitFor(rate.count - need, rate.count, at)
  return Math.max(RESERVED_WAIT_MS, waitMs)
}

/** Sets aside what a call is expected to take; whether it may was asked before. */
export function reserveSpends(
  tier: Tier,
  bucket: Bucket,
  { forecast = null }: LimitCall,
): readonly Reservation[] {
  if (forecast === null) return NOTHING_RESERVED
  return tier.spending.map((figure, index) => {
    const spend = bucket.spends[index]!
    const amount = needOf(figure, forecast) ?? 0
    spend.reserved += amount
    return { figure, spend, amount }
  })
}

/** What a call that takes no tokens holds. */
export const NOTHING_RESERVED: readonly Reservation[] = []

/** How the accounts stand in which a call holds something. */
export function spendStates({ tier, bucket, reserved }: Held, times: Times): readonly LimitState[] {
  return reserved.map(({ amount }, index) => {
    return { ...spendState(tier, bucket, { index, times }), reserved: amount }
  })
}

/** What one call holds under one tier. */
export interface Held {
  readonly tier: Tier
  readonly bucket: Bucket
  /** Whether it counts among the concurrent. */
  readonly hasSlot: boolean
  reserved: readonly Reservation[]
}

/** Gives back what was set aside and charges what was spent. */
export function settleSpend(
  { figure, spend, amount }: Reservation,
  spent: Spent | null,
  times: Times,
): void {
  spend.reserved -= amount
  const used = amountOf(figure.what, spent)
  if (used > 0) spend.counter.charge(used, figure.rate.count, timeFor(spend.counter, times))
}

/** What of a call's figures a limit counts. */
export function amountOf(what: SpendFigure['what'], spent: Spent | null): number {
  if (spent === null) return 0
  return what === 'tokens' ? spent.tokens : (spent.costNanoUsd ?? 0)
}

/** How one account stands. */
export function spendState(
  { id, spending }: Tier,
  { spends, digest }: Bucket,
  { index, times }: { readonly index: number; readonly times: Times },
): LimitState {
  const { what, rate } = spending[index]!
  const { counter, reserved } = spends[index]!
  const at = timeFor(counter, times)
  const used = counter.used(rate.count, at)
  return {
    id,
    what,
    limit: rate.count,
    remaining: Math.max(0, rate.count - used - reserved),
    resetMs: used === 0 ? 0 : counter.waitFor(Math.min(used, rate.count) - 1, rate.count, at),
    bucket: digest,
  }
}

/** Whether forgetting a bucket's accounts would change nothing. */
export function spendsIdle({ spending }: Tier, { spends }: Bucket, times: Times): boolean {
  return spends.every(({ counter, reserved }, index) => {
    const limit = spending[index]?.rate.count ?? 0
    return reserved === 0 && counter.used(limit, timeFor(counter, times)) === 0
  })
}

function timeFor({ clock }: Spend['counter'], { wallMs, steadyMs }: Times): number {
  return clock === 'wall' ? wallMs : steadyMs
}
