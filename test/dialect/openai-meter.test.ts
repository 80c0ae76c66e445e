import t from 'tap'

import { openai } from '../../src/dialect/openai.ts'
import type { Facts, Meter, Usage } from '../../src/exchange.ts'

const FACTS: Facts = {
  model: 'm',
  models: ['m'],
  stream: true,
  maxOutputTokens: null,
  tools: [],
  texts: { values: [], pointer: String },
  inputChars: 0,
  uninspectable: [],
  askUsage: null,
}

function meter(path: string, asked = false): Meter {
  const found = openai.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(path)
  const route = { endpoint: found.endpoint, dialect: openai, mount: null, path, pathModel: null }
  return openai.meter(route, FACTS, asked)
}

const CHAT = '/v1/chat/completions'
const RESPONSES = '/v1/responses'

function relay(path: string, asked: boolean, chunks: readonly Buffer[]) {
  const each = meter(path, asked)
  const out = chunks.map((chunk) => Buffer.from(each.chunk(chunk)))
  const text = Buffer.concat([...out, each.flush()]).toString()
  return { text, usage: each.usage, complete: each.complete }
}

const chunkOf = (delta: string, usage = 'null') =>
  `data: {"id":"chatcmpl-1","model":"gpt-4o-2024","choices":[{"delta":{"content":"${delta}"}}],` +
  `"usage":${usage}}\n\n`
const FIGURES =
  '{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,' +
  '"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}'
const EXTRA = `data: {"id":"chatcmpl-1","model":"gpt-4o-2024","choices":[],"usage":${FIGURES}}\n\n`
const FILTER = 'data: {"id":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
const DONE = 'data: [DONE]\n\n'
const USAGE: Usage = {
  inputTokens: 9,
  outputTokens: 4,
  cachedTokens: 3,
  reasoningTokens: 2,
  responseModel: 'gpt-4o-2024',
  responseId: 'chatcmpl-1',
}

const RESPONSE_USAGE =
  '{"input_tokens":9,"input_tokens_details":{"cached_tokens":3},"output_tokens":4,' +
  '"output_tokens_details":{"reasoning_tokens":2},"total_tokens":13}'
const responseEvent = (type: string, rest: string) =>
  `event: ${type}\ndata: {"type":"${type}","sequence_number":1,${rest}}\n\n`
const RESPONSE_STREAM =
  responseEvent(
    'response.created',
    '"response":{"id":"chatcmpl-1","model":"gpt-4o-2024","usage":null}',
  ) +
  responseEvent('response.output_text.delta', '"delta":"é \\"usage\\":{\\"input_tokens\\":0}"') +
  responseEvent('response.completed', `"response":{"id":"chatcmpl-1","usage":${RESPONSE_USAGE}}`)

/** Every way to cut `bytes` in two, and one byte at a time. */
function* cuts(bytes: Buffer): Generator<Buffer[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)]
  yield Array.from(bytes, (byte) => Buffer.of(byte))
}

t.test('a chat stream is metered and cleaned alike at every split point', async (t) => {
  const words = chunkOf('Hel') + chunkOf('lo é [DONE] \\"prompt_tokens\\"')
  for (const ends of ['\n', '\r\n', '\r']) {
    const plain = (text: string) => text.replaceAll('\n', ends)
    const stream = Buffer.from(plain(`: ping\n\n${FILTER}${words}${EXTRA}${DONE}`))
    const cleaned = plain(`: ping\n\n${FILTER}${words}${DONE}`)
    for (const chunks of cuts(stream)) {
      const expected = JSON.stringify({ text: cleaned, usage: USAGE, complete: true })
      if (JSON.stringify(relay(CHAT, true, chunks)) !== expected) t.fail(`${chunks[0]?.length}`)
      const untouched = JSON.stringify({ text: stream.toString(), usage: USAGE, complete: true })
      if (JSON.stringify(relay(CHAT, false, chunks)) !== untouched) t.fail(`${chunks[0]?.length}`)
    }
  }
  t.pass('all split points')
})

t.test('a responses stream is metered alike at every split point', async (t) => {
  for (const chunks of cuts(Buffer.from(RESPONSE_STREAM))) {
    const expected = JSON.stringify({ text: RESPONSE_STREAM, usage: USAGE, complete: true })
    if (JSON.stringify(relay(RESPONSES, true, chunks)) !== expected) t.fail(`${chunks[0]?.length}`)
  }
  t.pass('all split points')
})

