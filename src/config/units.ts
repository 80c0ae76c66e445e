import { isIPv4, isIPv6 } from 'node:net'

import type { Address, Rate } from './snapshot.ts'

/** Values carry their units in YAML and lose them here, once, into names that have them. */

/** A parsed value, or what was expected instead. */
export type Parsed<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly expected: string }

const DURATIONS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const
const COUNTS = { '': 1, k: 1000, M: 1_000_000 } as const

/** Sliding windows that have a name. `m` is none: it could be a minute or a month. */
const WINDOWS_MS = {
  s: 1000,
  second: 1000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
} as const

/** Longest lengths: 25 hours when clocks go back, and a week or 31 days with that hour in it. */
const CALENDAR_MS = {
  day: 25 * 3_600_000,
  week: (7 * 24 + 1) * 3_600_000,
  month: (31 * 24 + 1) * 3_600_000,
} as const

/** The most a rate may allow in one window. */
export const RATE_COUNT_MAX = 1_000_000_000
/** The longest sliding window, 31 days. */
export const RATE_WINDOW_MS_MAX = 31 * 86_400_000

/** `500ms`, `30s`, `5m`, `2h`, `7d` → milliseconds. */
export function parseDuration(text: string): Parsed<number> {
  return withUnit(text, DURATIONS_MS, 'a whole number and a unit (ms, s, m, h, d), like 30s')
}

/** `512B`, `64KiB`, `16MiB`, `1GiB`, `2TiB` → bytes. Decimal units are refused: they are misread. */
export function parseSize(text: string): Parsed<number> {
  const decimal = /^\d+ ?([kKMGT])[bB]?$/.exec(text)?.[1]
  const like = `16${(decimal ?? 'M').toUpperCase()}iB`
  return withUnit(text, SIZES, `a whole number and a unit (B, KiB, MiB, GiB, TiB), like ${like}`)
}

/** `100/60s`, `5k/min`, `1000/day` → count and window. `day`, `week`, `month` follow the calendar. */
export function parseRate(text: string): Parsed<Rate> {
  const expected = 'a count and a window, like 100/60s, 5k/min or 1000/day'
  const match = /^(\d{1,12})([kM]?)\/([0-9a-z]+)$/.exec(text)
  if (match === null) return { ok: false, expected }
  const count = Number(match[1]) * COUNTS[match[2] as keyof typeof COUNTS]
  const per = match[3] ?? ''
  if (count < 1 || count > RATE_COUNT_MAX) {
    return { ok: false, expected: `a count from 1 to ${RATE_COUNT_MAX}` }
  }
  if (hasOwn(CALENDAR_MS, per)) {
    return { ok: true, value: { count, windowMs: CALENDAR_MS[per], calendar: per } }
  }
  if (per === 'm') return { ok: false, expected: 'min or month after the slash, not m' }
  const windowMs = hasOwn(WINDOWS_MS, per) ? WINDOWS_MS[per] : sliding(per)
  if (windowMs === null) return { ok: false, expected }
  if (windowMs < 1000 || windowMs > RATE_WINDOW_MS_MAX) {
    return { ok: false, expected: 'a window from 1s to 31d' }
  }
  return { ok: true, value: { count, windowMs, calendar: null } }
}

/** One USD in nano-USD, in which money is counted. */
const NANO_USD = 1_000_000_000
/** The most money one window may allow, USD. */
const COST_USD_MAX = 1_000_000
/** The highest price, USD per million tokens. */
const PRICE_USD_MAX = 10_000

/** `50 USD/day`, `0.25 USD/h` → nano-USD and window, as `parseRate` reads it; six decimals at most. */
export function parseCost(text: string): Parsed<Rate> {
  const expected = 'an amount in USD and a window, like 50 USD/day or 0.5 USD/h'
  const match = /^(\d{1,7}(?:\.\d{1,6})?) USD(\/[0-9a-z]+)$/.exec(text)
  if (match === null) {
    const isFine = /^\d{1,7}\.\d{7,} USD\//.test(text)
    return { ok: false, expected: isFine ? 'six decimals of a USD at most' : expected }
  }
  const rate = parseRate(`1${match[2]}`)
  if (!rate.ok) return rate
  const count = Math.round(Number(match[1]) * 1e6) * 1000
  if (count < 1 || count > COST_USD_MAX * NANO_USD) {
    return { ok: false, expected: `an amount above 0 and up to ${COST_USD_MAX} USD` }
  }
  return { ok: true, value: { ...rate.value, count } }
}

