import type { PriceConfig } from '../config/snapshot.ts'
import { costNanoUsd } from './prices.ts'
import type { SpendFigure } from './spend.ts'

/** What a call is expected to take, before it is made. */
export interface Forecast {
  readonly inputTokens: number
  /** The most it may produce, as the call says; null when it does not, 0 when it produces no text. */
  readonly outputTokensMax: number | null
  /** Null when a model of the call has no price. */
  readonly price: PriceConfig | null
  /** Whether a call without a price may pass a limit on cost, uncounted. */
  readonly allowsUnpriced: boolean
}

/**
 * What is reserved under a figure: the estimate and what the answer may take, at most the figure
 * itself, so that a first call larger than the limit can be made at all. Null when the call has no
 * price and may not pass without.
 */
export function needOf(figure: SpendFigure, forecast: Forecast): number | null {
  const { inputTokens, outputTokensMax, price, allowsUnpriced } = forecast
  const outputTokens = Math.min(outputTokensMax ?? Infinity, figure.reserveOutput)
  if (figure.what === 'tokens') return Math.min(figure.rate.count, inputTokens + outputTokens)
  if (price === null) return allowsUnpriced ? 0 : null
  const counted = { inputTokens, outputTokens, cachedTokens: null, reasoningTokens: null }
  return Math.min(figure.rate.count, costNanoUsd(price, counted))
}
