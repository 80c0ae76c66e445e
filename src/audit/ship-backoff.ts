import { Patience } from '../patience.ts'

const FIRST_MS = 250
const LONGEST_MS = 10_000

/**
 * How long to wait after so many failures in a row: doubling from 250 ms up to 10 s, of which a random
 * half is taken off, so that a fleet does not come back as one. `random` is from 0 to 1.
 */
export function backoffMs(failures: number, random: number): number {
  const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20))
  return whole * (1 - random / 2)
}

const ANSWER_MS = { firstMs: 10_000, mostMs: 120_000 }

/** How long a place may take for a batch of a megabyte: over a slow line, two minutes rather than never. */
export function shippingPatience(): Patience {
  return new Patience(ANSWER_MS)
}
