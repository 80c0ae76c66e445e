import type { ExceptionConfig } from '../config/snapshot.ts'
import type { UsedException } from '../exchange.ts'
import type { ModelNames } from './model-names.ts'
import { compileSelectors, NO_SELECTORS, type SelectorTest, type Subject } from './selectors.ts'

/** Approved exceptions: which of them lifts a policy from a call, and until when. */

/** An exception, ready to be asked. */
export interface CompiledException extends UsedException {
  readonly test: SelectorTest
}

/**
 * Exceptions by the policy they lift. They let pass, so `models` is read as an `allow` reads it: every
 * model of the call must match, by its strict names; a call that names none matches no list.
 */
export function compileExceptions(
  configs: readonly ExceptionConfig[],
  names: ModelNames,
): (policy: string) => readonly CompiledException[] {
  const byPolicy = new Map<string, CompiledException[]>()
  for (const { for: narrowed, ...config } of configs) {
    const test = compileSelectors(narrowed ?? NO_SELECTORS, names, {
      quantifier: 'every',
      modellessPasses: false,
    })
    const those = byPolicy.get(config.policy)
    if (those === undefined) byPolicy.set(config.policy, [{ ...config, test }])
    else those.push({ ...config, test })
  }
  return (policy) => byPolicy.get(policy) ?? []
}

/** Those that are about a call whenever it is made; null where there are none. */
export function aboutCall(
  exceptions: readonly CompiledException[],
  subject: Subject,
): readonly CompiledException[] | null {
  if (exceptions.length === 0) return null
  const found = exceptions.filter(({ test }) => test.fails(subject) === null)
  return found.length === 0 ? null : found
}

/** The first that has not ended at `wallMs`, milliseconds since 1970; null where none holds. */
export function holding(
  exceptions: readonly CompiledException[] | null,
  wallMs: number,
): CompiledException | null {
  return exceptions?.find(({ expiresMs }) => wallMs < expiresMs) ?? null
}
