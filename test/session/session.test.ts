import { EventEmitter } from 'node:events'

import t from 'tap'
import type { WebSocket } from 'ws'

import { openaiRealtime } from '../../src/dialect/openai-realtime.ts'
import { openai } from '../../src/dialect/openai.ts'
import { GovernorError } from '../../src/errors.ts'
import { type Facts, type Principal, type Route, Trail } from '../../src/exchange.ts'
import { parseEvent } from '../../src/session/events.ts'
import { Pulse } from '../../src/session/pulse.ts'
import { Session, type TurnStages } from '../../src/session/session.ts'
import type { TurnGuard } from '../../src/session/turn.ts'
import { until } from '../support/until.ts'

/**
 * Goal: a session that ends is settled in that turn of the event loop, whoever ended it and whatever was
 * under way, and neither side is read while the other takes nothing. Method: sockets moved by hand.
 */

/** A socket that does what `ws` says of it, and nothing by itself. */
class HandSocket extends EventEmitter {
  readonly OPEN = 1
  readonly CLOSED = 3
  readyState = 1
  isPaused = true
  bufferedAmount = 0
  readonly sent: string[] = []
  readonly did: string[] = []
  /** What waits until there is room. */
  readonly waiting: (() => void)[] = []

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }

  send(bytes: Buffer, _: object, sent: () => void): void {
    this.sent.push(bytes.toString())
    if (this.bufferedAmount === 0) sent()
    else this.waiting.push(sent)
  }

  ping(): void {
    this.did.push('ping')
  }

  close(code: number): void {
    this.did.push(`close ${code}`)
  }

  terminate(): void {
    this.did.push('terminate')
  }

  says(event: object): void {
    this.emit('message', Buffer.from(JSON.stringify(event)), false)
  }

  leaves(code: number): void {
    this.readyState = 3
    this.emit('close', code)
  }

  get ws(): WebSocket {
    return this as unknown as WebSocket
  }
}

const ROUTE: Route = {
  endpoint: openaiRealtime.endpoint,
  dialect: openai,
  mount: null,
  path: '/v1/realtime?model=m',
  pathModel: 'm',
}
const FACTS = { model: 'm', models: ['m'], uninspectable: [] } as unknown as Facts
const PRINCIPAL = { tenant: 'acme', keyId: 'k' } as unknown as Principal

interface Script {
  /** Decides for ever, until the session ends. */
  readonly decides?: boolean
  /** Resolves when the entry is on the disk. */
  readonly recorded?: Promise<void>
  readonly guard?: TurnGuard
  readonly idleMs?: number
}

function start({ decides = false, recorded, guard, idleMs = 60_000 }: Script = {}) {
  const [client, upstream] = [new HandSocket(), new HandSocket()]
  const trail = new Trail('session', 0, 0)
  trail.facts = FACTS
  trail.route = ROUTE
  const settled: string[] = []
  let isDraining = false
  const stages = (session: Session): TurnStages => ({
    begin: (turn) => (turn.trail = new Trail('turn', 0, 0)),
    match: () => ROUTE,
    authenticate: () => PRINCIPAL,
    admit: () => session.checkRoom(),
    read: async ({ bytes }) => {
      return { bytes, decoded: false, receivedBytes: bytes.length, receivedSha256: '' }
    },
    inspect: async () => FACTS,
    route: () => ({ name: 'up', dialect: 'openai' }),
    decide: async (_, __, turn) => {
      if (decides) {
        await turn.whilePresent(
          (signal) =>
            new Promise((_resolve, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason as Error))
            }),
        )
      }
      return { effect: 'allow', policy: null, message: '', policies: [], warnings: [] }
    },
    reserve: () => ({ states: [], how: 'memory', settle() {} }),
    rewrite: ({ bytes }) => bytes,
    record: async () => recorded,
    forward: async (permit, turn) => {
      if (guard !== undefined) turn.guard = guard
      await session.forward(turn, permit.bytes)
      turn.markSent()
    },
    relay: async (_, turn, about) => {
      about.ending = 'complete'
      if (turn.event?.produces !== true) return
      const { ending, error } = await turn.done
      about.ending = ending
      about.refusal = error ?? null
    },
    respond: (turn, _, error) => {
      turn.isRefused = true
      session.refuse(turn, error)
      turn.markSent()
    },
    settle: (turn, { ending }) => {
      settled.push(ending)
      turn.markSent()
    },
  })
  const session = new Session({
    trail,
    client: client.ws,
    upstream: upstream.ws,
    heard: [],
    reader: openaiRealtime,
    intake: { taken: () => 0, giveBack() {} },
    caller: { headers: {}, socket: {}, ip: '' } as never,
    peer: undefined,
    jsonDepth: 64,
    idleMs,
    filter: null,
    claims: null,
    stages,
    guard: () => null,
    isDraining: () => isDraining,
  })
  const run = session.run().then(() => settled.push('session'))
  const drain = (): void => {
    isDraining = true
    session.drain()
  }
  return { client, upstream, session, trail, settled, run, drain }
}

