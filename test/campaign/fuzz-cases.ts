import type { Seeded } from '../support/seeded.ts'

/**
 * What a fuzz campaign sends: requests that are nearly right. A case is made from its number and the
 * seed alone, so that it can be made again.
 */

export const KINDS = ['framing', 'json', 'form', 'stream', 'answer'] as const
export type Kind = (typeof KINDS)[number]

/** The word that policy refuses: no body that has it may reach the provider. */
export const FORBIDDEN = 'zebra'

export interface FuzzCase {
  readonly number: number
  readonly kind: Kind
  /** Bytes that the client sends, in pieces. */
  readonly sent: readonly Buffer[]
  /** What the client does when all is sent. */
  readonly finally: 'wait' | 'end' | 'leave'
  /** What the provider answers; absent where it answers as usual. */
  readonly answer?: Answering
}

/** A provider's answer: pieces of an event stream, or of bytes that are nearly HTTP. */
export interface Answering {
  readonly pieces: readonly Buffer[]
  readonly ends: 'end' | 'reset'
}

/** The case of this number. */
export function makeCase(number: number, key: string, random: Seeded): FuzzCase {
  const kind = random.pick(KINDS)
  if (kind === 'framing') return framingCase(number, key, random)
  if (kind === 'json') {
    const body = mutated(jsonBody(number, random), JSON_BITS, random, whole(random, 0, 3))
    return { number, kind, sent: split(post(body, key), random), finally: 'wait' }
  }
  if (kind === 'form') return formCase(number, key, random)
  const body = Buffer.from(JSON.stringify({ ...chat(number, 'hi'), stream: kind === 'stream' }))
  const path = kind === 'answer' ? '/raw/v1/chat/completions' : undefined
  const bytes = kind === 'stream' ? streamBytes(random) : answerBytes(random)
  const ends = random.next() < 0.2 ? 'reset' : 'end'
  const answer = { pieces: split(bytes, random), ends } as const
  return { number, kind, sent: [post(body, key, path)], finally: leaving(random), answer }
}

function framingCase(number: number, key: string, random: Seeded): FuzzCase {
  const requests = Array.from({ length: random.pick([1, 1, 2, 3]) }, (_value, index) =>
    request(number * 4 + index, key, random),
  )
  const bytes = mutated(Buffer.concat(requests), FRAMING_BITS, random, whole(random, 1, 6))
  const how = random.pick(['wait', 'end', 'leave', 'leave'] as const)
  return { number, kind: 'framing', sent: split(bytes, random), finally: how }
}

/** A transcription with a prompt, or a batch file of requests. */
function formCase(number: number, key: string, random: Seeded): FuzzCase {
  const boundary = random.pick(['x', `----fuzz${number}`, "a'b+d_e-f.g"])
  const text = random.next() < 0.5 ? `a ${FORBIDDEN}` : 'a plain question'
  const isBatch = random.next() < 0.4
  const lines = [chat(number, 'hi'), chat(number, text)].map((body, index) =>
    JSON.stringify({ custom_id: `c${index}`, method: 'POST', url: '/v1/chat/completions', body }),
  )
  const parts = isBatch
    ? [field('purpose', 'batch'), file('lines.jsonl', 'application/jsonl', lines.join('\n'))]
    : [field('model', 'whisper-1'), field('prompt', text), file('a.wav', 'audio/wav', 'RIFF\r\n-')]
  const whole = [...parts, ...(random.next() < 0.1 ? [field('prompt', text)] : [])]
    .map((part) => `--${boundary}\r\n${part}\r\n`)
    .join('')
  const form = Buffer.from(`${whole}--${boundary}--\r\n`)
  const body = mutated(
    form,
    [...FORM_BITS, `--${boundary}`],
    random,
    random.pick([0, 0, 0, 1, 1, 2]),
  )
  const path = isBatch ? '/v1/files' : '/v1/audio/transcriptions'
  const named = random.next() < 0.1 ? `"${boundary}"` : boundary
  const sent = post(body, key, path, `multipart/form-data; boundary=${named}`)
  return { number, kind: 'form', sent: split(sent, random), finally: 'wait' }
}

function field(name: string, value: string): string {
  return `Content-Disposition: form-data; name="${name}"\r\n\r\n${value}`
}

