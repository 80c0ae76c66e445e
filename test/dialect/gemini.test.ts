import t from 'tap'

import { gemini } from '../../src/dialect/gemini.ts'
import type { Facts, Route } from '../../src/exchange.ts'
import { refused } from './refused.ts'

const GENERATE = '/v1beta/models/gemini-2.5-flash:generateContent'
const STREAM = '/v1beta/models/gemini-2.5-flash:streamGenerateContent'
const BASE64 = 'iVBORw0KGgo'.repeat(20)

function route(path: string): Route {
  const found = gemini.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  return { endpoint, dialect: gemini, mount: null, path, pathModel }
}

function facts(body: object | string, path = GENERATE): Promise<Facts> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return gemini.inspect(route(path), Buffer.from(text), { jsonDepth: 64 })
}

function refusal(body: object | string, path = GENERATE): Promise<string> {
  return refused(facts(body, path))
}

const marks = ({ uninspectable }: Facts) =>
  uninspectable.map(({ kind, pointer }) => `${kind} ${pointer}`)
const say = (...parts: unknown[]) => ({ contents: [{ role: 'user', parts }] })

t.test('facts of a call', async (t) => {
  const { texts, ...rest } = await facts(
    {
      ...say({ text: 'hello' }),
      systemInstruction: { parts: [{ text: 'be nice' }] },
      generationConfig: { maxOutputTokens: 7 },
      tools: [{ functionDeclarations: [{ name: 'now' }] }],
    },
    STREAM,
  )
  t.match(rest, {
    model: 'gemini-2.5-flash',
    models: ['gemini-2.5-flash'],
    stream: true,
    maxOutputTokens: 7,
    tools: ['now'],
    uninspectable: [],
    askUsage: null,
  })
  t.ok(texts.values.includes('hello') && texts.values.includes('be nice'))
})

t.test('both spellings of a name are read, and no third one', async (t) => {
  const snake = {
    contents: [{ parts: [{ inline_data: { mime_type: 'image/png', data: BASE64 } }] }],
    system_instruction: { parts: [{ text: 'ZEBRA' }] },
    generation_config: { max_output_tokens: 9 },
    cached_content: 'cachedContents/1',
  }
  const found = await facts(snake)
  t.equal(found.maxOutputTokens, 9)
  t.strictSame(marks(found), ['image /contents/0/parts/0/inline_data', 'reference /cached_content'])
  t.ok(found.texts.values.includes('ZEBRA'))
  t.notOk(found.texts.values.includes(BASE64))
  const both = { ...say({ text: 'a' }), systemInstruction: {}, system_instruction: {} }
  t.equal(await refusal(both), 'FIELD_INVALID /systemInstruction')
  const odd = { ...say({ text: 'a' }), generationConfig: { MaxOutputTokens: 1 } }
  t.equal(await refusal(odd), 'FIELD_INVALID /generationConfig/MaxOutputTokens')
})

t.test('parts that are no text are named, whatever they are called', async (t) => {
  const cases: readonly (readonly [object, string])[] = [
    [{ inlineData: { mimeType: 'audio/wav', data: BASE64 } }, 'audio'],
    [{ inlineData: { mimeType: 'application/pdf', data: BASE64 } }, 'file'],
    [{ fileData: { mimeType: 'image/png', fileUri: 'https://a' } }, 'image'],
    [{ fileData: { fileUri: 'https://a' } }, 'file'],
    [{ fromTomorrow: 'x' }, 'file'],
  ]
  for (const [part, kind] of cases) {
    const found = marks(await facts(say(part)))
    t.equal(found.length, 1, JSON.stringify(part))
    t.ok(found[0]?.startsWith(`${kind} /contents/0/parts/0/`))
  }
  const nested = { functionResponse: { name: 'n', response: { x: 'ZEBRA', model: 'a b' } } }
  const call = { functionCall: { name: 'n', args: { y: ['ZEBRA2'] } }, thoughtSignature: BASE64 }
  const found = await facts(say(nested, call))
  t.strictSame(marks(found), [])
  t.ok(found.texts.values.includes('ZEBRA') && found.texts.values.includes('ZEBRA2'))
})

t.test('tools of others are named', async (t) => {
  const found = await facts({
    ...say({ text: 'a' }),
    tools: [{ googleSearch: {} }, { urlContext: {} }],
  })
  t.strictSame(found.tools, ['googleSearch', 'urlContext'])
  t.strictSame(marks(found), [
    'hosted_tool /tools/0/googleSearch',
    'hosted_tool /tools/1/urlContext',
  ])
})

t.test('every model counts', async (t) => {
  const batch = '/v1beta/models/e:batchEmbedContents'
  const requests = [{ model: 'models/other', content: { parts: [{ text: 'a' }] } }]
  t.strictSame((await facts({ requests }, batch)).models, ['e', 'models/other'])
  const count = '/v1beta/models/e:countTokens'
  const generateContentRequest = { model: 'models/f', ...say({ text: 'ZEBRA' }) }
  const counted = await facts({ generateContentRequest }, count)
  t.strictSame(counted.models, ['e', 'models/f'])
  t.ok(counted.texts.values.includes('ZEBRA'))
  t.equal(
    await refusal(say({ text: 'a' }), '/v1beta/models/..:generateContent'),
    'MODEL_INVALID the model in the path',
  )
})

