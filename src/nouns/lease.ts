/** What a call holds of the limits, and what it is charged in the end. Plain data. */

/** What a limit counts; `cost` in nano-USD. */
export type LimitKind = 'requests' | 'concurrent' | 'tokens' | 'cost'

/** How a limit stands after this call, for headers and the entry. */
export interface LimitState {
  readonly id: string
  readonly what: LimitKind
  readonly limit: number
  readonly remaining: number
  /** Until the next unit is free, milliseconds. */
  readonly resetMs: number
  /** Stable digest of whom it counts, so that the entry can restore windows without naming them. */
  readonly bucket: string
  /** What was set aside for this call, of `tokens` and `cost`. */
  readonly reserved?: number
}

/** What a call took. */
export interface Spent {
  readonly tokens: number
  /** Nano-USD; null when the model has no price. */
  readonly costNanoUsd: number | null
  /** Counted here, because the provider did not report it. */
  readonly estimated: boolean
}

/** What is counted of a call as it passes, where limits are about tokens or cost. */
export interface CallCounts {
  /** Estimated. */
  readonly inputTokens: number
  /** What may have been produced when nobody could see it. */
  readonly outputTokensHidden: number
  /** Bytes of text the model wrote so far. */
  readonly output: { readonly bytes: number }
}

/** One instant on both clocks of clock.ts. */
export interface Instant {
  readonly wallMs: number
  readonly monotonicMs: number
}

/** A held place in the limits. Settled exactly once; a second call does nothing. */
export interface Lease {
  readonly states: readonly LimitState[]
  /** Where it was counted. */
  readonly how: 'memory' | 'redis' | 'local_share'
  /** Gives back what was reserved and charges what was spent; nothing when it is absent. */
  settle(spent?: Spent | null, now?: Instant): void
}
