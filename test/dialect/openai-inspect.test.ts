import t from 'tap'

import { inspect } from '../../src/dialect/openai-inspect.ts'
import { openai } from '../../src/dialect/openai.ts'
import { GovernorError } from '../../src/errors.ts'
import type { Facts, Route } from '../../src/exchange.ts'
import { Random, randomTree } from './random.ts'
import type { Tree } from './random.ts'

const PATHS = {
  chat: '/v1/chat/completions',
  responses: '/v1/responses',
  embeddings: '/v1/embeddings',
} as const
type Api = keyof typeof PATHS

function route(method: string, path: string): Route {
  const found = openai.lookup(method, path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  const { endpoint, pathModel } = found
  return { endpoint, dialect: openai, mount: null, path, pathModel }
}

function facts(api: Api, body: unknown): Promise<Facts> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return inspect(route('POST', PATHS[api]), Buffer.from(text), { jsonDepth: 64 })
}

async function refusal(api: Api, body: unknown): Promise<string> {
  try {
    await facts(api, body)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof GovernorError)) throw error
    return `${error.code} ${error.param ?? '-'}`
  }
}

const USER = { role: 'user', content: 'hello' }
const chat = (more: object) => ({ model: 'gpt-4o', messages: [USER], ...more })
const parts = (...content: unknown[]) => chat({ messages: [{ role: 'user', content }] })
const items = (...input: unknown[]) => ({ model: 'gpt-4o', input })
const tool = (type: string) => ({ model: 'm', input: 'x', tools: [{ type }] })
const image = (url: string) => ({ type: 'image_url', image_url: { url } })
const seen = async (part: object) => (await facts('chat', parts(part))).texts.values
const BASE64 = 'iVBORw0KGgo'.repeat(20)

t.test('inspect() reads a chat request', async (t) => {
  const body = chat({
    stream: true,
    max_tokens: 5,
    max_completion_tokens: 7,
    n: 2,
    tools: [
      { type: 'function', function: { name: 'lookup', parameters: {} } },
      { type: 'custom', custom: { name: 'run' } },
    ],
    functions: [{ name: 'legacy' }],
  })
  const { texts, askUsage, ...rest } = await facts('chat', body)
  t.strictSame(rest, {
    model: 'gpt-4o',
    models: ['gpt-4o'],
    stream: true,
    maxOutputTokens: 7,
    tools: ['lookup', 'run', 'legacy'],
    inputChars: 64,
    uninspectable: [],
  })
  t.ok(texts.values.includes('hello'))
  t.ok(askUsage)
})