/** `2.5` USD per million tokens → 2,500,000 pico-USD per token. */
export function parsePrice(text: string): Parsed<number> {
  const value = /^\d{1,5}(?:\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
  if (value <= PRICE_USD_MAX) return { ok: true, value: Math.round(value * 1e6) }
  return { ok: false, expected: `USD per 1M tokens from 0 to ${PRICE_USD_MAX}, like 2.5` }
}

/** `127.0.0.1:4141`, `[::1]:4141`, `localhost:4141`. Port 0 asks the system for a free one. */
export function parseAddress(text: string): Parsed<Address> {
  const expected = 'host:port, like 127.0.0.1:4141 or [::1]:4141'
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  if (match === null) return { ok: false, expected }
  const host = match[1] ?? match[2] ?? ''
  const port = Number(match[3])
  if (port > 65_535) return { ok: false, expected: 'a port from 0 to 65535' }
  if (host === '') {
    return { ok: false, expected: `a host before the port, like 0.0.0.0:${port} for every address` }
  }
  const valid = match[1] === undefined ? isHost(host) : isIPv6(host)
  return valid ? { ok: true, value: { host, port } } : { ok: false, expected }
}

/** Milliseconds in the largest unit that keeps them whole. */
export function formatDuration(ms: number): string {
  return format(ms, DURATIONS_MS)
}

/** Bytes in the largest unit that keeps them whole. */
export function formatSize(bytes: number): string {
  return format(bytes, SIZES)
}

/** A rate as `parseRate` reads it. */
export function formatRate(rate: Rate): string {
  return `${rate.count}/${rate.calendar ?? formatDuration(rate.windowMs)}`
}

/** A cost as `parseCost` reads it. */
export function formatCost({ count, ...window }: Rate): string {
  return `${formatUsd(count)} USD${formatRate({ count: 1, ...window }).slice(1)}`
}

/** Nano-USD as a plain decimal number of USD, without needless zeros. */
export function formatUsd(nanoUsd: number): string {
  const whole = Math.floor(nanoUsd / NANO_USD)
  const rest = String(nanoUsd % NANO_USD)
    .padStart(9, '0')
    .replace(/0+$/, '')
  return rest === '' ? String(whole) : `${whole}.${rest}`
}

/** A price as `parsePrice` reads it. */
export function formatPrice(picoUsd: number): number {
  return picoUsd / 1e6
}

/** An address as `parseAddress` reads it. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function withUnit(
  text: string,
  units: Readonly<Record<string, number>>,
  expected: string,
): Parsed<number> {
  const match = /^(\d{1,12})([A-Za-z]+)$/.exec(text)
  const factor = match?.[2] !== undefined && hasOwn(units, match[2]) ? units[match[2]] : undefined
  const value = factor === undefined ? Number.NaN : Number(match?.[1]) * factor
  return Number.isSafeInteger(value) ? { ok: true, value } : { ok: false, expected }
}

function sliding(text: string): number | null {
  const parsed = parseDuration(text)
  return parsed.ok ? parsed.value : null
}

function isHost(host: string): boolean {
  if (/^[\d.]+$/.test(host)) return isIPv4(host)
  return /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*$/.test(host)
}

function format(value: number, units: Readonly<Record<string, number>>): string {
  const largestFirst = Object.entries(units).toReversed()
  const [name, factor] = largestFirst.find(([, unit]) => value > 0 && value % unit === 0) ?? [
    largestFirst.at(-1)?.[0] ?? '',
    1,
  ]
  return `${value / factor}${name}`
}

function hasOwn<Table extends object>(table: Table, key: PropertyKey): key is keyof Table {
  return Object.hasOwn(table, key)
}
