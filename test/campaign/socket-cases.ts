import { deflateRawSync } from 'node:zlib'

import type { Seeded } from '../support/seeded.ts'
import { FORBIDDEN, mutated, split, whole } from './fuzz-cases.ts'

/**
 * What a fuzz of sockets sends: upgrades, frames (RFC 6455 §5.2) and events that are nearly right. A case is
 * made from its number and the seed alone, so that it can be made again.
 */

export const SOCKET_KINDS = ['upgrade', 'frames', 'events', 'answers'] as const
export type SocketKind = (typeof SOCKET_KINDS)[number]

export interface SocketCase {
  readonly number: number
  readonly kind: SocketKind
  /** Bytes that the client sends, in pieces. */
  readonly sent: readonly Buffer[]
  /** It listens for a while and leaves; else it ends its side at once. */
  readonly leaves: boolean
  /** Raw bytes of the provider, right after it agreed; none where it answers as usual. */
  readonly says: readonly Buffer[]
}

const LIVE = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent'
const PATHS = ['/v1/realtime?model=gpt-realtime', '/v1/responses', LIVE] as const
type Path = (typeof PATHS)[number]

/** The case of this number. */
export function makeSocketCase(number: number, key: string, random: Seeded): SocketCase {
  const kind = random.pick(SOCKET_KINDS)
  const path = random.pick(PATHS)
  const leaves = random.next() < 0.8
  const head = upgrade(path, key, kind === 'upgrade' ? random : null)
  const events = eventsFor(path, random)
  const bytes = kind === 'events' ? mutatedEvents(events, random) : framed(events, kind, random)
  const sent = split(Buffer.concat([head, bytes]), random)
  const says = kind === 'answers' ? [answers(random)] : []
  return { number, kind, sent, leaves, says }
}

/** The head of an upgrade; with `random` not quite. */
function upgrade(path: Path, key: string, random: Seeded | null): Buffer {
  const lines = [
    `GET ${path} HTTP/1.1`,
    'host: governor',
    'connection: Upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
    `authorization: Bearer ${key}`,
  ]
  if (random !== null) {
    lines.push(...Array.from({ length: whole(random, 0, 3) }, () => random.pick(HEAD_LINES)))
    if (random.next() < 0.3) lines.splice(whole(random, 1, lines.length - 1), 1)
  }
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
  return random !== null && random.next() < 0.5 ? mutated(head, HEAD_BITS, random, 2) : head
}

const HEAD_LINES = [
  'sec-websocket-extensions: permessage-deflate',
  'sec-websocket-extensions: permessage-deflate; client_max_window_bits=8; server_no_context_takeover',
  `sec-websocket-extensions: ${'x-a, '.repeat(200)}x-a`,
  'sec-websocket-extensions: permessage-deflate; server_max_window_bits=99',
  'sec-websocket-protocol: realtime, openai-insecure-api-key.x.y',
  'sec-websocket-protocol: ,,',
  'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-version: 8',
  'content-length: 5',
  'transfer-encoding: chunked',
  'upgrade: h2c',
  'expect: 100-continue',
]
const HEAD_BITS = ['\r\n', '\0', 'upgrade', ',', '?', '&model=x', '//', '%2f', ': ', 'HTTP/1.0']

function eventsFor(path: Path, random: Seeded): readonly string[] {
  const text = random.next() < 0.4 ? `a ${FORBIDDEN}` : 'a plain question'
  if (path === LIVE) {
    const turns = [{ role: 'user', parts: [{ text }] }]
    return [
      { setup: { model: 'models/gemini-live' } },
      { clientContent: { turns, turnComplete: true } },
      { realtimeInput: { text } },
      { toolResponse: { functionResponses: [{ id: 'c', name: 'f', response: { a: text } }] } },
    ].map((event) => JSON.stringify(event))
  }
  if (path === '/v1/responses') {
    return [
      { type: 'response.create', model: 'gpt-5', input: 'hi' },
      { type: 'response.create', model: 'gpt-5', input: [{ role: 'user', content: text }] },
      { type: 'response.steer', previous_response_id: 'resp_1', input: text },
    ].map((event) => JSON.stringify(event))
  }
  const content = [{ type: 'input_text', text }]
  return [
    { type: 'session.update', session: { type: 'realtime', instructions: text } },
    { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } },
    { type: 'response.create', event_id: 'e' },
  ].map((event) => JSON.stringify(event))
}

/** Events that are nearly right, in frames that are. */
function mutatedEvents(events: readonly string[], random: Seeded): Buffer {
  return Buffer.concat(
    events.map((event) => {
      const bytes = mutated(Buffer.from(event), EVENT_BITS, random, random.pick([0, 0, 1, 1, 2, 4]))
      return frame({ payload: bytes, opcode: random.next() < 0.95 ? 1 : 2 })
    }),
  )
}

const EVENT_BITS = [
  FORBIDDEN,
  '"type":"response.create",',
  '"model":"other",',
  '{',
  '}',
  '[',
  '\\u0000',
  '\\ud800',
  '\xff',
  '\xed\xa0\x80',
  '"session":{"model":"x"}',
  '"setup":{}',
  '1e999',
  '"__proto__":{},',
  '\ufeff',
  '/**/',
]

