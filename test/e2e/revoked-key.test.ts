import { once } from 'node:events'

import t from 'tap'

import { chat, open } from '../support/client.ts'
import { FakeUpstream, HandStream, chatEvent } from '../support/fake-upstream.ts'
import { RawConnection } from '../support/raw-http.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/** Goal: a key revoked by another process ends soon after, streams under way included. */

/** A second is promised; the rest is for a machine that has much else to do. */
const SOON_MS = 5_000

t.test('a revoked key is refused soon after, and its stream is cut', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, { upstream: upstream.url })
  const other = await site.createKey('other')
  await until('both keys', async () => {
    return (await site.send({ key: other, body: chat('hi') })).status === 200
  })
  t.equal((await site.send({ body: chat('hi') })).status, 200, 'verified and remembered')

  upstream.behaviour = hand.behaviour
  const streams = await Promise.all(
    [site.key, other].map((key) => open(site.url, { key, body: chat('hi', { stream: true }) })),
  )
  hand.write(chatEvent('Hello'))
  const [revokedStream, otherStream] = streams
  let read = ''
  revokedStream!.response.on('data', (chunk: Buffer) => {
    read += chunk.toString()
  })
  otherStream!.response.resume()

  const revoked = await site.cli('keys', 'revoke', site.key.split('.')[0]!)
  const revokedAtMs = performance.now()
  t.equal(revoked.code, 0, revoked.stdout)
  const refused = await until('a 401', async () => {
    const answer = await site.send({ method: 'GET', path: '/v1/models' })
    return answer.status === 401 ? answer : null
  })
  const tookMs = performance.now() - revokedAtMs
  t.comment(`after ${Math.round(tookMs)} ms`)
  t.ok(tookMs < SOON_MS)
  t.match(refused.json.error, { type: 'authentication_error', code: 'invalid_api_key' })
  t.equal(refused.headers['x-should-retry'], 'false')

  if (!revokedStream!.response.complete) await once(revokedStream!.response, 'end')
  t.match(read, /"error":\{.*invalid_api_key/, 'the stream ends in an error frame')
  t.notOk(otherStream!.response.complete, 'the other one goes on')
  await until('the upstream call to be cut', () => upstream.received.some((one) => one.closedEarly))
  otherStream!.response.destroy()

  const again = await site.cli('keys', 'revoke', site.key.split('.')[0]!)
  t.equal(again.code, 1, 'there is nothing left to revoke')
  const admin = site.entries().filter(({ kind }) => kind === 'admin')
  t.strictSame(
    admin.map(({ body }) => body['action']),
    ['keys.create', 'keys.create', 'keys.revoke'],
  )
})

t.test('a key revoked after another change of the store ends its calls all the same', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = await startGovernor(t, { upstream: upstream.url })
  const { response } = await open(site.url, {
    key: site.key,
    body: chat('hi', { stream: true }),
  })
  hand.write(chatEvent('Hello'))
  let read = ''
  response.on('data', (chunk: Buffer) => {
    read += chunk.toString()
  })
  const body = JSON.stringify(chat('slow'))
  const slow = await RawConnection.open(site.url)
  t.teardown(() => slow.destroy())
  slow.send(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${site.key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n{`,
  )
  await until('both calls', async () => (await site.metric('governor_inflight_requests')) === 2)

  const other = await site.createKey('other')
  await until('the other key to be known, and the first to be forgotten', async () => {
    return (await site.send({ key: other, body: chat('hi', { model: 'gpt-5' }) })).status === 403
  })
  t.equal((await site.cli('keys', 'revoke', site.key.split('.')[0]!)).code, 0)
  if (!response.complete) await once(response, 'end')
  t.match(read, /"error":\{.*it was revoked/)
  slow.send(body.slice(1))
  t.equal((await slow.answer()).status, 401)
  t.equal(upstream.received.filter(({ path }) => path.endsWith('completions')).length, 1)
})

t.test('a key that expires ends the stream it began', async (t) => {
  const hand = new HandStream()
  const upstream = await FakeUpstream.start(t, hand.behaviour)
  const site = await startGovernor(t, { upstream: upstream.url })
  const lasting = ['--name', 'short', '--expires', '3s']
  const made = await site.cli('keys', 'create', '--tenant', 'acme', ...lasting)
  const key = made.stdout.trim().split('\n').at(-1)!
  const { response } = await open(site.url, { key, body: chat('hi', { stream: true }) })
  t.equal(response.statusCode, 200)
  hand.write(chatEvent('Hello'))
  let read = ''
  for await (const chunk of response as AsyncIterable<Buffer>) read += chunk.toString()
  t.match(read, /"error":\{.*it has expired/)
})