/** Lets everything happen that waits for nothing: no timer, no disk, no network. */
async function turns(count = 4): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const CREATE = { type: 'response.create' }
const CREATED = { type: 'response.created', response: { id: 'r' } }
const DELTA = { type: 'response.output_text.delta', response_id: 'r', delta: 'hi' }
const DONE = { type: 'response.done', response: { id: 'r', usage: { input_tokens: 1 } } }

type Parts = ReturnType<typeof start>
const ENDS: readonly [name: string, end: (parts: Parts) => void, ending: string][] = [
  ['the client says goodbye', ({ client }) => client.leaves(1000), 'client_closed'],
  ['the client is gone', ({ client }) => client.leaves(1006), 'client_closed'],
  ['the provider is gone', ({ upstream }) => upstream.leaves(1006), 'upstream_failed'],
  ['the provider says goodbye', ({ upstream }) => upstream.leaves(1000), 'client_closed'],
  [
    'its key is revoked',
    ({ session }) => session.interrupt(new GovernorError('AUTH_KEY_INVALID')),
    'incomplete',
  ],
]

for (const [name, end, ending] of ENDS) {
  t.test(`${name}: all is settled in that turn of the event loop`, async (t) => {
    const idle = start()
    end(idle)
    await turns(1)
    t.strictSame(idle.settled, ['session'], 'of an idle session')

    const asked = start()
    asked.client.says(CREATE)
    await turns()
    end(asked)
    await turns(1)
    t.strictSame(asked.settled, [ending, 'session'], 'while the provider thinks')

    const answered = start()
    answered.client.says(CREATE)
    await turns()
    answered.upstream.says(CREATED)
    answered.upstream.says(DELTA)
    await turns()
    end(answered)
    await turns(1)
    t.strictSame(answered.settled, [ending, 'session'], 'while it answers')
    for (const socket of [answered.client, answered.upstream]) {
      t.ok(socket.readyState === 3 || socket.did.length === 1, 'the other side hears of it')
    }
  })
}

t.test('an event that is being decided is given up with its client', async (t) => {
  const parts = start({ decides: true })
  parts.client.says(CREATE)
  await turns()
  t.ok(parts.client.isPaused, 'nothing is read meanwhile')
  parts.client.leaves(1006)
  await turns(1)
  t.strictSame(parts.settled, ['refused', 'session'])
  t.strictSame(parts.upstream.sent, [], 'the provider never saw it')
})

t.test('an event whose record comes after its client left is not sent', async (t) => {
  const disk = Promise.withResolvers<void>()
  const parts = start({ recorded: disk.promise })
  parts.client.says(CREATE)
  await turns()
  parts.client.leaves(1006)
  await turns()
  t.strictSame(parts.settled, [], 'the disk is waited for: the entry may be on it')
  disk.resolve()
  await turns(1)
  t.strictSame(parts.settled, ['refused', 'session'])
  t.strictSame(parts.upstream.sent, [])
})

