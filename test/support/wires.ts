import { writeFrame } from '../../src/dialect/bedrock-frames.ts'
import type { Wire } from './client-promises.ts'
import { CHAT_ANSWER, CHAT_EVENTS } from './fake-upstream.ts'

/** What each provider puts on the wire in the same small conversation. */

const events = (list: readonly { type: string }[]): string[] =>
  list.map((data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`)
const data = (list: readonly object[]): string[] =>
  list.map((each) => `data: ${JSON.stringify(each)}\n\n`)

const CHAT_CALL = { type: 'function', function: { name: 'now', arguments: '{"zone":"UTC"}' } }
const OPENAI_FAILURE = {
  error: {
    message: 'No such parameter',
    type: 'invalid_request_error',
    param: null,
    code: 'unknown_parameter',
  },
}

/** Chat completions; the first event carries only the role. */
export const OPENAI_CHAT: Wire = {
  dialect: 'openai',
  plain: CHAT_ANSWER,
  events: [
    ...data([
      {
        id: 'chatcmpl-1',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'm',
        choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
      },
    ]),
    ...CHAT_EVENTS,
  ],
  type: 'text/event-stream',
  tool: {
    ...CHAT_ANSWER,
    choices: [
      {
        index: 0,
        finish_reason: 'tool_calls',
        message: {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'call12345', ...CHAT_CALL }],
        },
      },
    ],
  },
  failure: OPENAI_FAILURE,
}

const COHERE_MESSAGE = {
  id: 'c1',
  finish_reason: 'COMPLETE',
  message: { role: 'assistant', content: [{ type: 'text', text: 'Hello there' }] },
  usage: {
    billed_units: { input_tokens: 5, output_tokens: 2 },
    tokens: { input_tokens: 70, output_tokens: 4 },
  },
}
/** An event of Cohere's stream about the first block of a message. */
export const cohereEvent = (type: string, message: object, more: object = {}): string => {
  const event = { type, index: 0, delta: { message }, ...more }
  return events([event])[0]!
}

/** Cohere's chat, version 2. */
export const COHERE: Wire = {
  dialect: 'openai',
  plain: COHERE_MESSAGE,
  events: [
    cohereEvent('content-start', { content: { type: 'text', text: '' } }),
    cohereEvent('content-delta', { content: { text: 'Hello' } }),
    cohereEvent('content-delta', { content: { text: ' there' } }),
    cohereEvent('content-end', {}),
    cohereEvent('message-end', {}, { delta: { usage: COHERE_MESSAGE.usage } }),
    'data: [DONE]\n\n',
  ],
  type: 'text/event-stream',
  tool: {
    ...COHERE_MESSAGE,
    finish_reason: 'TOOL_CALL',
    message: {
      role: 'assistant',
      tool_plan: 'I will look at the clock',
      tool_calls: [{ id: 'now_1', ...CHAT_CALL }],
    },
  },
  failure: { id: 'c1', message: 'No such parameter' },
}

const TEXT_ITEM = {
  type: 'message',
  id: 'msg_1',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text: 'Hello there', annotations: [] }],
}
const RESPONSE = {
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'completed',
  model: 'm',
  output: [TEXT_ITEM],
  usage: {
    input_tokens: 5,
    output_tokens: 2,
    total_tokens: 7,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens_details: { reasoning_tokens: 0 },
  },
}
const delta = (text: string) => ({
  type: 'response.output_text.delta',
  item_id: 'msg_1',
  output_index: 0,
  content_index: 0,
  delta: text,
})

/** Responses. */
export const OPENAI_RESPONSES: Wire = {
  dialect: 'openai',
  plain: RESPONSE,
  events: events([
    {
      type: 'response.created',
      response: { ...RESPONSE, status: 'in_progress', output: [] },
    } as { type: string },
    { ...delta('Hello') },
    { ...delta(' there') },
    { type: 'response.completed', response: RESPONSE } as { type: string },
  ]),
  type: 'text/event-stream',
  tool: {
    ...RESPONSE,
    output: [
      {
        type: 'function_call',
        id: 'fc_1',
        call_id: 'call_1',
        status: 'completed',
        name: 'now',
        arguments: '{"zone":"UTC"}',
      },
    ],
  },
  failure: OPENAI_FAILURE,
}

const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content: [{ type: 'text', text: 'Hello there' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: { input_tokens: 5, output_tokens: 2 },
}
const block = (type: string, more: object): { type: string } => {
  const event = { type, index: 0, ...more }
  return event
}
const text = (piece: string) =>
  block('content_block_delta', { delta: { type: 'text_delta', text: piece } })
const MESSAGE_START = { ...MESSAGE, content: [], stop_reason: null }
const MESSAGE_END = {
  delta: { stop_reason: 'end_turn', stop_sequence: null },
  usage: { output_tokens: 2 },
}
const [start = '', opened = '', hello = '', ...rest] = events([
  { type: 'message_start', message: MESSAGE_START } as { type: string },
  block('content_block_start', { content_block: { type: 'text', text: '' } }),
  text('Hello'),
  text(' there'),
  block('content_block_stop', {}),
  { type: 'message_delta', ...MESSAGE_END },
  { type: 'message_stop' },
])

/** Messages. */
export const ANTHROPIC: Wire = {
  dialect: 'anthropic',
  plain: MESSAGE,
  events: [start + opened, hello, ...rest],
  type: 'text/event-stream; charset=utf-8',
  tool: {
    ...MESSAGE,
    stop_reason: 'tool_use',
    content: [{ type: 'tool_use', id: 'toolu_1', name: 'now', input: { zone: 'UTC' } }],
  },
  failure: {
    type: 'error',
    error: { type: 'invalid_request_error', message: 'No such parameter' },
    request_id: 'req_1',
  },
}

const candidate = (part: object, more: object = {}) => ({
  candidates: [{ index: 0, content: { role: 'model', parts: [part] }, ...more }],
  modelVersion: 'm',
  usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 2, totalTokenCount: 7 },
})

/** generateContent. */
export const GEMINI: Wire = {
  dialect: 'gemini',
  plain: candidate({ text: 'Hello there' }, { finishReason: 'STOP' }),
  events: data([
    candidate({ text: '' }),
    candidate({ text: 'Hello' }),
    candidate({ text: ' there' }, { finishReason: 'STOP' }),
  ]),
  type: 'text/event-stream',
  tool: candidate({ functionCall: { name: 'now', args: { zone: 'UTC' } } }),
  failure: { error: { code: 400, message: 'No such parameter', status: 'INVALID_ARGUMENT' } },
}

const line = (content: string, more: object = {}) => ({
  model: 'm',
  created_at: '2026-11-01T00:00:00Z',
  message: { role: 'assistant', content, ...more },
  done: false,
})
const ENDED = { done: true, done_reason: 'stop', prompt_eval_count: 5, eval_count: 2 }

/** api/chat. */
export const OLLAMA: Wire = {
  dialect: 'ollama',
  plain: { ...line('Hello there'), ...ENDED },
  events: [line(''), line('Hello'), line(' there'), { ...line(''), ...ENDED }].map(
    (each) => `${JSON.stringify(each)}\n`,
  ),
  type: 'application/x-ndjson',
  tool: {
    ...line('', { tool_calls: [{ function: { name: 'now', arguments: { zone: 'UTC' } } }] }),
    ...ENDED,
  },
  failure: { error: 'No such parameter' },
}

const frame = (type: string, payload: object) =>
  writeFrame(
    { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    JSON.stringify(payload),
  )
const said = (text: string) => frame('contentBlockDelta', { contentBlockIndex: 0, delta: { text } })
const converse = (block: object, stopReason: string) => ({
  output: { message: { role: 'assistant', content: [block] } },
  stopReason,
  usage: { inputTokens: 5, outputTokens: 2, totalTokens: 7 },
  metrics: { latencyMs: 1 },
})

/** Converse. */
export const BEDROCK: Wire = {
  dialect: 'bedrock',
  plain: converse({ text: 'Hello there' }, 'end_turn'),
  events: [
    frame('messageStart', { role: 'assistant' }),
    said('Hello'),
    said(' there'),
    frame('contentBlockStop', { contentBlockIndex: 0 }),
    frame('messageStop', { stopReason: 'end_turn' }),
    frame('metadata', {
      usage: { inputTokens: 5, outputTokens: 2, totalTokens: 7 },
      metrics: { latencyMs: 1 },
    }),
  ],
  type: 'application/vnd.amazon.eventstream',
  tool: converse({ toolUse: { toolUseId: 't1', name: 'now', input: { zone: 'UTC' } } }, 'tool_use'),
  failure: { __type: 'ValidationException', message: 'No such parameter' },
}