t.test('chunk() hands back the same buffer where nothing changes', async (t) => {
  const bytes = Buffer.from(chunkOf('x').slice(0, -5))
  t.equal(meter(CHAT).chunk(bytes), bytes)
  t.equal(meter(RESPONSES, true).chunk(bytes), bytes)
  const whole = Buffer.from(chunkOf('x') + chunkOf('y'))
  t.equal(meter(CHAT, true).chunk(whole), whole)
})

t.test('usage beside choices is counted and kept', async (t) => {
  const stream = chunkOf('x', FIGURES) + DONE
  t.strictSame(relay(CHAT, true, [Buffer.from(stream)]), {
    text: stream,
    usage: USAGE,
    complete: true,
  })
})

t.test('a stream that is cut is not complete', async (t) => {
  const cut = relay(CHAT, true, [Buffer.from(chunkOf('x') + DONE.slice(0, -4))])
  t.equal(cut.complete, false)
  t.equal(cut.text, chunkOf('x') + DONE.slice(0, -4))
  t.equal(cut.usage.inputTokens, null)
  t.equal(relay(CHAT, false, [Buffer.from(DONE.trimEnd())]).complete, true)
  t.equal(relay(RESPONSES, false, [Buffer.from(RESPONSE_STREAM.slice(0, 300))]).complete, false)
})

t.test('a stream cut anywhere in its last event is not complete', async (t) => {
  const transcript = '/v1/audio/transcriptions'
  const lastEvents = [
    [RESPONSES, responseEvent('response.completed', `"response":{"usage":${RESPONSE_USAGE}}`)],
    [
      transcript,
      'event: transcript.text.done\ndata: {"type":"transcript.text.done","text":"hi"}\n\n',
    ],
    [CHAT, DONE],
    [RESPONSES, 'event: done\ndata: [DONE]\n\n'],
  ] as const
  for (const [at, text] of lastEvents) {
    const data = text.trimEnd().length
    for (let cut = 0; cut <= text.length; cut++) {
      const bytes = text.slice(0, cut)
      const { complete } = relay(at, false, [Buffer.from(bytes)])
      if (complete !== cut >= data) t.fail(`${cut}: ${bytes}`)
    }
  }
  t.pass('all cuts')
})

t.test(
  'streams without names of events end with their type, wherever it stands, or [DONE]',
  async (t) => {
    const nested =
      'data: {"response":{"output":[{"type":"message"}],"id":"r","model":"m"},"type":"response.completed"}\n\n'
    t.equal(relay(RESPONSES, false, [Buffer.from(nested)]).complete, true)
    t.equal(
      relay(RESPONSES, false, [Buffer.from(nested.replace('completed', 'created'))]).complete,
      false,
    )
    const transcript = '/v1/audio/transcriptions'
    const chunks = `data: {"object":"transcription.chunk","choices":[],"usage":${FIGURES}}\n\n`
    t.match(relay(transcript, false, [Buffer.from(chunks + DONE)]), {
      complete: true,
      usage: { inputTokens: USAGE.inputTokens },
    })
  },
)

t.test('a responses stream ends with its terminal event or an error', async (t) => {
  for (const type of ['response.completed', 'response.incomplete', 'response.failed', 'error']) {
    const named = responseEvent(type, '"response":{}')
    t.equal(relay(RESPONSES, false, [Buffer.from(named)]).complete, true, type)
    const unnamed = named.slice(named.indexOf('data:'))
    t.equal(relay(RESPONSES, false, [Buffer.from(unnamed)]).complete, true, `${type} by data`)
  }
  const other = responseEvent('response.created', '"response":{}')
  t.equal(relay(RESPONSES, false, [Buffer.from(other)]).complete, false)
})

t.test('usage is found at the end of an event too long to hold', async (t) => {
  const long = responseEvent(
    'response.completed',
    `"response":{"output":["${'x'.repeat(3 * 2 ** 20)}"],"usage":${RESPONSE_USAGE}}`,
  )
  const chunks = Array.from({ length: 100 }, (_, at) => Math.ceil(long.length / 100) * at).map(
    (from) => Buffer.from(long.slice(from, from + Math.ceil(long.length / 100))),
  )
  const { text, usage, complete } = relay(RESPONSES, false, chunks)
  t.equal(text === long, true)
  t.equal(complete, true)
  t.strictSame(usage, { ...USAGE, responseModel: null, responseId: null })
})

