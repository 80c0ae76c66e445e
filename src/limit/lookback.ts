import type { LimitFigures, Rate } from '../config/snapshot.ts'

/** What is over sooner has all but passed before a restarted process is asked. */
const RESTORED_MIN_MS = 3_600_000
/** A window covers up to a tenth more than its length. */
const COVERED = 1.1
/** Nobody keeps more of a log at hand, and times of former calls stay above zero. */
const LASTS_MAX_MS = 365 * 86_400_000
/** Debt is looked for this many windows back: each pays one limit's worth of it. */
const DEBT_WINDOWS = 5

/**
 * How long a request counts under these figures, milliseconds: a window, or what an empty bucket takes to
 * be full, which may be many of its windows. 0 where that is under an hour, so that a restart need not ask.
 */
export function requestsCountMs({ requests, burst }: LimitFigures): number {
  if (requests === null) return 0
  const { count, windowMs } = requests
  const lastsMs = burst === null ? windowMs : (burst * windowMs) / Math.max(1, count)
  return lastsMs < RESTORED_MIN_MS ? 0 : Math.min(lastsMs * COVERED, LASTS_MAX_MS)
}

/** The same for tokens or cost, which count until they are paid. */
export function spendCountsMs({ windowMs }: Rate): number {
  return windowMs < RESTORED_MIN_MS ? 0 : windowMs * (DEBT_WINDOWS + COVERED)
}

/** How far back the past of a limit matters, milliseconds; 0 when it does not. */
export function lookbackMs(figures: LimitFigures): number {
  const { tokens, cost } = figures
  const spends = [tokens, cost].map((rate) => (rate === null ? 0 : spendCountsMs(rate)))
  return Math.max(requestsCountMs(figures), ...spends)
}