t.test('inspect() refuses a chat request by code and place', async (t) => {
  const cases: readonly (readonly [unknown, string])[] = [
    ['[]', 'BODY_INVALID -'],
    [{ messages: [USER] }, 'MODEL_INVALID /model'],
    ...[
      ['m'],
      { id: 'm' },
      null,
      '',
      true,
      1,
      ' m',
      'm\n',
      'm\u200b',
      'ｇpt',
      'gpt‑5',
      'm\u0000',
    ].map((model) => [chat({ model }), 'MODEL_INVALID /model'] as const),
    [chat({ model: `m${'x'.repeat(256)}` }), 'MODEL_INVALID /model'],
    ...['gpt-4o/../gpt-5', 'gpt-4o//gpt-6', 'gpt-4o/./x', 'gpt-4o/', 'a/..'].map(
      (model) => [chat({ model }), 'MODEL_INVALID /model'] as const,
    ),
    [chat({ model: `m${'x'.repeat(255)}` }), 'accepted'],
    [chat({ moderation: { model: 1 } }), 'MODEL_INVALID /moderation/model'],
    [chat({ moderation: { Model: 'x' } }), 'FIELD_INVALID /moderation/Model'],
    [chat({ models: ['ok', ' bad'] }), 'MODEL_INVALID /models/1'],
    [chat({ models: 'x' }), 'FIELD_INVALID /models'],
    [chat({ models: Array.from({ length: 65 }, (_, at) => `m${at}`) }), 'MODEL_INVALID /models/63'],
    ['{"MODEL":"m","messages":[{"role":"user","content":"x"}]}', 'FIELD_INVALID /MODEL'],
    [chat({ meſſages: [] }), 'BODY_INVALID -'],
    [{ model: 'm', meſſages: [USER] }, 'FIELD_INVALID /meſſages'],
    [chat({ Stream: true }), 'FIELD_INVALID /Stream'],
    [chat({ TOOLS: [] }), 'FIELD_INVALID /TOOLS'],
    [chat({ some_new_field: 1 }), 'accepted'],
    [chat({ stream: 'false' }), 'FIELD_INVALID /stream'],
    [chat({ stream: 1 }), 'FIELD_INVALID /stream'],
    [chat({ stream: null, n: null, max_tokens: null, tools: null }), 'accepted'],
    [chat({ n: '128' }), 'FIELD_INVALID /n'],
    [chat({ n: 0 }), 'FIELD_INVALID /n'],
    [chat({ n: 1.5 }), 'FIELD_INVALID /n'],
    [chat({ max_tokens: 0 }), 'accepted'],
    [chat({ max_tokens: -1 }), 'FIELD_INVALID /max_tokens'],
    [chat({ max_completion_tokens: 1e21 }), 'FIELD_INVALID /max_completion_tokens'],
    [chat({ stream_options: true }), 'FIELD_INVALID /stream_options'],
    [chat({ stream_options: { include_usage: 1 } }), 'FIELD_INVALID /stream_options/include_usage'],
    [
      chat({ stream_options: { Include_Usage: true } }),
      'FIELD_INVALID /stream_options/Include_Usage',
    ],
    [{ model: 'm' }, 'FIELD_INVALID '],
    [chat({ messages: [] }), 'FIELD_INVALID /messages'],
    [chat({ messages: {} }), 'FIELD_INVALID /messages'],
    [chat({ messages: ['x'] }), 'FIELD_INVALID /messages/0'],
    [chat({ messages: [{ content: 'x' }] }), 'FIELD_INVALID /messages/0'],
    [chat({ messages: [{ role: 'x', content: 'x' }] }), 'FIELD_INVALID /messages/0/role'],
    [chat({ messages: [{ role: 'User', content: 'x' }] }), 'FIELD_INVALID /messages/0/role'],
    [chat({ messages: [{ role: null, content: 'x' }] }), 'FIELD_INVALID /messages/0/role'],
    [chat({ messages: [{ role: 'user', content: 1 }] }), 'FIELD_INVALID /messages/0/content'],
    [chat({ messages: [{ role: 'user', content: {} }] }), 'FIELD_INVALID /messages/0/content'],
    [parts(15_496, 995), 'FIELD_INVALID /messages/0/content/0'],
    [chat({ messages: [{ role: 'assistant', content: null }] }), 'accepted'],
    [chat({ tools: {} }), 'FIELD_INVALID /tools'],
    [chat({ tools: [1] }), 'FIELD_INVALID /tools/0'],
    [chat({ tools: [{}] }), 'FIELD_INVALID /tools/0'],
    [chat({ tools: [{ type: 1 }] }), 'FIELD_INVALID /tools/0/type'],
    [chat({ functions: [{ name: 1 }] }), 'FIELD_INVALID /functions/0/name'],
  ]
  for (const [body, expected] of cases) {
    t.equal(await refusal('chat', body), expected, JSON.stringify(body).slice(0, 90))
  }
  for (const role of ['system', 'developer', 'user', 'assistant', 'tool', 'function']) {
    t.equal(await refusal('chat', chat({ messages: [{ role, content: 'x' }] })), 'accepted', role)
  }
})

t.test('inspect() refuses responses and embeddings by code and place', async (t) => {
  const cases: readonly (readonly [Api, unknown, string])[] = [
    ['responses', { input: 'x' }, 'accepted'],
    ['responses', { model: null, input: 'x' }, 'MODEL_INVALID /model'],
    ['responses', { Model: 'm', input: 'x' }, 'FIELD_INVALID /Model'],
    ['responses', { model: 'm', input: 1 }, 'FIELD_INVALID /input'],
    ['responses', items('x'), 'FIELD_INVALID /input/0'],
    ['responses', items({ role: 'tool', content: 'x' }), 'FIELD_INVALID /input/0/role'],
    ['responses', items({ role: 'user', content: 5 }), 'FIELD_INVALID /input/0/content'],
    ['responses', items({ content: 'x' }), 'FIELD_INVALID /input/0'],
    ['responses', items({ type: 1 }), 'FIELD_INVALID /input/0/type'],
    ['responses', { input: 'x', instructions: ['y'] }, 'FIELD_INVALID /instructions'],
    ['responses', { input: 'x', background: 'yes' }, 'FIELD_INVALID /background'],
    ['responses', { input: 'x', max_output_tokens: '5' }, 'FIELD_INVALID /max_output_tokens'],
    ['responses', { input: 'x', tools: [{ type: 'x', model: 1 }] }, 'MODEL_INVALID /tools/0/model'],
    ['embeddings', { model: 'm', input: 'x' }, 'accepted'],
    ['embeddings', { model: 'm', input: ['x', 'y'] }, 'accepted'],
    ['embeddings', { model: 'm' }, 'FIELD_INVALID '],
    ['embeddings', { input: 'x' }, 'MODEL_INVALID /model'],
    ['embeddings', { model: 'm', input: {} }, 'FIELD_INVALID /input'],
    ['embeddings', { model: 'm', input: [{}] }, 'FIELD_INVALID /input/0'],
    ['embeddings', { model: 'm', input: [['x']] }, 'FIELD_INVALID /input/0/0'],
    ['embeddings', { model: 'm', input: [[[1]]] }, 'FIELD_INVALID /input/0/0'],
    ['embeddings', { model: 'm', Input: 'x' }, 'FIELD_INVALID /Input'],
  ]
  for (const [api, body, expected] of cases) {
    t.equal(await refusal(api, body), expected, JSON.stringify(body))
  }
})

