import t from 'tap'
import { WebSocket } from 'ws'

import { FakeRealtime, RealtimeClient } from '../support/fake-realtime.ts'
import { startGovernor } from '../support/start-governor.ts'
import { until } from '../support/until.ts'

/**
 * Goal: no client of a session makes the process hold more than the file says.
 * Method: clients that begin messages, send and do not read, or say nothing at all.
 */

const POLICIES = `
  - { id: all, allow: { operations: [chat, realtime], models: ['gpt-*'] } }
  - { id: codename, deny: { input: { words: [zeus] } } }`
const RESPONSES = '/v1/responses'
const MAXIMUMS = '{ body: 1MiB, decoded: 1MiB, in_flight: 4MiB }'

t.test('half a message is held like half a body, and given back', async (t) => {
  const { url } = await FakeRealtime.start(t, { greets: false })
  const site = await startGovernor(t, { upstream: url, policies: POLICIES, maximums: MAXIMUMS })
  const heldBytes = () => site.metric('governor_inflight_bytes')
  const half = Buffer.alloc(900_000, 0x20)
  const clients: RealtimeClient[] = []
  for (const count of [1, 2, 3]) {
    const client = await RealtimeClient.open(site.url, site.key, RESPONSES)
    clients.push(client)
    client.socket.send(half, { binary: false, fin: false })
    if (count < 3) await until('it to be held', async () => (await heldBytes()) > 8e5 * count)
  }
  t.match(await clients[2]!.isClosed(), { code: 1011, reason: 'OVERLOADED' })
  for (const { socket } of clients) socket.terminate()
  await until('nothing to be held', async () => (await heldBytes()) === 0)
})

t.test('a long message is held until it is settled, and no longer', async (t) => {
  const upstream = await FakeRealtime.start(t)
  upstream.script = () => {}
  const { url } = upstream
  const site = await startGovernor(t, { upstream: url, policies: POLICIES, maximums: MAXIMUMS })
  const client = await RealtimeClient.open(site.url, site.key)
  const response = { instructions: 'x'.repeat(900_000) }
  client.send({ type: 'response.create', response })
  await until('it to arrive', () => upstream.last.received.length === 1)
  t.ok((await site.metric('governor_inflight_bytes')) > 8e5)
  upstream.last.respond(['Hello'])
  await until('nothing held', async () => (await site.metric('governor_inflight_bytes')) === 0)
  client.send({ type: 'response.create', response })
  await until('the next', () => upstream.last.received.length === 2)
  client.socket.terminate()
  await until('nothing held', async () => (await site.metric('governor_inflight_bytes')) === 0)
  t.equal(await site.metric('governor_inflight_requests'), 0)
})

t.test('who is refused and does not read is not read, either', async (t) => {
  const { url } = await FakeRealtime.start(t)
  const site = await startGovernor(t, { upstream: url, policies: POLICIES })
  const client = await RealtimeClient.open(site.url, site.key)
  await client.hears('session.created')
  client.socket.pause()
  let [told, mostBytes] = [0, 0]
  const send = Reflect.get(WebSocket.prototype, 'send') as () => void
  t.teardown(() => Object.assign(WebSocket.prototype, { send }))
  WebSocket.prototype.send = function (this: WebSocket, ...args: unknown[]) {
    Reflect.apply(send, this, args)
    // The clients' own are masked, and not what is counted here.
    if (this === client.socket) return
    told += 1
    mostBytes = Math.max(mostBytes, this.bufferedAmount)
  }
  const event_id = '\u0001'.repeat(512)
  const content = [{ type: 'input_text', text: 'zeus' }]
  const item = { type: 'message', role: 'user', content }
  const count = 4000
  for (let index = 0; index < count; index++) {
    client.send({ type: 'conversation.item.create', event_id, item })
  }
  const roomBytes = 1024 * 1024
  // Or the system has room for all of them.
  await until('no room', () => mostBytes >= roomBytes || told === count, 120_000)
  client.socket.resume()
  await until('all errors', () => client.heard.length === count + 1, 120_000)
  t.ok(mostBytes < roomBytes + 8192, `${mostBytes} bytes waited`)
  client.socket.terminate()
})

/** The most that waited in a socket of the sessions' other than those of the test, while `work` runs. */
async function mostWaiting(own: readonly WebSocket[], work: (most: () => number) => Promise<void>) {
  let mostBytes = 0
  const send = Reflect.get(WebSocket.prototype, 'send') as () => void
  WebSocket.prototype.send = function (this: WebSocket, ...args: unknown[]) {
    Reflect.apply(send, this, args)
    if (!own.includes(this)) mostBytes = Math.max(mostBytes, this.bufferedAmount)
  }
  try {
    await work(() => mostBytes)
  } finally {
    Object.assign(WebSocket.prototype, { send })
  }
  return mostBytes
}

for (const [name, isClients] of [
  ['a client', true],
  ['a provider', false],
] as const) {
  t.test(
    `${name} that floods one who does not read is not read until the other reads`,
    async (t) => {
      const upstream = await FakeRealtime.start(t)
      const voices = '- { id: voices, allow: { operations: [realtime], uninspectable: [audio] } }'
      const policies = `${POLICIES}\n  ${voices}`
      const site = await startGovernor(t, { upstream: upstream.url, policies })
      const client = await RealtimeClient.open(site.url, site.key)
      await client.hears('session.created')
      const provider = upstream.last
      const audio = 'QUJD'.repeat(16 * 1024)
      const type = isClients ? 'input_audio_buffer.append' : 'rate_limits.updated'
      const [from, to] = isClients ? [client, provider] : [provider, client]
      const count = 600
      const arrived = () => {
        const events = isClients ? provider.received : client.heard
        return events.filter((event) => event.type === type).length
      }
      const roomBytes = 1024 * 1024
      const mostBytes = await mostWaiting([client.socket, provider.socket], async (most) => {
        to.socket.pause()
        for (let sent = 0; sent < count; sent++) from.send({ type, audio })
        await until('no room', () => most() >= roomBytes, 120_000)
        const waitedBytes = from.socket.bufferedAmount
        t.ok(waitedBytes > roomBytes, `${waitedBytes} bytes wait where they come from`)
        t.equal(arrived(), 0)
        to.socket.resume()
        await until('all of it', () => arrived() === count, 120_000)
      })
      t.ok(mostBytes < roomBytes + 2 * audio.length, `${mostBytes} bytes waited`)
      client.send({ type: 'response.create' })
      await client.hears('response.done')
      client.socket.terminate()
    },
  )
}

t.test('a session that has said nothing is not waited for', async (t) => {
  const { url } = await FakeRealtime.start(t, { greets: false })
  const site = await startGovernor(t, { upstream: url, policies: POLICIES })
  const client = await RealtimeClient.open(site.url, site.key, RESPONSES)
  const stopped = site.governor.stop(120_000)
  t.match(await client.isClosed(), { code: 1011, reason: 'DRAINING' })
  await stopped
})