t.test(
  'the provider is not read while the client takes nothing, and settled all the same',
  async (t) => {
    const guard: TurnGuard = { failure: null, pass: (event) => [event], flush: () => [] }
    for (const script of [{}, { guard }]) {
      const { client, upstream, settled, run } = start(script)
      client.says(CREATE)
      await turns()
      upstream.says(CREATED)
      await turns()
      t.notOk(upstream.isPaused)
      client.bufferedAmount = 1024 * 1024
      upstream.says(DONE)
      await turns()
      t.ok(upstream.isPaused, 'what comes next waits at the provider')
      t.strictSame(settled, ['complete'], 'what is over is settled')
      upstream.says(DELTA)
      await turns()
      t.equal(client.sent.length, 2, 'what had come with it waits here')
      client.bufferedAmount = 0
      for (const sent of client.waiting.splice(0)) sent()
      await turns()
      t.notOk(upstream.isPaused)
      t.equal(client.sent.length, 3)
      client.leaves(1000)
      await run
    }
  },
)

t.test('the client is not read while the provider takes nothing', async (t) => {
  const { client, upstream, run } = start()
  upstream.bufferedAmount = 1024 * 1024
  client.says({ type: 'input_audio_buffer.commit' })
  client.says({ type: 'input_audio_buffer.clear' })
  await turns()
  t.ok(client.isPaused)
  t.equal(upstream.sent.length, 1)
  upstream.bufferedAmount = 0
  for (const sent of upstream.waiting.splice(0)) sent()
  await turns()
  t.notOk(client.isPaused)
  t.equal(upstream.sent.length, 2)
  client.leaves(1006)
  await run
})

t.test('who takes nothing for as long as a session may be idle is given up', async (t) => {
  const { client, upstream, settled, run } = start({ idleMs: 20 })
  client.bufferedAmount = 1024 * 1024
  upstream.says({ type: 'session.created' })
  await until('it to be given up', () => client.did.includes('terminate'))
  client.leaves(1006)
  await run
  t.strictSame(settled, ['session'])
})

t.test(
  'a shutdown ends a session with what is under way in it, and takes nothing new',
  async (t) => {
    const { client, upstream, settled, run, drain } = start()
    client.says(CREATE)
    await turns()
    upstream.says(CREATED)
    await turns()
    drain()
    await turns()
    t.strictSame([settled, client.did], [[], []])
    upstream.says(DONE)
    await run
    t.strictSame(settled, ['complete', 'session'])
    t.strictSame([client.did, upstream.did], [['close 1001'], ['close 1000']])
  },
)

t.test(
  'a side that answers three pings with silence is gone; one that is not read is not asked',
  async (t) => {
    const [client, upstream] = [new HandSocket(), new HandSocket()]
    const over: string[] = []
    const pulse = new Pulse({
      client: client.ws,
      upstream: upstream.ws,
      idleMs: 300_000,
      startedMs: 0,
      over: (why) => over.push(why),
    })
    client.isPaused = upstream.isPaused = false
    for (const nowMs of [15_000, 30_000, 45_000]) {
      pulse.tick(nowMs)
      pulse.seen('upstream', nowMs)
    }
    t.strictSame(client.did, ['ping', 'ping', 'ping'])
    pulse.tick(45_001)
    t.ok(client.did.includes('terminate'))
    t.notOk(upstream.did.includes('terminate'))
    upstream.isPaused = true
    pulse.tick(200_000)
    t.notOk(upstream.did.includes('terminate'))
    t.strictSame(over, [])
    pulse.tick(300_001)
    t.strictSame(over, ['idle'], 'pings are no use of it')
    for (let nowMs = 300_000; nowMs <= 7_200_000; nowMs += 100_000) pulse.said('client', nowMs)
    pulse.tick(7_200_001)
    t.strictSame(over, ['idle', 'old'])
  },
)

t.test('a long message is read in turns, and says what a short one does', async (t) => {
  const output = Array.from({ length: 3000 }, (_, index) => ({
    id: `msg_${index}`,
    content: [{ text: 'x'.repeat(50), logprobs: Array.from({ length: 40 }, () => ({ a: 1 })) }],
  }))
  const usage = { input_tokens: 7, output_tokens: 9, input_token_details: { cached_tokens: 2 } }
  const event = { type: 'response.done', response: { id: 'resp_1', output, usage } }
  let [loops, isRead] = [0, false]
  const loop = (): void => {
    loops++
    if (!isRead) setImmediate(loop)
  }
  const read = parseEvent(Buffer.from(JSON.stringify(event)))
  t.ok(read instanceof Promise)
  loop()
  const message = await read
  isRead = true
  t.ok(loops > 1, `${loops} turns of the event loop`)
  const answers = openaiRealtime.answers()
  t.strictSame(answers(message!), openaiRealtime.answers()(event))
  const items = (message!['response'] as typeof event.response).output
  t.strictSame(
    items.map(({ id }) => id),
    output.map(({ id }) => id),
  )
  t.equal(await parseEvent(Buffer.from(`{"type":"${'x'.repeat(300_000)}"`)), null, 'no JSON')
  t.equal(await parseEvent(Buffer.from(`[${'1,'.repeat(200_000)}1]`)), null, 'no object')
  t.equal(parseEvent(Buffer.from('[]')), null)
})

