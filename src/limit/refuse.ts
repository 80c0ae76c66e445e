import type { Rate } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import type { LimitKind } from '../exchange.ts'
import type { Tier } from './bucket.ts'
import { standingHeaders, usdText } from './headers.ts'
import type { Refusal } from './store.ts'

/** Longer waits are not worth a client's while: official SDKs ignore them, or sleep for them. */
const RETRY_AFTER_MAX_MS = 60_000

/**
 * The error of a refusal. OVERLOADED where nobody new can be counted; PRICE_UNKNOWN (403) where a
 * limit on cost cannot tell what a model costs; LIMITS_UNAVAILABLE (503) where a shared store is lost; LIMIT_EXCEEDED (429) with the
 * time to come again; LIMIT_EXHAUSTED (403) with `x-should-retry: false` when that is over a minute. Where a
 * store is shared, `x-governor-ratelimit-store` says who counted.
 */
export function refusalError(refusal: Refusal): GovernorError {
  const { how } = refusal
  const told: Readonly<Record<string, string>> =
    how === undefined ? {} : { 'x-governor-ratelimit-store': how }
  if (refusal.kind === 'full') {
    return new GovernorError('OVERLOADED', {
      detail: 'too many callers are counted by limits',
      headers: { ...told, 'retry-after': '1' },
    })
  }
  if (refusal.kind === 'unpriced') {
    return new GovernorError('PRICE_UNKNOWN', {
      detail: `limit "${refusal.id}"`,
      hint: 'Give the model a price under prices.models, or set prices.unknown to allow',
      limit: refusal.id,
    })
  }
  if (refusal.kind === 'lost') {
    return new GovernorError('LIMITS_UNAVAILABLE', {
      detail: `limit "${refusal.id}" cannot be counted`,
      limit: refusal.id,
      headers: told,
    })
  }
  const { state, waitMs, tier } = refusal
  const detail = `limit "${state.id}": ${figureOf(state.what, tier)}`
  const standing = { ...told, ...standingHeaders('x-ratelimit', state) }
  if (waitMs > RETRY_AFTER_MAX_MS) {
    return new GovernorError('LIMIT_EXHAUSTED', {
      detail,
      limit: state.id,
      headers: { ...standing, 'x-should-retry': 'false' },
    })
  }
  return new GovernorError('LIMIT_EXCEEDED', {
    detail,
    limit: state.id,
    headers: {
      ...standing,
      'retry-after': String(Math.ceil(waitMs / 1000)),
      'retry-after-ms': String(Math.ceil(waitMs)),
    },
  })
}

function figureOf(what: LimitKind, { figures }: Tier): string {
  if (what === 'tokens') return figures.tokens === null ? '' : rateText(figures.tokens, ' tokens')
  if (what === 'cost') {
    return figures.cost === null ? '' : `${usdText(figures.cost.count)} USD ${per(figures.cost)}`
  }
  if (what === 'concurrent') return `${figures.concurrent} at once`
  const burst = figures.burst === null ? '' : `, at most ${figures.burst} at once`
  return figures.requests === null ? '' : rateText(figures.requests) + burst
}

/** `100 per 60 s`, `1000 per day`. */
function rateText(rate: Rate, unit = ''): string {
  return `${rate.count}${unit} ${per(rate)}`
}

function per({ windowMs, calendar }: Rate): string {
  if (calendar !== null) return `per ${calendar}`
  return windowMs % 1000 === 0 ? `per ${windowMs / 1000} s` : `per ${windowMs} ms`
}
