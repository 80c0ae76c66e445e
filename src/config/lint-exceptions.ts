import type { Advice } from './advice.ts'
import { overlaps } from './lint-reach.ts'
import type { ExceptionConfig, PolicyConfig, Snapshot } from './snapshot.ts'

/** What a careful reader would ask about approved exceptions. */

const DAY_MS = 86_400_000
/** Long enough to ask the people who approved it. */
const ENDING_MS = 30 * DAY_MS
/** Whoever approved it may not be here any more. */
const LONG_MS = 366 * DAY_MS

/** Exceptions that have ended or will soon, at `nowMs`; worth saying at every start, too. */
export function adviseExceptions({ exceptions }: Snapshot, nowMs: number): Advice[] {
  return exceptions.flatMap((exception, index) => {
    const path = ['exceptions', index, 'expires']
    const leftMs = exception.expiresMs - nowMs
    if (leftMs <= 0) {
      const message = `Ended at ${timeText(exception)}: it lifts nothing any more, remove it or have it approved anew`
      return [{ path, message, rule: 'exception-ended' }]
    }
    if (leftMs > ENDING_MS) return []
    const message = `Ends at ${timeText(exception)}, ${daysText(leftMs)}: then "${exception.policy}" holds again`
    return [{ path, message, rule: 'exception-ending' }]
  })
}

/** Exceptions that are wider or longer than anybody may have meant, or lift nothing. Pure. */
export function lintExceptions({ exceptions, policies }: Snapshot, nowMs: number): Advice[] {
  return exceptions.flatMap((exception, index) => {
    const at = ['exceptions', index]
    const found: Advice[] = []
    if (isWide(exception)) {
      const message = `Lifts "${exception.policy}" from every call: name keys, tenants or roles in \`for\``
      found.push({ path: at, message, rule: 'too-wide' })
    }
    if (exception.expiresMs - nowMs > LONG_MS) {
      const message = 'Lasts longer than a year: let it end earlier and be approved again'
      found.push({ path: [...at, 'expires'], message, rule: 'exception-long' })
    }
    const policy = policies.find(({ id }) => id === exception.policy)
    return policy === undefined ? found : [...found, ...lintUse(exception, policy, at)]
  })
}

function isWide({ for: narrowed }: ExceptionConfig): boolean {
  return narrowed === null || Object.values(narrowed).every((value) => value === null)
}

/** Fields of which a call has exactly one value. */
const SINGLE = ['tenants', 'users', 'operations', 'upstreams'] as const

function lintUse(
  exception: ExceptionConfig,
  policy: PolicyConfig,
  at: readonly (string | number)[],
): Advice[] {
  if (policy.mode === 'shadow') {
    const message = `Lifts nothing: "${policy.id}" is in shadow`
    return [{ path: [...at, 'policy'], message, rule: 'unreachable' }]
  }
  const about = policy.verb === 'deny' ? [policy.for, policy.selectors] : [policy.for]
  const apart = SINGLE.find((field) =>
    about.some((selectors) => !overlaps(exception.for?.[field], selectors?.[field])),
  )
  if (apart === undefined) return []
  const message = `Lifts nothing: it and "${policy.id}" have no ${apart} in common`
  return [{ path: [...at, 'for'], message, rule: 'unreachable' }]
}

/** `2027-02-01T00:00Z`. */
function timeText({ expiresMs }: ExceptionConfig): string {
  return new Date(expiresMs).toISOString().replace(/:00\.000Z$/, 'Z')
}

function daysText(leftMs: number): string {
  const days = Math.floor(leftMs / DAY_MS)
  if (days === 0) return 'in less than a day'
  return days === 1 ? 'in a day' : `in ${days} days`
}
