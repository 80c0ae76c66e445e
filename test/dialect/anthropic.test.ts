import t from 'tap'

import { anthropic } from '../../src/dialect/anthropic.ts'
import { GovernorError } from '../../src/errors.ts'
import type { Facts, Route } from '../../src/exchange.ts'
import { refused } from './refused.ts'

const MESSAGES = '/v1/messages'
const BATCHES = '/v1/messages/batches'
const BASE64 = 'iVBORw0KGgo'.repeat(20)

function route(path: string): Route {
  const found = anthropic.lookup('POST', path)
  if (found.kind !== 'endpoint') throw new Error(`${path} is not known`)
  return { endpoint: found.endpoint, dialect: anthropic, mount: null, path, pathModel: null }
}

function facts(body: object | string, path = MESSAGES): Promise<Facts> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return anthropic.inspect(route(path), Buffer.from(text), { jsonDepth: 64 })
}

function refusal(body: object | string, path = MESSAGES): Promise<string> {
  return refused(facts(body, path))
}

const marks = ({ uninspectable }: Facts) =>
  uninspectable.map(({ kind, pointer }) => `${kind} ${pointer}`)
const message = (more: object) => ({
  model: 'claude-x',
  max_tokens: 9,
  messages: [{ role: 'user', content: 'hello' }],
  ...more,
})
const blocks = (...content: unknown[]) => message({ messages: [{ role: 'user', content }] })
const batch = (...params: unknown[]) => ({
  requests: params.map((each, index) => ({ custom_id: `c${index}`, params: each })),
})

t.test('facts of a message', async (t) => {
  const { texts, ...rest } = await facts(
    message({ stream: true, system: 'be nice', tools: [{ name: 'now', input_schema: {} }] }),
  )
  t.strictSame(rest, {
    model: 'claude-x',
    models: ['claude-x'],
    stream: true,
    maxOutputTokens: 9,
    tools: ['now'],
    inputChars: 'hello'.length + 'be nice'.length + 'namenowinput_schema'.length,
    uninspectable: [],
    askUsage: null,
  })
  t.equal(texts.pointer(texts.values.indexOf('hello')), '/messages/0/content')
})

t.test('every string of every kind of block is a text', async (t) => {
  const kinds: object[] = [
    { type: 'text', text: 'ZEBRA' },
    { type: 'thinking', thinking: 'ZEBRA', signature: BASE64 },
    { type: 'tool_use', id: 'i', name: 'n', input: { deep: [{ model: 'a b', x: 'ZEBRA' }] } },
    { type: 'tool_use', id: 'i', name: 'n', input: { ZEBRA: 1 } },
    { type: 'tool_result', tool_use_id: 'i', content: 'ZEBRA' },
    { type: 'tool_result', tool_use_id: 'i', content: [{ type: 'text', text: 'ZEBRA' }] },
    { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'ZEBRA' } },
    { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'ZEBRA' }] } },
    { type: 'document', title: 'ZEBRA', source: { type: 'text', data: 'a' } },
    { type: 'search_result', source: 's', title: 't', content: [{ type: 'text', text: 'ZEBRA' }] },
    { type: 'mcp_tool_use', id: 'i', name: 'n', server_name: 's', input: { a: 'ZEBRA' } },
  ]
  for (const block of kinds) {
    const found = await facts(blocks(block))
    t.ok(found.texts.values.includes('ZEBRA'), JSON.stringify(block))
    t.strictSame(marks(found), [], JSON.stringify(block))
  }
})

t.test('what is no text is named, and base64 is no text', async (t) => {
  const source = { type: 'base64', media_type: 'image/png', data: BASE64 }
  const cases: readonly (readonly [object, string])[] = [
    [{ type: 'image', source }, 'image'],
    [{ type: 'image', source: { type: 'url', url: 'https://a/b.png' } }, 'image'],
    [{ type: 'document', source }, 'file'],
    [{ type: 'document', source: { type: 'url', url: 'https://a/b.pdf' } }, 'file'],
    [{ type: 'redacted_thinking', data: BASE64 }, 'encrypted'],
    [{ type: 'container_upload', file_id: 'f' }, 'file'],
    [{ type: 'from_tomorrow', text: 'a' }, 'file'],
  ]
  for (const [block, kind] of cases) {
    const found = await facts(blocks(block))
    t.equal(marks(found)[0], `${kind} /messages/0/content/0`, JSON.stringify(block))
    t.notOk(found.texts.values.includes(BASE64))
  }
  const nested = { type: 'tool_result', tool_use_id: 'i', content: [{ type: 'image', source }] }
  t.strictSame(marks(await facts(blocks(nested))), ['image /messages/0/content/0/content/0'])
  const found = {
    type: 'web_search_tool_result',
    tool_use_id: 'i',
    content: [{ type: 'web_search_result', title: 't', url: 'u', encrypted_content: BASE64 }],
  }
  t.strictSame(marks(await facts(blocks(found))), [
    'encrypted /messages/0/content/0/content/0/encrypted_content',
  ])
  const lying = { type: 'image', source: { type: 'base64', data: 'ZEBRA is no base64!' } }
  t.ok((await facts(blocks(lying))).texts.values.includes('ZEBRA is no base64!'))
})

