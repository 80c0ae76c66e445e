import type { Lease, LimitKind, LimitState } from '../exchange.ts'

const NANO_USD = 1_000_000_000
const LOST = ['x-governor-ratelimit-store', 'local_share'] as const

/**
 * How the tightest limits stand, for relayed answers: `x-governor-ratelimit-*`, apart from the
 * provider's own `x-ratelimit-*`, as flat name, value pairs: on requests, on tokens, on cost in USD.
 * A shared store is named, or that it is lost, be it that nothing is counted meanwhile. Empty when no such
 * limit applies.
 */
export function ratelimitHeaders({ states, how }: Lease): readonly string[] {
  if (states.length === 0) return how === 'local_share' ? LOST : []
  const headers: string[] = []
  if (how !== 'memory') headers.push('x-governor-ratelimit-store', how)
  for (const { what, limitName, remainingName, resetName } of NAMES) {
    const state = tightestOf(states, what)
    if (state === null) continue
    const { limit, remaining, resetMs } = state
    headers.push(limitName, figure(what, limit), remainingName, figure(what, remaining))
    headers.push(resetName, goDuration(resetMs))
  }
  return headers
}

const NAMES = (['requests', 'tokens', 'cost'] as const).map((what) => ({
  what,
  limitName: `x-governor-ratelimit-limit-${what}`,
  remainingName: `x-governor-ratelimit-remaining-${what}`,
  resetName: `x-governor-ratelimit-reset-${what}`,
}))

function tightestOf(states: readonly LimitState[], what: LimitKind): LimitState | null {
  let tightest: LimitState | null = null
  for (const state of states) {
    if (state.what !== what) continue
    if (tightest === null || isTighter(state, tightest)) tightest = state
  }
  return tightest
}

function isTighter(one: LimitState, other: LimitState): boolean {
  return one.remaining === other.remaining
    ? one.resetMs > other.resetMs
    : one.remaining < other.remaining
}

/**
 * The three headers OpenAI's clients read, under `prefix`; resets as `1s`, `6m0s`, `17ms`. Limits on cost
 * (in USD) and on calls at once, which OpenAI does not have, are told alike.
 */
export function standingHeaders(
  prefix: string,
  { what, limit, remaining, resetMs }: LimitState,
): Readonly<Record<string, string>> {
  return {
    [`${prefix}-limit-${what}`]: figure(what, limit),
    [`${prefix}-remaining-${what}`]: figure(what, remaining),
    [`${prefix}-reset-${what}`]: goDuration(resetMs),
  }
}

function figure(what: LimitKind, value: number): string {
  return what === 'cost' ? usdText(value) : String(value)
}

/** Nano-USD as a plain decimal number of USD: `50`, `0.000125`. */
export function usdText(nanoUsd: number): string {
  const rest = String(nanoUsd % NANO_USD)
    .padStart(9, '0')
    .replace(/0+$/, '')
  const whole = String(Math.floor(nanoUsd / NANO_USD))
  return rest === '' ? whole : `${whole}.${rest}`
}

/** A duration as Go's `time.Duration` prints it: `0s`, `17ms`, `1.5s`, `6m0s`, `24h0m0s`. */
export function goDuration(durationMs: number): string {
  const ms = Math.ceil(durationMs)
  if (ms === 0) return '0s'
  if (ms < 1000) return `${ms}ms`
  const hours = Math.floor(ms / 3_600_000)
  const minutes = Math.floor((ms % 3_600_000) / 60_000)
  const seconds = `${(ms % 60_000) / 1000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}