/** Frames that are nearly right: pieces, control frames between them, what no client may send. */
function framed(events: readonly string[], kind: SocketKind, random: Seeded): Buffer {
  const frames = events.flatMap((event) => {
    const payload = Buffer.from(event)
    if (kind !== 'frames') return [frame({ payload, opcode: 1 })]
    const pieces = split(payload, random)
    return pieces.flatMap((piece, index) => {
      const isLast = index === pieces.length - 1
      const own = frame({ payload: piece, opcode: index === 0 ? 1 : 0, fin: isLast })
      return random.next() < 0.3 ? [own, control(random)] : [own]
    })
  })
  if (kind !== 'frames') return Buffer.concat(frames)
  if (random.next() < 0.5) frames.splice(whole(random, 0, frames.length), 0, odd(random))
  const bytes = Buffer.concat(frames)
  return random.next() < 0.3 ? mutated(bytes, FRAME_BITS, random, whole(random, 1, 3)) : bytes
}

const FRAME_BITS = ['\x81\x80', '\x88\x80', '\x89\xfe', '\xff', '\0\0\0\0', '\x81\xff\xff\xff']

/** A ping, a pong, or a goodbye with a code that may or may not be one (§7.4). */
function control(random: Seeded): Buffer {
  const opcode = random.pick([9, 9, 10, 10, 8])
  const code = Buffer.alloc(2)
  code.writeUInt16BE(random.pick([1000, 1001, 1005, 1006, 1008, 1015, 2999, 3000, 4999, 0, 65_535]))
  const payload = opcode === 8 ? Buffer.concat([code, Buffer.from('bye')]) : Buffer.from('are you')
  return frame({ payload, opcode })
}

/** A frame that no client may send, or nearly so. */
function odd(random: Seeded): Buffer {
  const payload = Buffer.from('{"type":"response.create"}')
  return random.pick([
    () => frame({ payload, opcode: 1, masked: false }),
    () => frame({ payload, opcode: whole(random, 3, 15) }),
    () => frame({ payload, opcode: 1, reserved: whole(random, 1, 7) }),
    () => frame({ payload: deflateRawSync(payload), opcode: 1, reserved: 4 }),
    () => frame({ payload, opcode: 1, length: 2 ** 40 }),
    () => frame({ payload, opcode: 1, length: 2 ** 53 }),
    () => frame({ payload, opcode: 1, length: 2 ** 31 }),
    () => frame({ payload: Buffer.alloc(126), opcode: 9 }),
    () => frame({ payload, opcode: 9, fin: false }),
    () => frame({ payload: Buffer.from([0x03]), opcode: 8 }),
    () => frame({ payload: Buffer.from([0x22, 0xff, 0xfe, 0x22]), opcode: 1 }),
    () => frame({ payload: Buffer.alloc(0), opcode: 0 }),
    () => frame({ payload: Buffer.alloc(0), opcode: 1 }),
  ])()
}

/** What a provider says that is nearly right: events, frames, or neither. */
function answers(random: Seeded): Buffer {
  const id = 'resp_own'
  const events = [
    { type: 'session.created', session: { id: 's' } },
    { type: 'response.created', response: { id } },
    { type: 'response.output_text.delta', response_id: id, delta: 'a blue' },
    { type: 'response.output_text.delta', response_id: id, delta: 'bird' },
    { type: 'response.done', response: { id, usage: { input_tokens: 1e300 } } },
    { serverContent: { modelTurn: { parts: [{ text: 'a blue' }] } } },
    { serverContent: { turnComplete: true }, usageMetadata: { promptTokenCount: -1 } },
  ]
  const said = events.map((event) => {
    const bytes = mutated(
      Buffer.from(JSON.stringify(event)),
      EVENT_BITS,
      random,
      random.pick([0, 0, 1]),
    )
    return frame({ payload: bytes, opcode: random.pick([1, 1, 1, 2]), masked: false })
  })
  const bytes = Buffer.concat(said)
  return random.next() < 0.5 ? bytes : mutated(bytes, FRAME_BITS, random, whole(random, 1, 3))
}

interface Frame {
  readonly payload: Buffer
  readonly opcode: number
  readonly fin?: boolean
  readonly masked?: boolean
  /** RSV1, RSV2, RSV3 as three bits. */
  readonly reserved?: number
  /** What it says its length is, where that is not so. */
  readonly length?: number
}

const MASK = Buffer.from([0x12, 0x34, 0x56, 0x78])

function frame({
  payload,
  opcode,
  fin = true,
  masked = true,
  reserved = 0,
  length,
}: Frame): Buffer {
  const said = length ?? payload.length
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  const bit = masked ? 0x80 : 0
  let head = Buffer.from([first, bit | said])
  if (said > 65_535) {
    head = Buffer.alloc(10)
    head[0] = first
    head[1] = bit | 127
    head.writeBigUInt64BE(BigInt(said), 2)
  } else if (said > 125) {
    head = Buffer.alloc(4)
    head[0] = first
    head[1] = bit | 126
    head.writeUInt16BE(said, 2)
  }
  if (!masked) return Buffer.concat([head, payload])
  const hidden = Buffer.from(payload.map((byte, index) => byte ^ MASK[index % 4]!))
  return Buffer.concat([head, MASK, hidden])
}