t.test(
  'hosted tools, servers and state elsewhere are named; tools of the caller are not',
  async (t) => {
    const tools = [
      { type: 'custom', name: 'own', input_schema: {} },
      { type: 'bash_20250124', name: 'bash' },
      { type: 'computer_20251124', name: 'computer' },
      { type: 'web_search_20250305', name: 'web_search' },
      { type: 'code_execution_20250825', name: 'code_execution' },
    ]
    const found = await facts(
      message({ tools, mcp_servers: [{ type: 'url', url: 'u', name: 'n' }], container: 'c' }),
    )
    t.strictSame(marks(found).toSorted(), [
      'hosted_tool /mcp_servers',
      'hosted_tool /tools/3',
      'hosted_tool /tools/4',
      'reference /container',
    ])
    t.ok(found.tools.includes('web_search_20250305') && found.tools.includes('own'))
    t.strictSame(marks(await facts(message({ mcp_servers: [], container: null }))), [])
  },
)

t.test('every model counts, and arguments of tools name none', async (t) => {
  const found = await facts({
    ...message({
      fallbacks: [{ model: 'claude-y' }],
      tools: [
        { type: 'advisor_20260301', name: 'advisor', model: 'claude-z' },
        { name: 'n', input_schema: { properties: { model: { type: 'string' } } } },
      ],
      metadata: { model: 'not a model' },
    }),
  })
  t.strictSame(found.models, ['claude-x', 'claude-y', 'claude-z'])
  t.equal(await refusal(message({ fallbacks: 'default' })), 'FIELD_INVALID /fallbacks')
  t.equal(await refusal(message({ model: ['m'] })), 'MODEL_INVALID /model')
  t.equal(await refusal(message({ System: 'm' })), 'FIELD_INVALID /System')
  t.equal(await refusal(message({ model: 'claude x' })), 'MODEL_INVALID /model')
})

t.test('a word cut between two messages of one role is one word', async (t) => {
  const { texts } = await facts(
    message({
      messages: [
        { role: 'user', content: 'ZEB' },
        { role: 'user', content: [{ type: 'text', text: 'RA' }] },
      ],
    }),
  )
  t.ok(texts.values.includes('ZEBRA'))
})

t.test('each request of a batch is a request', async (t) => {
  const found = await facts(
    batch(message({}), message({ model: 'claude-y', max_tokens: 99, system: 'ZEBRA' })),
    BATCHES,
  )
  t.strictSame(found.models, ['claude-x', 'claude-y'])
  t.equal(found.maxOutputTokens, 99)
  t.equal(found.inputChars, 2 * 'hello'.length + 'ZEBRA'.length)
  t.ok(found.texts.values.includes('ZEBRA'))
  const image = blocks({ type: 'image', source: { type: 'file', file_id: 'f' } })
  t.equal(
    marks(await facts(batch(message({}), image), BATCHES))[0],
    'image /requests/1/params/messages/0/content/0',
  )
  t.equal(await refusal({ requests: [] }, BATCHES), 'FIELD_INVALID /requests')
  t.equal(await refusal(batch('x'), BATCHES), 'FIELD_INVALID /requests/0/params')
  t.equal(await refusal(batch({ messages: [] }), BATCHES), 'MODEL_INVALID /requests/0/params/model')
  t.equal(
    await refusal(batch(message({ System: '' })), BATCHES),
    'FIELD_INVALID /requests/0/params/System',
  )
})

