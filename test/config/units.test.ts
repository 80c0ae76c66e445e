import t from 'tap'

import {
  formatAddress,
  formatDuration,
  formatRate,
  formatSize,
  parseAddress,
  parseDuration,
  parseRate,
  parseSize,
} from '../../src/config/units.ts'

function value<Value>(parsed: { ok: boolean; value?: Value }): Value | null {
  return parsed.ok ? (parsed.value ?? null) : null
}

for (const [text, want] of [
  ['500ms', 500],
  ['30s', 30_000],
  ['5m', 300_000],
  ['2h', 7_200_000],
  ['7d', 604_800_000],
  ['0s', 0],
  ['30', null],
  ['30 s', null],
  ['-1s', null],
  ['1.5h', null],
  ['1h30m', null],
  ['30S', null],
  ['', null],
  ['9999999999999d', null],
  ['1toString', null],
] as const) {
  t.test(`parseDuration() reads ${JSON.stringify(text)} as ${want}`, async (t) => {
    t.equal(value(parseDuration(text)), want)
  })
}

for (const [text, want] of [
  ['512B', 512],
  ['64KiB', 65_536],
  ['16MiB', 16_777_216],
  ['1GiB', 1_073_741_824],
  ['2TiB', 2_199_023_255_552],
  ['16MB', null],
  ['16mib', null],
  ['16', null],
  ['1.5GiB', null],
] as const) {
  t.test(`parseSize() reads ${JSON.stringify(text)} as ${want}`, async (t) => {
    t.equal(value(parseSize(text)), want)
  })
}

const HOUR = 3_600_000
for (const [text, want] of [
  ['100/60s', { count: 100, windowMs: 60_000, calendar: null }],
  ['100/min', { count: 100, windowMs: 60_000, calendar: null }],
  ['5k/second', { count: 5000, windowMs: 1000, calendar: null }],
  ['2M/hour', { count: 2_000_000, windowMs: HOUR, calendar: null }],
  ['10/1d', { count: 10, windowMs: 24 * HOUR, calendar: null }],
  ['10/day', { count: 10, windowMs: 25 * HOUR, calendar: 'day' }],
  ['10/week', { count: 10, windowMs: 169 * HOUR, calendar: 'week' }],
  ['10/month', { count: 10, windowMs: 745 * HOUR, calendar: 'month' }],
  ['0/60s', null],
  ['100', null],
  ['100/m', null],
  ['100/999ms', null],
  ['100/32d', null],
  ['100K/60s', null],
  ['1.5k/60s', null],
  ['2000M/60s', null],
  ['100/toString', null],
  ['100/constructor', null],
] as const) {
  t.test(`parseRate() reads ${JSON.stringify(text)}`, async (t) => {
    t.strictSame(value(parseRate(text)), want)
  })
}

for (const [text, want] of [
  ['127.0.0.1:4141', { host: '127.0.0.1', port: 4141 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['localhost:65535', { host: 'localhost', port: 65_535 }],
  ['my-host.internal:80', { host: 'my-host.internal', port: 80 }],
  ['127.0.0.1:65536', null],
  ['127.0.0.1', null],
  ['::1:80', null],
  ['[127.0.0.1]:80', null],
  ['256.0.0.1:80', null],
  ['1.2.3:80', null],
  [':80', null],
  ['a b:80', null],
  ['http://a:80', null],
] as const) {
  t.test(`parseAddress() reads ${JSON.stringify(text)}`, async (t) => {
    t.strictSame(value(parseAddress(text)), want)
  })
}

t.test('format…() writes what parse…() reads', async (t) => {
  for (const text of ['0ms', '500ms', '90s', '5m', '25h', '7d']) {
    t.equal(formatDuration(value(parseDuration(text)) ?? -1), text)
  }
  for (const text of ['0B', '1000B', '64KiB', '1GiB']) {
    t.equal(formatSize(value(parseSize(text)) ?? -1), text)
  }
  for (const text of ['100/1m', '5000/90s', '10/day', '10/week', '10/month']) {
    const rate = value(parseRate(text))
    t.equal(rate && formatRate(rate), text)
  }
  for (const text of ['[::1]:4141', '127.0.0.1:0', 'localhost:1']) {
    const address = value(parseAddress(text))
    t.equal(address && formatAddress(address), text)
  }
})
