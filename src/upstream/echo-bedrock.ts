import { crc32 } from 'node:zlib'

import { contentText, countTokens, type EchoBody, messages, words } from './echo-text.ts'

const PATH =
  /^\/model\/[^/]+\/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)$/

/** The answer of Amazon Bedrock to a request, by its path: JSON, or frames of a stream; null for other paths. */
export function bedrockAnswer(path: string, body: EchoBody): object | readonly Buffer[] | null {
  const verb = PATH.exec(path)?.[1]
  if (verb === undefined) return null
  const input = countTokens(JSON.stringify(body))
  if (verb === 'invoke' && path.includes('embed')) return embeddings(body, input)
  if (verb === 'count-tokens') return { inputTokens: input }
  const text = `echo: ${said(body)}`
  const output = countTokens(text)
  const usage = { inputTokens: input, outputTokens: output, totalTokens: input + output }
  if (verb === 'converse') return converseAnswer(text, usage)
  if (verb === 'converse-stream') return converseStream(text, usage)
  const message = {
    id: 'msg_echo',
    type: 'message',
    role: 'assistant',
    content: [{ type: 'text', text }],
    stop_reason: 'end_turn',
    usage: { input_tokens: input, output_tokens: output },
  }
  return verb === 'invoke' ? message : invokeStream(text, input, output)
}

/** A direction for each text, the same for all, in the forms of Titan's and of Cohere's models at once. */
function embeddings({ texts }: EchoBody, inputTextTokenCount: number): object {
  const direction = [0.6, 0.8]
  if (!Array.isArray(texts)) return { embedding: direction, inputTextTokenCount }
  return { embeddings: texts.map(() => direction), texts, response_type: 'embeddings_floats' }
}

function said(body: EchoBody): string {
  return contentText(messages(body).at(-1)?.content ?? body['prompt'] ?? body['inputText'])
}

interface Usage {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly totalTokens: number
}

function converseAnswer(text: string, usage: Usage): object {
  const message = { role: 'assistant', content: [{ text }] }
  return { output: { message }, stopReason: 'end_turn', usage, metrics: { latencyMs: 1 } }
}

function converseStream(text: string, usage: Usage): readonly Buffer[] {
  return [
    event('messageStart', { role: 'assistant' }),
    ...words(text).map((word) => {
      return event('contentBlockDelta', { contentBlockIndex: 0, delta: { text: word } })
    }),
    event('contentBlockStop', { contentBlockIndex: 0 }),
    event('messageStop', { stopReason: 'end_turn' }),
    event('metadata', { usage, metrics: { latencyMs: 1 } }),
  ]
}

function invokeStream(text: string, input: number, output: number): readonly Buffer[] {
  const counts = { inputTokenCount: input, outputTokenCount: output }
  const events: object[] = [
    ...words(text).map((word) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'text_delta', text: word },
    })),
    { type: 'message_stop', 'amazon-bedrock-invocationMetrics': counts },
  ]
  return events.map((each) => {
    return event('chunk', { bytes: Buffer.from(JSON.stringify(each)).toString('base64') })
  })
}

/** A frame of AWS: lengths, headers, payload, and a sum after each. */
function event(type: string, payload: object): Buffer {
  const headers = [
    [':event-type', type],
    [':content-type', 'application/json'],
    [':message-type', 'event'],
  ].map(([name = '', value = '']) => {
    return Buffer.from(
      `${String.fromCharCode(name.length)}${name}\x07\0${String.fromCharCode(value.length)}${value}`,
      'latin1',
    )
  })
  const head = Buffer.concat(headers)
  const body = Buffer.from(JSON.stringify(payload))
  const prelude = Buffer.alloc(12)
  prelude.writeUInt32BE(16 + head.length + body.length, 0)
  prelude.writeUInt32BE(head.length, 4)
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8)
  const frame = Buffer.concat([prelude, head, body, Buffer.alloc(4)])
  frame.writeUInt32BE(crc32(frame.subarray(0, -4)), frame.length - 4)
  return frame
}