t.test('inspect() finds every model selector', async (t) => {
  const body = {
    moderation: { model: 'mod' },
    model: 'own',
    models: ['fallback', 'own'],
    tools: [
      { type: 'image_generation', model: 'image' },
      { type: 'namespace', name: 'n', tools: [{ type: 'function', name: 'f', model: 'nested' }] },
      { type: 'function', name: 'g', parameters: { properties: { model: { type: 'string' } } } },
    ],
    input: [{ type: 'additional_tools', tools: [{ type: 'image_generation', model: 'item' }] }],
  }
  const { model, models } = await facts('responses', body)
  t.equal(model, 'own')
  t.strictSame(models, ['own', 'mod', 'fallback', 'image', 'nested', 'item'])
  const unnamed = await facts('responses', { input: 'x', moderation: { model: 'mod' } })
  t.strictSame([unnamed.model, unnamed.models], ['', ['mod']])
})

t.test('inspect() marks what cannot be read', async (t) => {
  const cases: readonly (readonly [Api, unknown, readonly string[]])[] = [
    ['chat', parts({ type: 'text', text: 'x' }, { type: 'refusal', refusal: 'y' }, 'z'), []],
    [
      'chat',
      parts({ type: 'image_url', image_url: { url: 'https://x' } }),
      ['image /messages/0/content/0/image_url'],
    ],
    [
      'chat',
      parts({ type: 'text', text: 'x', image_url: 'data:x' }),
      ['image /messages/0/content/0/image_url'],
    ],
    [
      'chat',
      parts({ type: 'input_audio', input_audio: { data: BASE64 } }),
      ['audio /messages/0/content/0/input_audio'],
    ],
    ['chat', parts({ type: 'file', file: { file_id: 'f' } }), ['file /messages/0/content/0/file']],
    ['chat', parts({ type: 'hologram', x: 'y' }), ['file /messages/0/content/0']],
    ['chat', parts({ x: 'y' }), ['file /messages/0/content/0']],
    ['chat', parts({ type: 1 }), ['file /messages/0/content/0']],
    [
      'chat',
      chat({ messages: [{ role: 'assistant', audio: { id: 'a' } }] }),
      ['reference /messages/0/audio'],
    ],
    ['chat', chat({ messages: [{ role: 'assistant', content: 'x', audio: null }] }), []],
    ['chat', chat({ web_search_options: {} }), ['hosted_tool /web_search_options']],
    ['chat', chat({ data_sources: [{ type: 'x' }] }), ['hosted_tool /data_sources']],
    ['chat', chat({ dataSources: [{ type: 'x' }] }), ['hosted_tool /dataSources']],
    ['chat', chat({ audio: { voice: { id: 'v' } } }), ['reference /audio/voice']],
    ['chat', chat({ audio: { voice: 'alloy', format: 'wav' } }), []],
    ['chat', chat({ prompt_token_ids: [1] }), ['token_ids /prompt_token_ids']],
    ['chat', chat({ tools: [{ type: 'web_search' }] }), ['hosted_tool /tools/0']],
    [
      'chat',
      chat({
        tools: [
          {
            type: 'function',
            function: { name: 'f', parameters: { properties: { file_id: { type: 'string' } } } },
          },
        ],
      }),
      [],
    ],
    ['chat', chat({ prediction: { type: 'content', content: 'x' } }), []],
    ['responses', { previous_response_id: 'r' }, ['reference /previous_response_id']],
    ['responses', { previous_response_id: null, conversation: null, prompt: null }, []],
    ['responses', { conversation: { id: 'c' } }, ['reference /conversation']],
    ['responses', { prompt: { id: 'p' } }, ['reference /prompt']],
    ['responses', { input: 'x', background: true }, ['reference /background']],
    ['responses', items({ type: 'item_reference', id: 'i' }), ['reference /input/0']],
    ['responses', items({ id: 'i' }), ['reference /input/0']],
    ['responses', items({ type: 'future_item', text: 'x' }), ['file /input/0']],
    [
      'responses',
      items({ type: 'reasoning', summary: [], encrypted_content: 'e' }),
      ['encrypted /input/0/encrypted_content'],
    ],
    ['responses', items({ type: 'reasoning', summary: [], encrypted_content: null }), []],
    [
      'responses',
      items({ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }),
      ['file /input/0/content/0/file_id'],
    ],
    [
      'responses',
      items({ role: 'user', content: [{ type: 'input_file', file_url: 'u' }] }),
      ['file /input/0/content/0/file_url'],
    ],
    [
      'responses',
      items({ type: 'function_call_output', output: [{ type: 'input_image' }] }),
      ['image /input/0/output/0'],
    ],
    ['responses', items({ type: 'shell_call_output', output: [{ stdout: 'x' }] }), []],
    ['responses', items({ type: 'mcp_list_tools', tools: [{ name: 'f' }] }), []],
    ['responses', items({ type: 'mcp_approval_response' }), ['reference /input/0']],
    [
      'responses',
      items({ type: 'additional_tools', tools: [{ type: 'mcp' }] }),
      ['hosted_tool /input/0/tools/0'],
    ],
    ...['web_search', 'web_search_preview', 'mcp', 'code_interpreter', 'file_search', 'shell'].map(
      (type) => ['responses', tool(type), ['hosted_tool /tools/0']] as const,
    ),
    ...['computer_use_preview', 'image_generation', 'local_shell', 'apply_patch', 'x'].map(
      (type) => ['responses', tool(type), ['hosted_tool /tools/0']] as const,
    ),
    ['responses', tool('function'), []],
    ['responses', tool('custom'), []],
    ['responses', tool('namespace'), []],
    [
      'responses',
      { input: 'x', tools: [{ type: 'namespace', tools: [{ type: 'mcp' }] }] },
      ['hosted_tool /tools/0/tools/0'],
    ],
    ['embeddings', { model: 'm', input: [15_496, 995] }, ['token_ids /input']],
    ['embeddings', { model: 'm', input: [[1], [2]] }, ['token_ids /input']],
    ['embeddings', { model: 'm', input: ['x', 5] }, ['token_ids /input']],
  ]
  for (const [api, body, expected] of cases) {
    const { uninspectable } = await facts(api, body)
    const shown = uninspectable.map(({ kind, pointer }) => `${kind} ${pointer}`)
    t.strictSame(shown, expected, JSON.stringify(body).slice(0, 100))
  }
})

