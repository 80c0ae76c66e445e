import { hash } from 'node:crypto'

import type { LimitConfig, LimitFigures, Selectors } from '../config/snapshot.ts'
import type { Operation, Principal } from '../exchange.ts'
import { CalendarCounter, type Calendars } from './calendar.ts'
import type { Forecast } from './forecast.ts'
import { makeSpends, type Spend, type SpendFigure, SpendPeriod, SpendWindow } from './spend.ts'
import { SlidingWindow, TokenBucket, type Counter } from './window.ts'

/** What limits look at; models as sent, `upstream` null where none is chosen. */
export interface LimitCall {
  readonly principal: Principal
  readonly operation: Operation
  readonly models: readonly string[]
  readonly upstream: string | null
  /** Absent where no limit on tokens or cost could be about the call. */
  readonly forecast?: Forecast | null
  /** Part of a session, which holds the place among the concurrent. */
  readonly isPart?: boolean
}

/** Tells whether selectors match a call; the policies' own matcher, passed in. */
export type Matches = (selectors: Selectors, call: LimitCall) => boolean

/** The calls of one subject under one limit. */
export interface Bucket {
  /** 16 hex digits that name it without naming whom it counts. */
  readonly digest: string
  /** Null for limits without `requests`. */
  counter: Counter | null
  inFlight: number
  /** One for each of the tier's `spending`. */
  spends: readonly Spend[]
}

/**
 * A limit with one set of figures: its own or those of one override, which count apart. Buckets by
 * tenant (for `per: user`, else '') and subject: two look-ups, no string is built during a call.
 */
export interface Tier {
  /** Same key, same subjects: buckets outlive a reload. */
  readonly key: string
  /** Same shape, same counters: a new N over the same T goes on counting. */
  readonly shape: string
  readonly id: string
  readonly per: LimitConfig['per']
  readonly figures: LimitFigures
  readonly spending: readonly SpendFigure[]
  readonly buckets: Map<string, Map<string, Bucket>>
  makeCounter(): Counter | null
}

/** One limit of the file, ready to be asked. */
export interface Limit {
  readonly for: Selectors | null
  readonly base: Tier
  readonly overrides: readonly { readonly for: Selectors; readonly tier: Tier }[]
  /** Whether neither it nor an override asks for what only the body tells. */
  readonly fromHeaders: boolean
}

/** Prepares a limit. Throws a RangeError on a time zone that is not known. */
export function compileLimit(config: LimitConfig, calendars: Calendars): Limit {
  const selectors = [config.for, ...config.overrides.map((override) => override.for)]
  return {
    for: config.for,
    base: tierOf(config, config, { override: '', calendars }),
    overrides: config.overrides.map((override) => ({
      for: override.for,
      tier: tierOf(config, override, { override: JSON.stringify(override.for), calendars }),
    })),
    fromHeaders: selectors.every((each) => each?.models == null && each?.upstreams == null),
  }
}

function tierOf(
  config: LimitConfig,
  figures: LimitFigures,
  { override, calendars }: { readonly override: string; readonly calendars: Calendars },
): Tier {
  const { requests: rate, burst } = figures
  const zone = rate?.calendar == null ? null : config.timeZone
  const refill = burst === null ? null : [burst, rate?.count]
  const calendar = rate?.calendar == null ? null : calendars.of(rate.calendar, config.timeZone)
  return {
    key: [config.id, config.per, override].join('\0'),
    shape: JSON.stringify([rate?.windowMs, rate?.calendar, zone, refill]),
    id: config.id,
    per: config.per,
    figures,
    spending: spendingOf(config, figures, calendars),
    buckets: new Map(),
    makeCounter: () => {
      if (rate === null) return null
      if (calendar !== null) return new CalendarCounter(calendar)
      return burst === null ? new SlidingWindow(rate.windowMs) : new TokenBucket(rate, burst)
    },
  }
}

function spendingOf(
  config: LimitConfig,
  figures: LimitFigures,
  calendars: Calendars,
): readonly SpendFigure[] {
  const found: SpendFigure[] = []
  for (const what of ['tokens', 'cost'] as const) {
    const rate = figures[what]
    if (rate === null) continue
    const { windowMs, calendar: kind } = rate
    const calendar = kind === null ? null : calendars.of(kind, config.timeZone)
    found.push({
      what,
      rate,
      reserveOutput: config.reserveOutput,
      shape: JSON.stringify([what, windowMs, kind, kind && config.timeZone]),
      makeCounter: () =>
        calendar === null ? new SpendWindow(windowMs) : new SpendPeriod(calendar),
    })
  }
  return found
}

/**
 * Adds the tiers that hold for a call; none when the limit is not about it. Each model of a call is
 * looked at by itself, so that naming a second one cannot move the first to a more generous override.
 */
export function addTiers(
  found: Tier[],
  limit: Limit,
  { call, matches }: { readonly call: LimitCall; readonly matches: Matches },
): void {
  if (call.models.length < 2) {
    const tier = tierFor(limit, call, matches)
    if (tier !== null) found.push(tier)
    return
  }
  for (const model of call.models) {
    const tier = tierFor(limit, { ...call, models: [model] }, matches)
    if (tier !== null && !found.includes(tier)) found.push(tier)
  }
}

/** The tier that holds for a call of one model or none; null when the limit is not about it. */
export function tierFor(limit: Limit, call: LimitCall, matches: Matches): Tier | null {
  if (limit.for !== null && !matches(limit.for, call)) return null
  for (const override of limit.overrides) if (matches(override.for, call)) return override.tier
  return limit.base
}

/** The bucket a principal counts in; undefined when there is none yet. */
export function findBucket(tier: Tier, principal: Principal): Bucket | undefined {
  return tier.buckets.get(groupOf(tier, principal))?.get(subjectOf(tier, principal))
}

/** Makes the bucket a principal counts in; its digest is the same in every process. */
export function makeBucket(tier: Tier, principal: Principal): Bucket {
  const group = groupOf(tier, principal)
  const subject = subjectOf(tier, principal)
  const bucket = spareBucket(tier, principal)
  const buckets = tier.buckets.get(group)
  if (buckets === undefined) tier.buckets.set(group, new Map([[subject, bucket]]))
  else buckets.set(subject, bucket)
  return bucket
}

/** A bucket as `makeBucket` makes it, which nobody counts in. */
export function spareBucket(tier: Tier, principal: Principal): Bucket {
  return {
    digest: bucketDigest(tier, principal),
    counter: tier.makeCounter(),
    inFlight: 0,
    spends: makeSpends(tier.spending),
  }
}

/** 16 hex digits that name a bucket in every process, without naming whom it counts. */
export function bucketDigest(tier: Tier, principal: Principal): string {
  const named = [tier.key, groupOf(tier, principal), subjectOf(tier, principal)]
  return hash('sha256', JSON.stringify(named)).slice(0, 16)
}

/** Users are named within their tenant; every other subject is unique by itself. */
function groupOf({ per }: Tier, principal: Principal): string {
  return per === 'user' ? principal.tenant : ''
}

function subjectOf({ per }: Tier, principal: Principal): string {
  switch (per) {
    case 'global':
      return ''
    case 'tenant':
      return principal.tenant
    case 'key':
      return principal.keyId
    case 'user':
      return principal.user
    case 'ip':
      return principal.ip
  }
}
