import { InvalidArgumentError } from 'commander'

import { parseDuration } from '../config/units.ts'

/** How arguments of the command line are read; each throws commander's InvalidArgumentError. */

/** A repeatable option. */
export function append(value: string, former: string[]): string[] {
  return [...former, value]
}

/** A repeatable `name=value`. */
export function label(value: string, former: Record<string, string>): Record<string, string> {
  const at = value.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Expected name=value')
  return { ...former, [value.slice(0, at)]: value.slice(at + 1) }
}

/** How many, at most 999,999. */
export function count(value: string): number {
  const number = Number(value)
  if (/^\d{1,6}$/.test(value)) return number
  throw new InvalidArgumentError('Expected a number up to 999999')
}

/** How many, 1 to 999,999. */
export function some(value: string): number {
  if (/^\d{1,6}$/.test(value) && Number(value) > 0) return Number(value)
  throw new InvalidArgumentError('Expected a number from 1 to 999999')
}

/** 0 to 100. */
export function percent(value: string): number {
  const number = Number(value)
  if (/^\d{1,3}$/.test(value) && number <= 100) return number
  throw new InvalidArgumentError('Expected a number from 0 to 100')
}

/** A century in days; what is longer means never, which is the default. */
const LIFETIME_MS_MAX = 36_525 * 86_400_000

/** More than nothing and at most a century, milliseconds. */
export function lifetime(value: string): number {
  const ms = duration(value)
  if (ms > 0 && ms <= LIFETIME_MS_MAX) return ms
  throw new InvalidArgumentError(
    'Expected more than 0 and at most 36525d; without it, it never ends',
  )
}

const OVERLAP_MS_MAX = 30 * 86_400_000

/** Nothing to 30 days, milliseconds. */
export function overlap(value: string): number {
  const ms = duration(value)
  if (ms <= OVERLAP_MS_MAX) return ms
  throw new InvalidArgumentError('Expected 0s to 30d')
}

/** A number and a unit like `90d`, milliseconds. */
export function duration(value: string): number {
  const parsed = parseDuration(value)
  if (parsed.ok) return parsed.value
  throw new InvalidArgumentError('Expected a number and a unit, like 90d')
}