function file(filename: string, type: string, content: string): string {
  const disposition = `Content-Disposition: form-data; name="file"; filename="${filename}"`
  return `${disposition}\r\nContent-Type: ${type}\r\n\r\n${content}`
}

/** Some clients leave in the middle of an answer. */
function leaving(random: Seeded): FuzzCase['finally'] {
  return random.next() < 0.1 ? 'leave' : 'wait'
}

function chat(serial: number, content: string) {
  return { seed: serial, model: 'gpt-4o', messages: [{ role: 'user', content }] }
}

function post(
  body: Buffer,
  key: string,
  path = '/v1/chat/completions',
  type = 'application/json',
): Buffer {
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: fuzz',
    `authorization: Bearer ${key}`,
    `content-type: ${type}`,
    `content-length: ${body.length}`,
    '',
    '',
  ].join('\r\n')
  return Buffer.concat([Buffer.from(head), body])
}

function request(serial: number, key: string, random: Seeded): Buffer {
  const content = random.next() < 0.3 ? `about a ${FORBIDDEN}` : 'hi'
  const body = Buffer.from(JSON.stringify(chat(serial, content)))
  const form = random.next()
  if (form < 0.2) {
    return Buffer.from(
      `GET /v1/models HTTP/1.1\r\nhost: fuzz\r\nauthorization: Bearer ${key}\r\n\r\n`,
    )
  }
  if (form < 0.6) return post(body, key)
  const at = whole(random, 1, body.length - 1)
  const chunks = [body.subarray(0, at), body.subarray(at)]
    .map((chunk) => `${chunk.length.toString(16)}\r\n${chunk.toString('latin1')}\r\n`)
    .join('')
  const head = post(body, key)
    .toString('latin1')
    .replace(/content-length: \d+\r\n[^]*/, 'transfer-encoding: chunked\r\n\r\n')
  return Buffer.from(`${head}${chunks}0\r\n\r\n`, 'latin1')
}

/** A call with the odd things that JSON can say; half of them name what is forbidden. */
function jsonBody(serial: number, random: Seeded): Buffer {
  const text = random.next() < 0.5 ? random.pick(HIDDEN) : '"a plain question"'
  const content = random.pick([
    text,
    `[{"type":"text","text":${text}}]`,
    `[{"type":"text","text":"a"},{"type":"text","text":${text}}]`,
  ])
  const extra = random.pick([
    '',
    `,"metadata":{"a":${text}}`,
    `,"metadata":{${text}:"a"}`,
    `,"stop":[${text}]`,
    `,"tools":[{"type":"function","function":{"name":"a","description":${text}}}]`,
    `,"x_${serial}":${nested(text, random)}`,
    `,"temperature":1e-0,"n":1,"user":${text}`,
    `,"model":"gpt-4o"`,
    `,"Messages":[{"role":"user","content":${text}}]`,
  ])
  return Buffer.from(
    `{"seed":${serial},"model":"gpt-4o","messages":[{"role":"user","content":${content}}]${extra}}`,
  )
}

const HIDDEN = [
  `"a ${FORBIDDEN}"`,
  `"${FORBIDDEN}"`,
  String.raw`"\u007aebra"`,
  String.raw`"a \"\u007A\u0065bra\" \ud83d\ude00"`,
  `"\u{1f600} ${FORBIDDEN}, é"`,
  `"${'word '.repeat(500)}${FORBIDDEN}"`,
]

function nested(text: string, random: Seeded): string {
  const depth = random.pick([1, 3, 20, 62, 63, 64, 65, 200])
  const isList = random.next() < 0.5
  const [open, close] = isList ? ['[', ']'] : ['{"a":', '}']
  return open.repeat(depth) + text + close.repeat(depth)
}

const event = (content: string) =>
  `data: {"id":"c","choices":[{"index":0,"delta":{"content":"${content}"},"finish_reason":null}]}`

