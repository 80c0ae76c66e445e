import t from 'tap'

import {
  FrameError,
  FrameSplitter,
  readFrame,
  writeFrame,
} from '../../src/dialect/bedrock-frames.ts'
import { bedrock } from '../../src/dialect/bedrock.ts'
import type { Facts } from '../../src/exchange.ts'
import { refused } from './refused.ts'

function facts(path: string, body: object): Promise<Facts> {
  const found = bedrock.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  const route = { endpoint, dialect: bedrock, mount: null, path, pathModel }
  return bedrock.inspect(route, Buffer.from(JSON.stringify(body)), { jsonDepth: 64 })
}

function refusal(path: string, body: object): Promise<string> {
  return refused(facts(path, body))
}

const CONVERSE = '/model/us.anthropic.claude-3%3A0/converse'
const INVOKE = '/model/amazon.titan-text/invoke'
const say = (...content: readonly object[]) => ({ messages: [{ role: 'user', content }] })
const marks = async (body: object, path = CONVERSE) =>
  (await facts(path, body)).uninspectable.map(({ kind, pointer }) => `${kind} ${pointer}`)

t.test('a conversation: model of the path, cap, tools and texts', async (t) => {
  const found = await facts('/model/m%3A0/converse-stream', {
    ...say(
      { text: 'hi' },
      { toolResult: { toolUseId: 't', content: [{ json: { model: 'T 3' } }] } },
    ),
    system: [{ text: 'ZEBRA' }],
    inferenceConfig: { maxTokens: 7 },
    toolConfig: { tools: [{ toolSpec: { name: 'now', inputSchema: { json: { image: 'x' } } } }] },
  })
  const { model, models, maxOutputTokens, tools, stream, texts, uninspectable } = found
  t.strictSame([model, models, maxOutputTokens, tools, stream], ['m:0', ['m:0'], 7, ['now'], true])
  t.ok(texts.values.includes('ZEBRA') && texts.values.includes('T 3'))
  t.strictSame(uninspectable, [])
})

t.test('what cannot be read in a conversation is named', async (t) => {
  const bytes = 'A'.repeat(100)
  const at = '/messages/0/content/0'
  t.strictSame(await marks(say({ image: { format: 'png', source: { bytes } } })), [
    `image ${at}/image`,
  ])
  t.strictSame(await marks(say({ audio: { format: 'mp3', source: { bytes } } })), [
    `audio ${at}/audio`,
  ])
  t.strictSame(await marks(say({ document: { name: 'a', source: { bytes } } })), [
    `file ${at}/document/source/bytes`,
  ])
  t.strictSame(await marks(say({ document: { name: 'a', source: { text: 'x' } } })), [])
  t.strictSame(await marks(say({ video: { source: { s3Location: { uri: 's3://b' } } } })), [
    `file ${at}/video`,
    `reference ${at}/video/source/s3Location`,
  ])
  t.strictSame(await marks(say({ reasoningContent: { redactedContent: bytes } })), [
    `encrypted ${at}/reasoningContent/redactedContent`,
  ])
  t.strictSame(await marks({ ...say({ text: 'a' }), promptVariables: { a: { text: 'b' } } }), [
    'reference /promptVariables',
  ])
  const { texts } = await facts(CONVERSE, say({ image: { source: { bytes } } }))
  t.notOk(texts.values.includes(bytes), 'payload is no text')
  const short = await facts(CONVERSE, say({ image: { source: { bytes: 'ZEBRA here' } } }))
  t.ok(short.texts.values.includes('ZEBRA here'), 'what is no base64 is a text')
})

t.test('forms of models: caps, texts, and those of Anthropic as Anthropic’s', async (t) => {
  const cap = async (body: object) => (await facts(INVOKE, body)).maxOutputTokens
  t.equal(await cap({ inputText: 'a', textGenerationConfig: { maxTokenCount: 5 } }), 5)
  t.equal(await cap({ prompt: 'a', max_gen_len: 6 }), 6)
  t.equal(await cap({ messages: [], inferenceConfig: { maxTokens: 8 } }), 8)
  const handedOn = {
    inferenceConfig: { maxTokens: 8 },
    additionalModelRequestFields: { max_tokens: 9 },
  }
  t.equal((await facts(CONVERSE, { ...say({ text: 'a' }), ...handedOn })).maxOutputTokens, 9)
  const found = await facts(INVOKE, {
    anthropic_version: 'bedrock-2023-05-31',
    max_tokens: 9,
    messages: [
      { role: 'user', content: [{ type: 'image', source: { type: 'base64', data: 'x' } }] },
    ],
    tools: [{ name: 'f', input_schema: {} }],
  })
  t.strictSame([found.maxOutputTokens, found.tools], [9, ['f']])
  t.strictSame(
    found.uninspectable.map(({ kind }) => kind),
    ['image'],
  )
})

