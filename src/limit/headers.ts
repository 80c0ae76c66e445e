import type { LimitState } from '../exchange.ts'

/**
 * How the tightest limit stands, for relayed answers: `x-governor-ratelimit-*`, apart from the
 * provider's own `x-ratelimit-*`, as flat name, value pairs. Empty when no limit on requests applies.
 */
export function ratelimitHeaders(states: readonly LimitState[]): readonly string[] {
  let tightest: LimitState | null = null
  for (const state of states) {
    if (state.what !== 'requests') continue
    if (tightest === null || isTighter(state, tightest)) tightest = state
  }
  if (tightest === null) return []
  return [
    'x-governor-ratelimit-limit-requests',
    String(tightest.limit),
    'x-governor-ratelimit-remaining-requests',
    String(tightest.remaining),
    'x-governor-ratelimit-reset-requests',
    goDuration(tightest.resetMs),
  ]
}

function isTighter(one: LimitState, other: LimitState): boolean {
  return one.remaining === other.remaining
    ? one.resetMs > other.resetMs
    : one.remaining < other.remaining
}

/** The three headers OpenAI's clients read, under `prefix`; resets as `1s`, `6m0s`, `17ms`. */
export function standingHeaders(
  prefix: string,
  { limit, remaining, resetMs }: LimitState,
): Readonly<Record<string, string>> {
  return {
    [`${prefix}-limit-requests`]: String(limit),
    [`${prefix}-remaining-requests`]: String(remaining),
    [`${prefix}-reset-requests`]: goDuration(resetMs),
  }
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
