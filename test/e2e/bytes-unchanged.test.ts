import { hash } from 'node:crypto'

import t from 'tap'

import { writeFrame } from '../../src/dialect/bedrock-frames.ts'
import { Random, randomTree } from '../dialect/random.ts'
import { FakeUpstream } from '../support/fake-upstream.ts'
import { startGovernor } from '../support/start-governor.ts'

/**
 * Goal: with `usage: observe` and no policy that edits, not a byte of a call is changed, whatever the
 * provider. Method: random JSON and random event streams, cut at random places; SHA-256 on both sides
 * and in the audit.
 */

interface Provider {
  /** Of a whole answer, and of a streamed one. */
  readonly paths: readonly [string, string]
  readonly body: (stream: boolean) => object
  readonly type: string
  /** One event of a stream that says `data`, before its line ends. */
  readonly event: (data: string) => string | Buffer
  /** What ends a stream. */
  readonly end: string | Buffer
  /** Line ends that its event streams may have; none where they are frames. */
  readonly lineEnds: readonly string[]
}

const messages = [{ role: 'user', content: 'hé \u{1f600} \\ "q" \u2028' }]
const LINE_ENDS = ['\n', '\r\n', '\r']
const CHAT: Omit<Provider, 'paths'> = {
  body: (stream) => ({ model: 'm-1', messages, stream }),
  type: 'text/event-stream',
  event: (data) => `data: ${data}`,
  end: 'data: [DONE]',
  lineEnds: LINE_ENDS,
}
const DEPLOYMENT = '/openai/deployments/m-1/chat/completions?api-version=2024-10-21'