t.test('what could be another model, or is kept elsewhere, is refused', async (t) => {
  const text = say({ text: 'a' })
  t.equal(await refusal(CONVERSE, { ...text, model: 'm' }), 'FIELD_INVALID /model')
  const more = { additionalModelRequestFields: { model: 'm' } }
  t.equal(
    await refusal(CONVERSE, { ...text, ...more }),
    'FIELD_INVALID /additionalModelRequestFields/model',
  )
  const anthropic = {
    anthropic_version: 'x',
    max_tokens: 1,
    messages: [{ role: 'user', content: 'a' }],
  }
  t.equal(await refusal(INVOKE, { ...anthropic, model: 'm' }), 'FIELD_INVALID /model')
  t.equal(await refusal(CONVERSE, { promptVariables: {} }), 'FIELD_INVALID ')
  t.equal(await refusal(CONVERSE, { Messages: [] }), 'FIELD_INVALID /Messages')
  t.equal(await refusal('/model/arn%3Aaws%3Abedrock%3Ax/converse', text), 'MODEL_INVALID -')
  t.equal(await refusal('/model/m%253A0/converse', text), 'MODEL_INVALID the model in the path')
  for (const path of ['/model/m', '/model/m/async', '/model/a/b/converse', '/model//converse']) {
    t.equal(bedrock.lookup('POST', path).kind, 'unknown', path)
  }
  t.equal(bedrock.lookup('POST', '/async-invoke').kind, 'outside')
})

t.test('frames are cut the same however their bytes arrive', async (t) => {
  const frames = ['a', 'b'.repeat(300), ''].map((text) => writeFrame({ ':event-type': 'x' }, text))
  const bytes = Buffer.concat(frames)
  for (const size of [1, 2, 13, 64, bytes.length]) {
    const splitter = new FrameSplitter()
    const cut: Buffer[] = []
    for (let at = 0; at < bytes.length; at += size) {
      cut.push(...splitter.push(bytes.subarray(at, at + size)))
    }
    t.strictSame(cut, frames, `pieces of ${size}`)
    t.equal(splitter.heldBytes, 0)
  }
  const { headers, payload } = readFrame(frames[1]!)
  t.strictSame([...headers], [[':event-type', 'x']])
  t.equal(payload.toString(), 'b'.repeat(300))
})

t.test('a frame with one bit changed is no frame', async (t) => {
  const frame = writeFrame({ ':event-type': 'x', ':message-type': 'event' }, '{"a":1}')
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const bad = Buffer.from(frame)
    bad[bit >> 3]! ^= 1 << (bit & 7)
    t.throws(() => {
      for (const each of new FrameSplitter().push(bad)) readFrame(each)
    }, FrameError)
  }
})

function meterAt(path: string) {
  const found = bedrock.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  const route = { endpoint, dialect: bedrock, mount: null, path, pathModel }
  return bedrock.meter(route, {} as Facts, false)
}

t.test(
  'usage of an invocation: of its headers, its events and its metrics, each figure by itself',
  async (t) => {
    const plain = meterAt(INVOKE)
    plain.headers?.({
      'x-amzn-bedrock-input-token-count': '25',
      'x-amzn-bedrock-output-token-count': '34',
      'x-amzn-bedrock-cache-read-input-token-count': '-1',
    })
    plain.whole(Buffer.from('{"outputs":[{"text":"x"}]}'))
    t.match(plain.usage, { inputTokens: 25, outputTokens: 34, cachedTokens: null })
    const usage = {
      input_tokens: 11,
      cache_creation_input_tokens: 100,
      cache_read_input_tokens: 1000,
    }
    const details = { output_tokens_details: { thinking_tokens: 9 } }
    const events = [
      { type: 'message_start', message: { model: 'm', id: 'i', usage } },
      { type: 'message_delta', usage: { output_tokens: 29, ...details } },
      {
        type: 'message_stop',
        'amazon-bedrock-invocationMetrics': { inputTokenCount: 11, outputTokenCount: 29 },
      },
    ]
    const streamed = meterAt(`${INVOKE}-with-response-stream`)
    for (const event of events) {
      const bytes = Buffer.from(JSON.stringify(event)).toString('base64')
      const names = { ':event-type': 'chunk', ':message-type': 'event' }
      streamed.chunk(writeFrame(names, JSON.stringify({ bytes })))
    }
    const figures = { inputTokens: 1111, outputTokens: 29, cachedTokens: 1000, reasoningTokens: 9 }
    t.match({ ...streamed.usage, complete: streamed.complete }, { ...figures, complete: true })
  },
)
