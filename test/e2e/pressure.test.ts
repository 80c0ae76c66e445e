import { constants, gzipSync, zstdCompressSync } from 'node:zlib'

import t from 'tap'

import { chat } from '../support/client.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { RawConnection } from '../support/raw-http.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: what one caller sends, or only announces, takes nobody else's place. */

const MIB = 1024 * 1024

t.test('bodies that are announced and do not come keep nobody out', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const head = [
    'POST /v1/chat/completions HTTP/1.1',
    'host: a',
    `authorization: Bearer ${site.key}`,
    'content-type: application/json',
    `content-length: ${16 * MIB}`,
    '',
    '{',
  ].join('\r\n')
  for (let index = 0; index < 8; index++) {
    const connection = await RawConnection.open(site.url)
    t.teardown(() => connection.destroy())
    connection.send(head)
  }
  await until('all to be read', async () => (await site.metric('governor_inflight_requests')) === 8)
  t.ok((await site.metric('governor_inflight_bytes')) <= 8 * 64 * 1024)
  const other = await site.createKey('other')
  t.equal((await site.send({ key: other, body: chat('a'.repeat(2 * MIB)) })).status, 200)
})

t.test('one caller holds at most a quarter of what all may, beside its largest body', async (t) => {
  const upstream = await FakeUpstream.start(t, () => {})
  const site = await startGovernor(t, {
    upstream: upstream.url,
    maximums: '{ body: 1MiB, decoded: 1MiB, in_flight: 4MiB }',
  })
  const large = { body: chat('a'.repeat(MIB * 0.6)) }
  const calls = [site.send(large).catch(() => null), site.send(large).catch(() => null)]
  await until('two to be forwarded', () => upstream.received.length === 2)
  const third = await site.send(large)
  t.equal(third.status, 503)
  t.equal(third.headers['x-governor-code'], 'OVERLOADED')
  t.match(third.json.error?.message, 'request bodies of this caller')
  const other = await site.createKey('other')
  calls.push(site.send({ ...large, key: other }).catch(() => null))
  await until('that of another to be forwarded', () => upstream.received.length === 3)
  await site.governor.stop(0)
  await Promise.all(calls)
})

t.test('24 bombs at once are refused one after the other, and calls pass meanwhile', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const zeros = Buffer.alloc(64 * MIB)
  const bombs = [
    ['zstd', zstdCompressSync(zeros, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })],
    ['gzip', gzipSync(zeros, { level: 1 })],
  ] as const
  const other = await site.createKey('other')
  const statuses = Array.from({ length: 24 }, async (_value, index) => {
    const [encoding, body] = bombs[index % 2]!
    return (await site.send({ body, headers: { 'content-encoding': encoding } })).status
  })
  const call = site.send({ key: other, body: chat('hi') })
  t.equal((await call).status, 200)
  for (const status of await Promise.all(statuses)) t.ok([413, 503].includes(status), `${status}`)
  t.equal(await site.metric('governor_inflight_bytes'), 0)
  t.equal(upstream.received.length, 1)
})