t.test('inspect() keeps at most sixteen marks of a kind, and every kind', async (t) => {
  const images = Array.from({ length: 100 }, () => image('x'))
  const body = parts(...images, { type: 'file', file: {} })
  const kinds = (await facts('chat', body)).uninspectable.map(({ kind }) => kind)
  t.strictSame(kinds, [...Array(16).fill('image'), 'file'])
})

t.test('inspect() takes base64 payload out of the texts, and nothing else', async (t) => {
  const data = `data:image/png;base64,${BASE64}`
  t.notOk((await seen(image(data))).some((text) => text.includes(BASE64)))
  t.ok((await seen(image(data))).includes('data:image/png;base64,'))
  t.notOk((await seen({ type: 'file', file: { file_data: data } })).includes(data))
  t.notOk((await seen({ type: 'input_audio', input_audio: { data: BASE64 } })).includes(BASE64))
  const kept = [
    image(`data:text/plain,${'ZEBRA '.repeat(20)}`),
    image(`data:text/plain;base64,${'ZEBRA '.repeat(20)}`),
    image(`https://x/${'ZEBRA'.repeat(20)}`),
    image('data:x;base64,ZEBRA'),
    { type: 'input_audio', input_audio: { data: 'ZEBRA' } },
    { type: 'input_audio', input_audio: { data: 'ZEBRA! '.repeat(20) } },
    { type: 'text', text: `data:image/png;base64,${'ZEBRA'.repeat(20)}` },
  ]
  for (const part of kept) {
    t.ok(
      (await seen(part)).some((text) => text.includes('ZEBRA')),
      JSON.stringify(part),
    )
  }
})