t.test('an asked chat stream passes an event too long to hold', async (t) => {
  const stream = chunkOf('x'.repeat(2 * 2 ** 20)) + EXTRA + DONE
  const bytes = Buffer.from(stream)
  const { text, complete } = relay(CHAT, true, [
    bytes.subarray(0, 2 ** 20),
    bytes.subarray(2 ** 20),
  ])
  t.equal(complete, true)
  t.equal(text.endsWith(chunkOf('').slice(-20) + DONE), true)
  t.equal(text.length, stream.length - EXTRA.length)
})

t.test('whole() reads small answers', async (t) => {
  const cases = [
    [CHAT, `{"id":"chatcmpl-1","model":"gpt-4o-2024","choices":[{}],"usage":${FIGURES}}`],
    [RESPONSES, `{"id":"chatcmpl-1","model":"gpt-4o-2024","usage":${RESPONSE_USAGE}}`],
  ] as const
  for (const [path, body] of cases) {
    const each = meter(path)
    each.whole(Buffer.from(body))
    t.strictSame([each.usage, each.complete], [USAGE, true], path)
  }
  const embeddings = meter('/v1/embeddings')
  embeddings.whole(Buffer.from('{"model":"e","usage":{"prompt_tokens":5,"total_tokens":5}}'))
  t.match(embeddings.usage, { inputTokens: 5, outputTokens: null, responseModel: 'e' })
})

t.test('whole() finds usage at the end of large answers', async (t) => {
  const text = 'x \\"usage\\":{\\"prompt_tokens\\":1} '.repeat(20_000)
  const each = meter(CHAT)
  const usage = FIGURES.replace('9', '10')
  each.whole(
    Buffer.from(
      `{"id":"chatcmpl-1","model":"gpt-4o-2024","choices":["${text}"],"usage": ${usage},"x":1}`,
    ),
  )
  t.strictSame(each.usage, { ...USAGE, inputTokens: 10 })
})

t.test('whole() reads the end of an answer whose start was not kept', async (t) => {
  const each = meter(CHAT)
  each.whole(Buffer.from(`${'text '.repeat(10_000)}"}}],"usage":${FIGURES},"x":null}`))
  t.match(each.usage, { inputTokens: 9, responseId: null })
})

t.test('whole() reads the usual chat answer as parsing it would', async (t) => {
  const message = { role: 'assistant', content: 'say \\"usage\\": {"usage":{"prompt_tokens":1}} é' }
  const answer = {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'gpt-4o-2024',
    choices: [{ index: 0, message }],
    usage: JSON.parse(FIGURES) as unknown,
  }
  for (const indent of [0, 2]) {
    const each = meter(CHAT)
    each.whole(Buffer.from(JSON.stringify(answer, null, indent)))
    t.strictSame(each.usage, USAGE)
  }
  const twice = meter(CHAT)
  const nested = { ...answer, choices: [{ usage: { prompt_tokens: 77 } }] }
  twice.whole(Buffer.from(JSON.stringify(nested)))
  t.strictSame(twice.usage, USAGE)
})

t.test('a meter never throws and never guesses', async (t) => {
  const nothing = {
    inputTokens: null,
    outputTokens: null,
    cachedTokens: null,
    reasoningTokens: null,
    responseModel: null,
    responseId: null,
  }
  const bodies = ['', 'x', 'null', '[]', '{"usage":7}', '{"usage":{"prompt_tokens":"9"}}']
  const odd = ['{"usage":{"prompt_tokens":-1}}', '{"usage":{"prompt_tokens":1.5}}', '{"model":7}']
  for (const body of [...bodies, ...odd]) {
    for (const path of [CHAT, RESPONSES]) {
      const whole = meter(path)
      whole.whole(Buffer.from(body))
      t.strictSame(whole.usage, nothing, body)
      const { usage, text } = relay(path, true, [Buffer.from(`data: ${body}\n\n`)])
      t.strictSame([usage, text], [nothing, `data: ${body}\n\n`], body)
    }
  }
  const long = meter(CHAT)
  long.whole(Buffer.from(JSON.stringify({ model: 'm'.repeat(1000) })))
  t.equal(long.usage.responseModel?.length, 256)
})