const frame = (type: string, payload: string) =>
  writeFrame(
    { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    payload,
  )

const PROVIDERS: Readonly<Record<string, Readonly<Record<string, Provider>>>> = {
  openai: {
    'chat completions': { ...CHAT, paths: ['/v1/chat/completions', '/v1/chat/completions'] },
    responses: {
      ...CHAT,
      paths: ['/v1/responses', '/v1/responses'],
      body: (stream) => ({ model: 'm-1', input: messages, stream }),
      event: (data) => `event: response.thing\ndata: ${data}`,
      end: 'event: response.completed\ndata: {"type":"response.completed","response":{}}',
    },
    completions: {
      ...CHAT,
      paths: ['/v1/completions', '/v1/completions'],
      body: (stream) => ({ model: 'm-1', prompt: 'hé', stream }),
    },
  },
  'azure-openai': { 'chat completions': { ...CHAT, paths: [DEPLOYMENT, DEPLOYMENT] } },
  anthropic: {
    messages: {
      paths: ['/v1/messages', '/v1/messages?beta=true'],
      body: (stream) => ({ model: 'm-1', max_tokens: 9, messages, stream }),
      type: 'text/event-stream; charset=utf-8',
      event: (data) => `event: content_block_delta\ndata: ${data}`,
      end: 'event: message_stop\ndata: {"type": "message_stop" }',
      lineEnds: LINE_ENDS,
    },
  },
  gemini: {
    contents: {
      paths: [
        '/v1beta/models/m-1:generateContent',
        '/v1beta/models/m-1:streamGenerateContent?alt=sse',
      ],
      body: () => ({ contents: [{ role: 'user', parts: [{ text: 'hé \u{1f600}' }] }] }),
      type: 'text/event-stream',
      event: (data) => `data: ${data}`,
      end: 'data: {"candidates":[{"finishReason":"STOP"}]}',
      lineEnds: LINE_ENDS,
    },
  },
  ollama: {
    chat: {
      paths: ['/api/chat', '/api/chat'],
      body: (stream) => ({ model: 'm-1', messages, stream }),
      type: 'application/x-ndjson',
      event: (data) => data,
      end: '{"done": true}',
      lineEnds: ['\n'],
    },
  },
  bedrock: {
    converse: {
      paths: ['/model/m-1/converse', '/model/m-1/converse-stream'],
      body: () => ({ messages: [{ role: 'user', content: [{ text: 'hé \u{1f600}' }] }] }),
      type: 'application/vnd.amazon.eventstream',
      event: (data) => frame('contentBlockDelta', data),
      end: Buffer.concat([
        frame('messageStop', '{ "stopReason":"end_turn"}'),
        frame('metadata', '{"usage":{}}'),
      ]),
      lineEnds: [],
    },
  },
}

/** A call, as the audit has to have it. */
interface Call {
  readonly id: string
  readonly what: string
  readonly sent: { readonly bytes: number; readonly sha256: string }
  readonly answerBytes: number
}

const ROUNDS = 20
const POLICIES = `
  - { id: all, allow: { operations: ['*'], models: ['*'] } }
  - { id: words, deny: { input: { words: [zebra] } } }`

/** JSON as no two programs write it: other white space, other escapes, numbers as they come. */
function written(value: object, random: Random): string {
  const text = JSON.stringify(value, null, random.pick([undefined, 1, '\t', ' \n ']))
  const odd = text.slice(0, -1) + random.pick(['', ' ', '\r\n\t'])
  const members = random.pick([
    '',
    ', "odd" : 1.50e+02',
    ',"odd":-0',
    String.raw`,"odd":"\u0041\/\ud83d\ude00"`,
  ])
  return random.pick(['', ' ', '\n']) + odd + members + random.pick(['}', ' }', '}\n'])
}

function cut(bytes: Buffer, random: Random): Buffer[] {
  const cuts = Array.from({ length: random.below(9) }, () => random.below(bytes.length))
  const places = [0, ...cuts.toSorted((one, other) => one - other), bytes.length]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

function streamBytes({ event, end, lineEnds }: Provider, random: Random): Buffer {
  const events = Array.from({ length: 1 + random.below(8) }, () =>
    event(JSON.stringify({ odd: randomTree(random, 2) })),
  )
  const isSse = lineEnds.length > 1
  if (lineEnds.length === 0) return Buffer.concat([...events, end].map((each) => Buffer.from(each)))
  const text = [...events, ...(isSse ? [': comment', 'id: 1\nretry: 5\ndata: x'] : []), end]
    .map((each) => {
      const line = random.pick(lineEnds)
      return String(each).replaceAll('\n', line) + line.repeat(isSse ? 2 : 1)
    })
    .join('')
  return Buffer.from(text)
}

for (const [dialect, endpoints] of Object.entries(PROVIDERS)) {
  t.test(`${dialect}: not a byte is changed`, async (t) => {
    const upstream = await FakeUpstream.start(t)
    const site = await startGovernor(t, {
      dialect,
      policies: POLICIES,
      usage: 'observe',
      upstream: upstream.url,
    })
    const calls: Call[] = []
    for (const [name, provider] of Object.entries(endpoints)) {
      const random = new Random(Buffer.from(dialect + name).reduce((sum, byte) => sum + byte, 0))
      for (let round = 0; round < ROUNDS; round++) {
        const stream = random.below(3) > 0
        const extra = { odd_things: randomTree(random, 2) }
        const body = written({ ...provider.body(stream), ...extra }, random)
        const said = stream
          ? streamBytes(provider, random)
          : Buffer.from(written({ id: 'x', ...extra, more: randomTree(random, 3) }, random))
        upstream.behaviour = async (_received, response) => {
          const type = stream ? provider.type : 'application/json'
          response.writeHead(200, { 'content-type': type })
          for (const piece of cut(said, random)) {
            response.write(piece)
            await new Promise((resolve) => setImmediate(resolve))
          }
          response.end()
        }
        const path = provider.paths[stream ? 1 : 0]
        const answer = await site.send({ path, body })
        const what = `${name} ${round}`
        t.equal(answer.status, 200, `${what}: ${answer.text.slice(0, 300)}`)
        t.equal(answer.headers['x-governor-changed'], undefined, what)
        t.equal(hash('sha256', answer.bytes), hash('sha256', said), `${what}, the answer`)
        const sent = { bytes: Buffer.byteLength(body), sha256: hash('sha256', body) }
        t.equal(upstream.last?.sha256, sent.sha256, `${what}, the request`)
        t.equal(upstream.last?.path, path)
        const id = String(answer.headers['x-governor-request-id'])
        calls.push({ id, what, sent, answerBytes: said.length })
      }
    }
    // Outcomes are written in order, so that the last one is there when all are.
    await site.entriesOf(calls.at(-1)!.id, 2)
    const entries = Map.groupBy(site.entries(), ({ requestId }) => requestId)
    for (const { id, what, sent, answerBytes } of calls) {
      const [decision, outcome] = entries.get(id) ?? []
      t.strictSame(decision?.body['received'], sent, `${what}, the audit`)
      t.strictSame(decision?.body['forwarded'], { sha256: sent.sha256 })
      t.match(outcome?.body, { outcome: 'complete', answer_bytes: answerBytes })
    }
  })
}

t.test('where usage is asked for, that and its answer are all that is changed', async (t) => {
  const upstream = await FakeUpstream.start(t)
  const site = await startGovernor(t, {
    policies: POLICIES,
    usage: 'ask',
    upstream: upstream.url,
  })
  const random = new Random(7)
  const { openai: endpoints = {} } = PROVIDERS
  for (const name of ['chat completions', 'completions']) {
    const provider = endpoints[name]!
    for (let round = 0; round < ROUNDS; round++) {
      const body = written({ ...provider.body(true), odd_things: randomTree(random, 2) }, random)
      const said = streamBytes(provider, random).toString()
      const usage = `data: {"id":"u","choices":[], "usage":{"prompt_tokens":3}}\n\n`
      // Before the mark that ends the stream, as OpenAI has it; line ends are those of the stream.
      const at = said.lastIndexOf('data: [DONE]')
      const pieces = cut(Buffer.from(said.slice(0, at) + usage + said.slice(at)), random)
      upstream.behaviour = async (_received, response) => {
        response.writeHead(200, { 'content-type': provider.type })
        for (const piece of pieces) {
          response.write(piece)
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      }
      const answer = await site.send({ path: provider.paths[1], body })
      const what = `${name} ${round}`
      t.equal(answer.headers['x-governor-changed'], 'usage', what)
      t.equal(answer.text, said, `${what}, the answer`)
      const sent = upstream.last!.body.toString()
      const asked = /\s*,?\s*"stream_options":\{"include_usage":true\},?/.exec(sent)
      t.equal(sent.replace(asked?.[0] ?? '', ''), body, `${what}, the request`)
    }
  }
})
