import { completePrice } from './price-table.ts'
import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { checkUnique, resolveSelectors } from './resolve-policies.ts'
import type { Scope } from './resolve-texts.ts'
import type { FileValue } from './resolve.ts'
import type { LimitConfig, LimitFigures, PriceConfig, PricesConfig } from './snapshot.ts'

type LimitValue = FileValue['limits'][number]
type FigureValue = Pick<LimitValue, 'requests' | 'burst' | 'concurrent' | 'tokens' | 'cost'>

/** Tokens reserved for an answer where the limit does not say. */
const RESERVE_OUTPUT = 1024

/** Limits with their figures; overrides take from the limit what they do not say. */
export function resolveLimits({ limits }: FileValue, scope: Scope): LimitConfig[] {
  const ids = limits.map(({ id }) => id)
  checkUnique(ids, scope.report, (index) => ['limits', index, 'id'])
  return limits.map((limit, index) => {
    const at = ['limits', index]
    const base = figures(limit, scope.report, at)
    const overrides = limit.overrides.map((override, position) => {
      const inner = [...at, 'overrides', position]
      const given = figures(override, scope.report, inner)
      return {
        for: resolveSelectors(override.for, scope, [...inner, 'for']),
        requests: given.requests ?? base.requests,
        burst: given.requests === null ? base.burst : given.burst,
        concurrent: given.concurrent ?? base.concurrent,
        tokens: given.tokens ?? base.tokens,
        cost: given.cost ?? base.cost,
      }
    })
    checkTimeZone(limit, [base, ...overrides], { report: scope.report, at })
    checkReserve(limit, [base, ...overrides], { report: scope.report, at })
    return {
      id: limit.id,
      per: limit.per,
      for: limit.for === null ? null : resolveSelectors(limit.for, scope, [...at, 'for']),
      ...base,
      timeZone: limit.time_zone ?? 'UTC',
      reserveOutput: limit.reserve_output ?? RESERVE_OUTPUT,
      onStoreLoss: limit.on_store_loss,
      overrides,
    }
  })
}

function figures(value: FigureValue, report: Report, at: Path): LimitFigures {
  const { requests, burst, concurrent, tokens, cost } = value
  report.check(
    at,
    [requests, concurrent, tokens, cost].some((figure) => figure !== null),
    'Nothing is limited: give it `requests`, like 100/60s, `concurrent`, `tokens` or `cost`',
  )
  const sliding = requests !== null && requests.calendar === null
  report.check(
    [...at, 'burst'],
    burst === null || sliding || !report.clean([...at, 'requests']),
    'A burst needs `requests` beside it with a sliding window, like 100/60s',
  )
  return { requests, burst, concurrent, tokens, cost }
}

function checkTimeZone(
  { time_zone: zone }: LimitValue,
  all: readonly LimitFigures[],
  { report, at }: { readonly report: Report; readonly at: Path },
): void {
  if (zone === null) return
  const here = [...at, 'time_zone']
  const known = zone.includes('${') || isTimeZone(zone)
  report.check(
    here,
    known,
    `Unknown time zone ${report.source.shown(here)}: expected one like UTC or Europe/Berlin`,
  )
  const calendar =
    all
      .flatMap(({ requests, tokens, cost }) => [requests, tokens, cost])
      .some((rate) => rate !== null && rate.calendar !== null) ||
    ['requests', 'tokens', 'cost'].some((figure) => !report.clean([...at, figure]))
  report.check(
    here,
    calendar,
    'A time zone needs a calendar period, like 1000/day: other windows slide',
  )
}

function isTimeZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

function checkReserve(
  { reserve_output: reserve }: LimitValue,
  all: readonly LimitFigures[],
  { report, at }: { readonly report: Report; readonly at: Path },
): void {
  const spends =
    all.some(({ tokens, cost }) => tokens !== null || cost !== null) ||
    ['tokens', 'cost'].some((figure) => !report.clean([...at, figure]))
  const message = 'Nothing is reserved here: it needs `tokens` or `cost` beside it'
  report.check([...at, 'reserve_output'], reserve === null || spends, message)
}

// --- prices ---

/** The file's own prices. */
export function resolvePrices({ prices }: FileValue, report: Report): PricesConfig {
  const seen = new Map<string, string>()
  for (const model of Object.keys(prices.models)) {
    const twin = seen.get(model.toLowerCase())
    const message = `The same model as "${twin}": names are compared case-insensitively, remove one`
    report.check(['prices', 'models', model], twin === undefined, message)
    seen.set(model.toLowerCase(), model)
  }
  const models = Object.entries(prices.models).map(([model, value]) => [
    model,
    completePrice(value),
  ])
  return {
    unknown: prices.unknown,
    models: Object.fromEntries(models) as Record<string, PriceConfig>,
  }
}
