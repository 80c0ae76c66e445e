import t from 'tap'

import { UsualUse } from '../../src/auth/usual.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const CLIENT = 'OpenAI/Python 1.54.0'

function from(ip: string, keyId = 'k'): { readonly keyId: string; readonly ip: string } {
  return { keyId, ip }
}

/** A key that is known: an hour of calls from 10.1.2.3 by one client, one a minute and some at the end. */
function known(keysMax = 10): UsualUse {
  const usual = new UsualUse({ salt: 7, keysMax })
  for (let call = 0; call < 100; call++) {
    usual.look(from('10.1.2.3'), CLIENT, Math.min(call * 60_000, HOUR_MS))
  }
  return usual
}

t.test('UsualUse finds nothing unusual while a key is new, nor of a pod', async (t) => {
  const usual = new UsualUse({ salt: 7 })
  for (let call = 0; call < 500; call++) {
    t.strictSame(usual.look(from(`10.0.${call}.1`), `client-${call}/1.0`, call), [])
  }
  t.strictSame(usual.look(from('10.9.9.9', ''), CLIENT, 5 * HOUR_MS), [])
  t.equal(usual.size, 1)
})

t.test('UsualUse knows a network by its prefix and a client by its name', async (t) => {
  const usual = known()
  const look = (ip: string, client: string | undefined) => usual.look(from(ip), client, 2 * HOUR_MS)
  t.strictSame(look('10.1.2.250', 'openai/python 2.0.1'), [])
  t.strictSame(look('10.1.3.3', CLIENT), ['new_network'])
  t.strictSame(look('2001:db8:1:2::/64', CLIENT), ['new_network'])
  t.strictSame(look('2001:db8:1:3::/64', CLIENT), ['new_network'], 'the same /48')
  t.strictSame(look('10.1.2.3', 'curl/8.5.0'), ['new_client'])
  t.strictSame(look('10.1.2.3', undefined), ['new_client'])
  t.strictSame(look('10.7.2.3', `${'x'.repeat(10_000)}\u{1F600}`), ['new_network', 'new_client'])
})

t.test('UsualUse takes a new place for usual after a day, not after a call', async (t) => {
  const usual = known()
  const look = (nowMs: number) => usual.look(from('10.9.9.9'), CLIENT, nowMs)
  t.strictSame(look(2 * HOUR_MS), ['new_network'])
  t.strictSame(look(2 * HOUR_MS + DAY_MS - 1), ['new_network'])
  t.strictSame(look(2 * HOUR_MS + DAY_MS), [])
})

t.test('UsualUse keeps what is usual however many places a key is used from', async (t) => {
  const usual = known()
  const nowMs = 2 * HOUR_MS
  usual.look(from('10.1.2.3'), CLIENT, nowMs)
  // Every two seconds, so that the rate is usual.
  for (let place = 0; place < 1000; place++) {
    const ip = `10.200.${place % 256}.${place >> 8}`
    t.ok(usual.look(from(ip), `c${place}`, nowMs + place * 2000).includes('new_client'))
  }
  t.strictSame(usual.look(from('10.1.2.3'), CLIENT, nowMs + 2_000_000), [])
})

t.test('UsualUse tells a high rate and a high spend from the past of the key', async (t) => {
  const usual = known()
  const nowMs = 3 * HOUR_MS
  // The end of its first hour had some 40 calls in a minute.
  const rates = Array.from({ length: 300 }, () => usual.look(from('10.1.2.3'), CLIENT, nowMs))
  t.strictSame(rates[0], [])
  t.strictSame(rates.at(-1), ['high_rate'])
  const later = nowMs + 10 * 60_000
  usual.spent('k', { tokens: 19_999, costNanoUsd: null, estimated: false }, later)
  t.strictSame(usual.look(from('10.1.2.3'), CLIENT, later), [])
  usual.spent('k', { tokens: 1, costNanoUsd: null, estimated: false }, later)
  t.strictSame(usual.look(from('10.1.2.3'), CLIENT, later), ['high_spend'])
  const cost = later + 10 * 60_000
  usual.spent('k', { tokens: 1, costNanoUsd: 200_000_000, estimated: true }, cost)
  t.strictSame(usual.look(from('10.1.2.3'), CLIENT, cost), ['high_spend'])
  usual.spent('nobody', { tokens: 1, costNanoUsd: 1, estimated: false }, cost)
})

t.test('UsualUse holds so many keys and no more', async (t) => {
  const usual = known(3)
  for (const keyId of ['a', 'b', 'c']) usual.look(from('10.1.2.3', keyId), CLIENT, 2 * HOUR_MS)
  t.equal(usual.size, 3)
  t.strictSame(usual.look(from('10.9.9.9'), CLIENT, 3 * HOUR_MS), [], 'forgotten, so it is new')
})

t.test('UsualUse has other hashes in every process', async (t) => {
  const one = JSON.stringify(new UsualUse())
  t.equal(one, '{}', 'and shows none of them')
})