/** With spaces, so that it is worth while. */
function long(text: string): Buffer {
  return Buffer.from(text + ' '.repeat(5000))
}

t.test('a piece of an answer is read in its bytes, and says what its whole text does', (t) => {
  const type = 'response.output_audio.delta'
  const pieces: readonly string[] = [
    `{"type":"${type}","response_id":"r","delta":"QUJD"}`,
    ` { "delta" : "${'a\\"b'.repeat(99)}\\\\" ,\n"n":-1.5e+3,"ok":true,"no":null, "type":"${type}" } `,
    `{"type":"${type}","response_id":"${'r'.repeat(300)}","delta":""}`,
    `{"type":"${type}","response_id":"r","type":"response.done"}`,
    `{"type":"${type}","response_id":"r","t\\u0079pe":"response.done"}`,
    `{"type":"${type}","response_id":"r\\u0041"}`,
    `{"type":"${type}","response_id":{"id":"r"}}`,
    `{"type":"${type}","response":{"id":"r"},"delta":"x"}`,
    `{"response_id":"r","delta":"x"}`,
    `{"type":"response.done","response":{"id":"r"}}`,
  ]
  for (const piece of pieces) {
    const read = openaiRealtime.answers()
    const message = parseEvent(long(piece)) as Record<string, unknown>
    t.strictSame(read(message), read(JSON.parse(piece) as Record<string, unknown>), piece)
  }
  for (const none of ['', '{', '{"type":"x.delta"', '{"type":"x.delta",}', '{"type":"x.delta"}}']) {
    t.equal(parseEvent(long(none)), null, none)
  }
  t.end()
})

t.test('what goes on as audio at a glance is what a parser takes for audio alone', async (t) => {
  const audio = 'QUJD'.repeat(20)
  const event = { type: 'input_audio_buffer.append', audio }
  const event_id = 'event_0f3b2c1d-0000-4000-8000-00aa11bb22cc'
  const plain = [event, { audio, type: event.type }, { event_id, ...event }]
  for (const each of plain) t.ok(openaiRealtime.isPlainAudio!(Buffer.from(JSON.stringify(each))))
  const other = [
    { ...event, event_id: 'zeus' },
    { ...event, event_id: 7 },
    { ...event, audio: 'zeus' },
    { ...event, audio: `${audio} zeus` },
    { ...event, more: 'zeus' },
    { ...event, more: 1 },
    { ...event, type: 'input_audio_buffer.appendix' },
  ]
  const whole = JSON.stringify({ event_id, ...event })
  const twice = [`,"audio":"${audio}"}`, `,"type":"${event.type}"}`, `,"event_id":"${event_id}"}`]
  const texts = [
    ...other.map((each) => JSON.stringify(each)),
    ...twice.map((more) => whole.slice(0, -1) + more),
  ]
  for (const text of texts) t.notOk(openaiRealtime.isPlainAudio!(Buffer.from(text)), text)
  // Whatever one byte of it becomes, nothing is taken for audio that is not.
  for (let at = 0; at < whole.length; at++) {
    for (const byte of [0x22, 0x5c, 0x7d, 0x2c, 0x20, 0x41, 0x00]) {
      const bytes = Buffer.from(whole)
      bytes[at] = byte
      if (!openaiRealtime.isPlainAudio!(bytes)) continue
      const read = await openaiRealtime.read(bytes, { jsonDepth: 8 }).catch(() => null)
      if (read?.isAudioOnly !== true) t.fail(`${at} as ${byte}`)
    }
  }
})
