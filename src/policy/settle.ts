import type { SettingConfig } from '../config/snapshot.ts'
import type { Parameter } from '../exchange.ts'

/** What several `set` policies make of one call together, whatever their order. */
export type Settings = ReadonlyMap<Parameter, SettingConfig>

/** The tightest bounds and the lowest values of all; of texts the first by alphabet. */
export function combineSettings(settings: readonly SettingConfig[]): Settings {
  const combined = new Map<Parameter, SettingConfig>()
  for (const setting of settings) {
    const other = combined.get(setting.parameter)
    combined.set(setting.parameter, other === undefined ? setting : both(setting, other))
  }
  return combined
}

function both(one: SettingConfig, other: SettingConfig): SettingConfig {
  return {
    parameter: one.parameter,
    value: lowest(one.value, other.value),
    default: lowest(one.default, other.default),
    atMost: lowest(one.atMost, other.atMost),
    atLeast:
      one.atLeast === null ? other.atLeast : Math.max(one.atLeast, other.atLeast ?? -Infinity),
  }
}

function lowest<Value extends number | string>(
  one: Value | null,
  other: Value | null,
): Value | null {
  if (one === null || other === null) return one ?? other
  return one < other ? one : other
}

/**
 * What stands in the place of `sent` (null where nothing was sent); null where nothing has to stand
 * there. `at_most` has the last word.
 */
export function settle(
  { value, default: initial, atMost, atLeast }: SettingConfig,
  sent: number | string | null,
): number | string | null {
  const wanted = value ?? sent ?? initial
  if (wanted === null) return null
  // What is no number cannot be compared: a server might read it as one.
  const number = typeof wanted === 'number' ? wanted : (atMost ?? atLeast)
  if (number === null) return wanted
  return Math.min(Math.max(number, atLeast ?? -Infinity), atMost ?? Infinity)
}