t.test('a body of another form is refused', async (t) => {
  const cases: readonly (readonly [object | string, string])[] = [
    [message({ messages: 'hi' }), 'FIELD_INVALID /messages'],
    [message({ messages: [] }), 'FIELD_INVALID /messages'],
    [message({ messages: ['hi'] }), 'FIELD_INVALID /messages/0'],
    [message({ messages: [{ role: 'tool', content: 'a' }] }), 'FIELD_INVALID /messages/0/role'],
    [message({ messages: [{ role: 'user' }] }), 'FIELD_INVALID /messages/0'],
    [blocks('hi'), 'FIELD_INVALID /messages/0/content/0'],
    [blocks({ text: 'hi' }), 'FIELD_INVALID /messages/0/content/0'],
    [message({ system: { text: 'a' } }), 'FIELD_INVALID /system'],
    [message({ tools: {} }), 'FIELD_INVALID /tools'],
    [message({ stream: 'true' }), 'FIELD_INVALID /stream'],
    [message({ max_tokens: '9' }), 'FIELD_INVALID /max_tokens'],
    ['{"model":"a","model":"b","messages":[]}', 'BODY_INVALID -'],
    ['[]', 'BODY_INVALID -'],
  ]
  for (const [body, want] of cases) t.equal(await refusal(body), want, JSON.stringify(body))
})

const START = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    model: 'claude-x-1',
    usage: {
      input_tokens: 3,
      cache_read_input_tokens: 4,
      cache_creation_input_tokens: 5,
      output_tokens: 1,
    },
  },
}
const DELTA = {
  type: 'message_delta',
  delta: { stop_reason: 'end_turn' },
  usage: { output_tokens: 7, output_tokens_details: { thinking_tokens: 2 } },
}
const USAGE = {
  inputTokens: 12,
  outputTokens: 7,
  cachedTokens: 4,
  reasoningTokens: 2,
  responseModel: 'claude-x-1',
  responseId: 'msg_1',
}
const event = (data: { type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`

t.test('usage of a stream, however it is cut, and not a byte changed', async (t) => {
  const text =
    event({ type: 'ping' }) + event(START) + event(DELTA) + event({ type: 'message_stop' })
  const bytes = Buffer.from(text)
  for (const size of [1, 7, 64, bytes.length]) {
    const meter = anthropic.meter(route(MESSAGES), await facts(message({})), false)
    const out: Buffer[] = []
    for (let at = 0; at < bytes.length; at += size) {
      t.equal(meter.complete, false)
      out.push(meter.chunk(bytes.subarray(at, at + size)))
    }
    out.push(meter.flush())
    t.equal(Buffer.concat(out).toString(), text)
    t.strictSame({ ...meter.usage }, USAGE)
    t.equal(meter.complete, true)
  }
})

t.test('figures that a later event leaves out stay what they were', async (t) => {
  const meter = anthropic.meter(route(MESSAGES), await facts(message({})), false)
  const usage = {
    input_tokens: 11,
    cache_creation_input_tokens: 100,
    cache_read_input_tokens: 1000,
  }
  const later = { input_tokens: 12, cache_read_input_tokens: null, output_tokens: 29 }
  const text =
    event(Object.assign({ type: 'message_start' }, { message: { model: 'm', id: 'i', usage } })) +
    event(Object.assign({ type: 'message_delta' }, { usage: later }))
  meter.chunk(Buffer.from(`\u{feff}: first\nid: 1\n${text}: last\nid: 9\nevent: message_stop\n`))
  t.equal(meter.complete, false)
  meter.chunk(Buffer.from('data: {"type":"message_stop"}'))
  meter.flush()
  t.equal(meter.complete, true)
  t.match(meter.usage, { inputTokens: 1112, cachedTokens: 1000, outputTokens: 29 })
})

const read = async (answer: string) => {
  const meter = anthropic.meter(route(MESSAGES), await facts(message({})), false)
  meter.whole(Buffer.from(answer))
  return { ...meter.usage }
}

t.test('usage of a whole answer; nonsense is no usage', async (t) => {
  const { usage } = START.message
  const whole = { ...START.message, usage: { ...usage, ...DELTA.usage } }
  t.strictSame(await read(JSON.stringify(whole)), USAGE)
  for (const odd of ['', 'null', '[]', '{"usage":7}', '{"usage":{"input_tokens":-1}}', '{']) {
    t.match(await read(odd), { inputTokens: null, outputTokens: null })
  }
})

t.test('errors wear the shape of the provider', async (t) => {
  const error = new GovernorError('POLICY_DENIED', { detail: 'no' })
  const body = {
    type: 'error',
    error: { type: 'permission_error', message: error.message },
    request_id: 'r',
  }
  t.strictSame(JSON.parse(anthropic.errorBody(error, 'r', '')), body)
  t.equal(
    anthropic.errorFrame(error, 'r', 'messages'),
    `event: error\ndata: ${JSON.stringify(body)}\n\n`,
  )
  t.match(JSON.parse(anthropic.errorBody(new GovernorError('LIMIT_EXCEEDED'), 'r', '')), {
    error: { type: 'rate_limit_error' },
  })
})