t.test('inspect() counts the characters of the prompt', async (t) => {
  const counts: readonly (readonly [Api, unknown, number])[] = [
    ['chat', chat({ user: 'not counted', stop: ['nor this'] }), 5],
    ['chat', parts({ type: 'text', text: 'ab' }, { type: 'text', text: 'c😀' }), 5],
    ['responses', { instructions: 'abc', input: 'de' }, 5],
    ['responses', { input: [{ role: 'user', content: 'de' }], instructions: 'abc' }, 5],
    ['embeddings', { model: 'm', input: ['ab', 'c'] }, 3],
    ['embeddings', { model: 'm', input: 'abc' }, 3],
  ]
  for (const [api, body, expected] of counts) {
    t.equal((await facts(api, body)).inputChars, expected, JSON.stringify(body))
  }
})

t.test('inspect() asks for usage with the smallest edit', async (t) => {
  const asked = async (text: string) => {
    const splice = (await facts('chat', text)).askUsage
    if (splice === null) return null
    const bytes = Buffer.from(text)
    const [before, after] = [bytes.subarray(0, splice.start), bytes.subarray(splice.end)]
    return Buffer.concat([before, Buffer.from(splice.text), after]).toString()
  }
  const rest = '"model":"m","messages":[{"role":"user","content":"é"}],"stream":true'
  const cases = [
    [`{ ${rest}}`, `{"stream_options":{"include_usage":true}, ${rest}}`],
    [`{${rest},"stream_options":null}`, `{${rest},"stream_options":{"include_usage":true}}`],
    [`{${rest},"stream_options":{}}`, `{${rest},"stream_options":{"include_usage":true}}`],
    [
      `{"stream_options":{"include_obfuscation":false},${rest}}`,
      `{"stream_options":{"include_usage":true,"include_obfuscation":false},${rest}}`,
    ],
    [
      `{"stream_options":{"include_usage": false },${rest}}`,
      `{"stream_options":{"include_usage": true },${rest}}`,
    ],
    [`{"stream_options":{"include_usage":true},${rest}}`, null],
    [`{${rest.replace('true', 'false')}}`, null],
  ] as const
  for (const [text, expected] of cases) t.equal(await asked(text), expected, text)
  t.equal((await facts('responses', { input: 'x', stream: true })).askUsage, null)
})

t.test('inspect() of a path takes its model and no body', async (t) => {
  const none = Buffer.alloc(0)
  const one = await inspect(route('GET', '/v1/models/ft%3Agpt'), none, { jsonDepth: 64 })
  t.strictSame([one.model, one.models, one.texts.values], ['ft:gpt', ['ft:gpt'], []])
  const all = await inspect(route('GET', '/v1/models'), none, { jsonDepth: 64 })
  t.strictSame([all.model, all.models], ['', []])
  for (const path of ['/v1/models/a%2Fb', '/v1/models/..', '/v1/models/a%253A']) {
    await t.rejects(inspect(route('GET', path), none, { jsonDepth: 64 }), { code: 'MODEL_INVALID' })
  }
  const body = Buffer.from('{}')
  await t.rejects(inspect(route('GET', '/v1/models'), body, { jsonDepth: 64 }), {
    code: 'BODY_INVALID',
  })
})

t.test('inspect() of a large body lets the event loop turn', async (t) => {
  const body = chat({ messages: [{ role: 'user', content: 'x\n'.repeat(2 ** 22) }] })
  let turns = 0
  let isDone = false
  const count = () => {
    turns++
    if (!isDone) setImmediate(count)
  }
  setImmediate(count)
  const found = await facts('chat', body)
  isDone = true
  t.equal(found.inputChars, 2 ** 23)
  t.ok(turns >= 4, `${turns} turns`)
})