function streamBytes(random: Seeded): Buffer {
  const end = random.pick(['\n\n', '\r\n\r\n', '\r\r', '\n\r\n'])
  const events = Array.from({ length: whole(random, 1, 12) }, () =>
    random.pick([
      event('a'),
      event('é \u{1f600}'),
      ': a comment',
      'event: ping\ndata: {}',
      'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}',
      'id: 7\nretry: 10\ndata: a\ndata: b',
      `data: "${'x'.repeat(70_000)}"`,
      '',
    ]),
  )
  if (random.next() < 0.7) events.push('data: [DONE]')
  const bytes = Buffer.from(events.map((each) => each + end).join(''))
  return mutated(bytes, STREAM_BITS, random, random.pick([0, 0, 1, 2, 5]))
}

function answerBytes(random: Seeded): Buffer {
  const body = '{"id":"c","choices":[{"index":0,"message":{"content":"hi"}}]}'
  const head = random.pick([
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${event('a')}\n\ndata: [DONE]\n\n`,
    `HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}`,
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n`,
    `HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n`,
    `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  ])
  return mutated(Buffer.from(head), FRAMING_BITS, random, random.pick([0, 1, 2, 4]))
}

const FRAMING_BITS = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  ' ',
  '\t',
  '\0',
  '\x0b',
  ':',
  '0\r\n\r\n',
  'ffffffffffffffff\r\n',
  'transfer-encoding: chunked\r\n',
  'transfer-encoding: identity\r\n',
  'content-length: 5\r\n',
  'content-length: 0\r\n',
  'content-encoding: gzip\r\n',
  'connection: close, authorization\r\n',
  'expect: 100-continue\r\n',
  'upgrade: h2c\r\n',
  'upgrade: websocket\r\nconnection: upgrade\r\n',
  'x-stainless-a: b\r\n c\r\n',
  'GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n',
  ' HTTP/1.0',
  'HEAD ',
  '%2f',
  '/../',
  'é',
]
const JSON_BITS = [
  '"',
  '\\',
  '\\u00',
  '\\ud800',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\0',
  '\xff',
  '\xc0\x80',
  'null',
  '1e999',
  '-',
  '"model":"gpt-5",',
  '"messages":[],',
  '"stream":true,',
  '/*a*/',
  '\ufeff',
  FORBIDDEN,
]
const FORM_BITS = [
  '\r\n',
  '\n',
  '\r',
  '--',
  '\r\n\r\n',
  '"',
  '\\',
  ';',
  ' ',
  '\0',
  '\xff',
  'filename="a"',
  'name="prompt"',
  "name*=utf-8''prompt",
  'Content-Transfer-Encoding: base64\r\n',
  'Content-Type: text/plain; charset=utf-16\r\n',
  'Content-Disposition: form-data; name="prompt"\r\n',
]
const STREAM_BITS = [
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  'data:',
  'data: [DONE]\n\n',
  '\0',
  '\xff',
  '{',
  '"',
]

/** Some bytes altered, put in, taken out, doubled or cut off. */
export function mutated(
  bytes: Buffer,
  bits: readonly string[],
  random: Seeded,
  times: number,
): Buffer {
  let result = bytes
  for (let time = 0; time < times; time++) {
    const at = whole(random, 0, result.length)
    const length = whole(random, 0, Math.min(16, result.length - at))
    const [before, after] = [result.subarray(0, at), result.subarray(at)]
    const kind = random.next()
    if (kind < 0.45)
      result = Buffer.concat([before, Buffer.from(random.pick(bits), 'latin1'), after])
    else if (kind < 0.6) result = Buffer.concat([before, after.subarray(length)])
    else if (kind < 0.75) result = Buffer.concat([before, after.subarray(0, length), after])
    else if (kind < 0.95) {
      result = Buffer.from(result)
      if (at < result.length) result[at] = result[at]! ^ (1 << whole(random, 0, 7))
    } else result = before
  }
  return result
}

/** The same bytes in up to six pieces. */
export function split(bytes: Buffer, random: Seeded): Buffer[] {
  const cuts = Array.from({ length: whole(random, 0, 5) }, () => whole(random, 0, bytes.length))
  const places = [0, ...cuts.toSorted((one, other) => one - other), bytes.length]
  return places
    .slice(1)
    .map((end, index) => bytes.subarray(places[index], end))
    .filter((piece) => piece.length > 0)
}

/** A whole number from `least` to `most`. */
export function whole(random: Seeded, least: number, most: number): number {
  return Math.floor(random.between(least, most + 1))
}