t.test('a word cut between two turns of one role is one word', async (t) => {
  const contents = [
    { role: 'user', parts: [{ text: 'ZEB' }] },
    { role: 'user', parts: [{ text: 'RA' }] },
  ]
  t.ok((await facts({ contents })).texts.values.includes('ZEBRA'))
})

t.test('a body of another form is refused', async (t) => {
  t.equal(await refusal({}), 'FIELD_INVALID ')
  t.equal(await refusal({ contents: [{ parts: 'hi' }] }), 'FIELD_INVALID /contents/0/parts')
  t.equal(await refusal({ contents: [{ parts: [7] }] }), 'FIELD_INVALID /contents/0/parts/0')
  t.equal(await refusal({ ...say({ text: 'a' }), tools: {} }), 'FIELD_INVALID /tools')
  t.equal(await refusal('{"contents":[],"contents":[]}'), 'BODY_INVALID -')
})

const CHUNKS = [
  { candidates: [{ content: { parts: [{ text: 'a' }] } }] },
  {
    candidates: [{ finishReason: 'STOP' }],
    usageMetadata: {
      promptTokenCount: 5,
      cachedContentTokenCount: 2,
      candidatesTokenCount: 3,
      thoughtsTokenCount: 4,
    },
    modelVersion: 'gemini-x',
    responseId: 'r1',
  },
]
const USAGE = {
  inputTokens: 5,
  outputTokens: 7,
  cachedTokens: 2,
  reasoningTokens: 4,
  responseModel: 'gemini-x',
  responseId: 'r1',
}

t.test('usage of events however they are cut, of an array, of one answer', async (t) => {
  const found = await facts(say({ text: 'a' }))
  const meterOf = () => gemini.meter(route(STREAM), found, false)
  const text = CHUNKS.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join('')
  const bytes = Buffer.from(text)
  for (const size of [1, 9, bytes.length]) {
    const meter = meterOf()
    const out: Buffer[] = []
    for (let at = 0; at < bytes.length; at += size)
      out.push(meter.chunk(bytes.subarray(at, at + size)))
    out.push(meter.flush())
    t.equal(Buffer.concat(out).toString(), text)
    t.strictSame({ ...meter.usage }, USAGE)
    t.equal(meter.complete, true)
  }
  for (const whole of [JSON.stringify(CHUNKS), JSON.stringify(CHUNKS[1])]) {
    const meter = meterOf()
    meter.whole(Buffer.from(whole))
    t.strictSame({ ...meter.usage }, USAGE)
  }
  const tail = meterOf()
  tail.whole(Buffer.from(`"${'x'.repeat(300_000)}",${JSON.stringify(CHUNKS[1])}]`))
  t.match({ ...tail.usage }, { inputTokens: 5, outputTokens: 7 })
  const cut = meterOf()
  cut.chunk(bytes.subarray(0, 40))
  cut.flush()
  t.equal(cut.complete, false, 'a stream without its end is not complete')
})

t.test('a stream cut in its last chunk is not complete, as events or as an array', async (t) => {
  const found = await facts(say({ text: 'a' }))
  const last = `data: ${JSON.stringify(CHUNKS[1])}`
  for (let to = 0; to <= last.length; to++) {
    const meter = gemini.meter(route(STREAM), found, false)
    meter.chunk(Buffer.from(last.slice(0, to)))
    meter.flush()
    if (meter.complete !== (to === last.length)) t.fail(last.slice(0, to))
  }
  const list = JSON.stringify(CHUNKS)
  for (let to = 1; to <= list.length; to++) {
    const meter = gemini.meter(route(STREAM), found, false)
    meter.whole(Buffer.from(list.slice(0, to)))
    if (meter.complete !== (to === list.length)) t.fail(list.slice(0, to))
  }
  const call = { functionCall: { name: 'f', args: { finishReason: 'STOP', error: 'none' } } }
  const meter = gemini.meter(route(STREAM), found, false)
  const chunk = { candidates: [{ content: { parts: [call] } }] }
  meter.chunk(Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`))
  t.equal(meter.complete, false, 'arguments of a call end no stream')
})

t.test('what is closed, and a version that is not known, is told as such', async (t) => {
  for (const [method, path, hint] of [
    ['POST', '/v1/models/m:batchGenerateContent', 'Batches of this API'],
    ['POST', '/v1beta/models/m:predictLongRunning', 'Predictions are not supported'],
    ['POST', '/v1alpha/models/m:generateContent', 'Use /v1beta/models/m:generateContent: version'],
  ] as const) {
    t.match(gemini.lookup(method, path), { kind: 'unknown', hint }, path)
  }
  t.strictSame(gemini.lookup('POST', '/v1beta/models/m'), { kind: 'method', allow: ['GET'] })
  t.strictSame(gemini.lookup('POST', '/v1alpha/nothing'), { kind: 'unknown' })
})