t.test('inspect() of mutated requests throws only GovernorError', async (t) => {
  const random = new Random(3)
  const bodies: readonly (readonly [Api, object])[] = [
    ['chat', parts({ type: 'text', text: 'x' }, image('data:x'), { type: 'file', file: {} })],
    ['chat', chat({ stream: true, stream_options: {}, tools: [{ type: 'function', name: 'f' }] })],
    ['responses', { ...items({ type: 'reasoning' }, { role: 'user', content: [] }), tools: [] }],
    ['embeddings', { model: 'm', input: [1, [2], 'x'] }],
  ]
  const outcomes = new Set<string>()
  for (let round = 0; round < 4000; round++) {
    const [api, body] = random.pick(bodies)
    const tree = JSON.parse(JSON.stringify(body)) as { [key: string]: Tree }
    mutate(random, tree)
    outcomes.add((await refusal(api, tree)).split(' ')[0] ?? '')
  }
  t.strictSame([...outcomes].sort(), ['FIELD_INVALID', 'MODEL_INVALID', 'accepted'])
})

/** Replaces one value somewhere in the tree by a random one. */
function mutate(random: Random, tree: { [key: string]: Tree }): void {
  const key = random.pick(Object.keys(tree))
  const child = tree[key]
  const canDescend = typeof child === 'object' && child !== null && Object.keys(child).length > 0
  if (canDescend && random.below(4) > 0) mutate(random, child as { [key: string]: Tree })
  else tree[key] = randomTree(random, 2)
}

const values = async (body: object, api: Api = 'chat') => (await facts(api, body)).texts.values

const split = (...content: object[]) => chat({ messages: [{ role: 'assistant', content }] })

t.test('inspect() joins parts by whichever member bears their text', async (t) => {
  const black = { type: 'refusal', refusal: 'black' }
  t.ok((await values(split(black, { type: 'text', text: 'bird' }))).includes('blackbird'))
  t.ok((await values(split(black, { type: 'refusal', refusal: 'bird' }))).includes('blackbird'))
  t.ok((await values(split(black, { type: 'thinking', thinking: 'bird' }))).includes('blackbird'))
})

t.test('inspect() joins messages of one role that follow each other', async (t) => {
  const messages = [
    { role: 'user', content: 'no' },
    { role: 'assistant', content: 'bl' },
    { role: 'assistant', content: [{ type: 'text', text: 'ack' }] },
    { role: 'assistant', content: 'bird' },
  ]
  const found = await values(chat({ messages }))
  t.ok(found.includes('blackbird'))
  t.notOk(found.some((text) => text.includes('nobl')))
})

t.test('inspect() counts what tools say as prompt', async (t) => {
  const tool = { name: 'x', description: 'd'.repeat(1_000), parameters: { ['p'.repeat(500)]: {} } }
  const tools = [{ type: 'function', function: tool }]
  t.ok((await facts('chat', chat({ tools }))).inputChars > 1_500)
})

const models = async (more: object) => (await facts('chat', chat(more))).models.slice(1)

t.test('inspect() finds every model a router could take', async (t) => {
  t.strictSame(await models({ fallbacks: ['f1', { model: 'f2' }] }), ['f1', 'f2'])
  t.strictSame(await models({ extra_body: { model: 'e1', models: 'e2' } }), ['e1', 'e2'])
  t.strictSame(await models({ plugins: [{ id: 'x', model: 'p1' }] }), ['p1'])
  t.strictSame(await models({ messages: [{ role: 'user', content: 'x', model: 'm1' }] }), ['m1'])
  const parameters = { type: 'object', properties: { model: { type: 'string' }, models: 'x' } }
  const tools = [
    { type: 'function', function: { name: 'x', parameters: { model: 's1', parameters } } },
  ]
  t.strictSame(await models({ tools, metadata: { model: 'm' } }), [])
})

t.test('inspect() marks content under names of its own', async (t) => {
  for (const name of [
    'input_embeds',
    'prompt_embeds',
    'Prompt_Embeds',
    'image_data',
    'x_token_ids',
  ]) {
    const { uninspectable } = await facts('chat', chat({ [name]: [1] }))
    t.strictSame(
      uninspectable.map(({ pointer }) => pointer),
      [`/${name}`],
    )
    t.strictSame((await facts('chat', chat({ [name]: null }))).uninspectable, [])
  }
})

t.test('inspect() of words of many megabytes refuses them at once', async (t) => {
  const long = 'a\n'.repeat(2 ** 20)
  await t.rejects(facts('chat', chat({ model: long })), { code: 'MODEL_INVALID' })
  await t.rejects(facts('chat', chat({ messages: [{ role: long }] })), { code: 'FIELD_INVALID' })
  const tools = [{ type: 'function', function: { name: long } }]
  await t.rejects(facts('chat', chat({ tools })), { code: 'FIELD_INVALID' })
})
