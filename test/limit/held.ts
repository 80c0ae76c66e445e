import { callBy, rate } from './limits.ts'

/** What nobody renews is free again after this; a busy machine renews three times as often. */
export const LEASE_MS = 3_000

/** All the places there are, and calls that take one each. */
export const HELD = {
  limits: [{ concurrent: 2, tokens: rate(1_000, 3_600_000) }],
  call: {
    ...callBy(),
    forecast: { inputTokens: 100, outputTokensMax: 0, price: null, allowsUnpriced: true },
  },
} as const
