import { type Path, suggestion } from './problem.ts'
import type { Report } from './report.ts'
import { checkUnique, resolveSelectors } from './resolve-policies.ts'
import type { Scope } from './resolve-texts.ts'
import type { FileValue } from './resolve.ts'
import type { ExceptionConfig } from './snapshot.ts'
import { quote } from './source.ts'

const DAY_MS = 86_400_000

/** Every exception has a name of its own, a policy that can be lifted, and an end. */
export function resolveExceptions(
  { exceptions, policies }: FileValue,
  scope: Scope,
): ExceptionConfig[] {
  const { report } = scope
  const ids = exceptions.map(({ id }) => id)
  checkUnique(ids, report, (index) => ['exceptions', index, 'id'])
  return exceptions.map((exception, index) => {
    const { id, policy, for: narrowed, reason, approved_by: approvedBy, expires } = exception
    const at = ['exceptions', index]
    checkPolicy(policy, policies, { report, at: [...at, 'policy'] })
    return {
      id,
      policy,
      for: narrowed === null ? null : resolveSelectors(narrowed, scope, [...at, 'for']),
      reason,
      approvedBy,
      expiresMs: resolveEnd(expires, report, [...at, 'expires']),
    }
  })
}

function checkPolicy(
  id: string,
  policies: FileValue['policies'],
  { report, at }: { readonly report: Report; readonly at: Path },
): void {
  const found = policies.find((policy) => policy.id === id)
  const known = policies.filter(({ allow }) => allow === null).map((policy) => policy.id)
  const unknown = `Unknown policy ${quote(id)}${suggestion(id, known)}`
  report.check(at, found !== undefined, unknown)
  const grants = `Policy ${quote(id)} allows, and an exception lifts what refuses or changes: to let more pass, write another allow`
  report.check(at, found === undefined || found.allow === null, grants)
}

/** A date ends with its day in UTC, which is the first moment it no longer holds. */
function resolveEnd(written: string, report: Report, at: Path): number {
  const isDate = !written.includes('T')
  const date = written.slice(0, 10)
  const startMs = Date.parse(`${date}T00:00:00Z`)
  const endMs = isDate ? startMs + DAY_MS : Date.parse(written)
  const isReal = !Number.isNaN(startMs) && new Date(startMs).toISOString().startsWith(date)
  const message = `${report.source.shown(at)} is a date no calendar has`
  report.check(at, isReal && !Number.isNaN(endMs), message)
  return Number.isNaN(endMs) ? 0 : endMs
}
