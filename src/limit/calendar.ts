import type { Counter, Standing } from './window.ts'

/** A stretch of wall time, from `startMs` to before `endMs`. */
export interface Period {
  readonly startMs: number
  readonly endMs: number
}

/** Periods of the calendar that a limit may be about. */
export type PeriodKind = 'day' | 'week' | 'month'

/** A date without a place, as `Date.UTC` numbers it: midnight of that date, milliseconds. */
type DateMs = number

const DAY_MS = 86_400_000

/**
 * Finds the calendar day, week (from Monday) or month an instant is in, in an IANA time zone. Asking
 * for the zone's rules costs some 10 µs, so the last period is remembered.
 */
export class Calendar {
  readonly #kind: PeriodKind
  readonly #format: Intl.DateTimeFormat
  #last: Period = { startMs: 0, endMs: 0 }

  /** Throws a RangeError on a time zone that is not known. */
  constructor(kind: PeriodKind, timeZone: string) {
    this.#kind = kind
    this.#format = new Intl.DateTimeFormat('en-GB', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  }

  /** The period that `wallMs` is in. */
  period(wallMs: number): Period {
    const last = this.#last
    if (wallMs >= last.startMs && wallMs < last.endMs) return last
    const [first, next] = this.#dates(this.#local(wallMs))
    this.#last = { startMs: this.#startOf(first), endMs: this.#startOf(next) }
    return this.#last
  }

  /** First date of the period that local time `localMs` is in, and of the one after it. */
  #dates(localMs: number): readonly [DateMs, DateMs] {
    const date = new Date(Math.floor(localMs / DAY_MS) * DAY_MS)
    if (this.#kind === 'day') return [date.getTime(), date.getTime() + DAY_MS]
    if (this.#kind === 'week') {
      const monday = date.getTime() - ((date.getUTCDay() + 6) % 7) * DAY_MS
      return [monday, monday + 7 * DAY_MS]
    }
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
    return [Date.UTC(year, month), Date.UTC(year, month + 1)]
  }

  /**
   * First instant of a date. Clocks may jump over midnight or pass it twice, so both offsets around
   * it are tried: the first instant that is on the date, while the one before it is not.
   */
  #startOf(date: DateMs): number {
    const offsets = [date - DAY_MS, date + DAY_MS].map((at) => this.#local(at) - at)
    const candidates = offsets.map((offset) => date - offset).sort((a, b) => a - b)
    const starts = candidates.filter(
      (at) => this.#local(at) >= date && this.#local(at - 1000) < date,
    )
    return starts[0] ?? candidates[0] ?? date
  }

  /** What clocks of the zone show at `wallMs`, numbered as if it were UTC; whole seconds. */
  #local(wallMs: number): number {
    const shown: Record<string, number> = {}
    for (const { type, value } of this.#format.formatToParts(wallMs)) shown[type] = Number(value)
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown
    return Date.UTC(year, month - 1, day, hour, minute, second)
  }
}

/**
 * The calendars of one store, one for each kind and time zone. Counters keep theirs for as long as they count,
 * through any number of reloads: made anew by each, with the zone's rules in it, they would add up.
 */
export class Calendars {
  readonly #known = new Map<string, Calendar>()

  /** Throws a RangeError on a time zone that is not known. */
  of(kind: PeriodKind, timeZone: string): Calendar {
    const name = `${kind} ${timeZone}`
    let calendar = this.#known.get(name)
    if (calendar === undefined) {
      calendar = new Calendar(kind, timeZone)
      this.#known.set(name, calendar)
    }
    return calendar
  }
}

/**
 * At most N in a calendar period. A clock that goes back into an earlier period gives nothing back:
 * what was counted in the later one counts on, or what was counted before it, whichever is more.
 */
export class CalendarCounter implements Counter {
  readonly clock = 'wall'
  readonly #calendar: Calendar
  #period: Period = { startMs: 0, endMs: 0 }
  #count = 0
  /** Calls of the period before, while the clock may still return to it. */
  #formerCount = 0

  constructor(calendar: Calendar) {
    this.#calendar = calendar
  }

  standing(limit: number, wallMs: number): Standing {
    this.#enter(wallMs)
    const remaining = Math.max(0, limit - this.#count)
    const untilEndMs = Math.max(1, Math.ceil(this.#period.endMs - wallMs))
    const waitMs = limit === 0 ? Infinity : untilEndMs
    return {
      remaining,
      resetMs: this.#count === 0 ? 0 : untilEndMs,
      waitMs: remaining > 0 ? 0 : waitMs,
    }
  }

  charge(wallMs: number): void {
    this.#enter(wallMs)
    this.#count++
  }

  idle(wallMs: number): boolean {
    this.#enter(wallMs)
    return this.#count === 0
  }

  #enter(wallMs: number): void {
    if (wallMs >= this.#period.endMs) {
      this.#period = this.#calendar.period(wallMs)
      this.#formerCount = this.#count
      this.#count = 0
    } else if (wallMs < this.#period.startMs) {
      this.#period = this.#calendar.period(wallMs)
      this.#count = Math.max(this.#count, this.#formerCount)
    }
  }
}
