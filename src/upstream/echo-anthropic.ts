import {
  contentText,
  countTokens,
  echoed,
  type EchoBody,
  messages,
  type Pieces,
  words,
} from './echo-text.ts'

/** A message that says `echo: ` and the last message. */
export function messageAnswer(body: EchoBody, id: string): object {
  const text = echoed(body)
  return {
    ...head(body, id),
    content: [{ type: 'text', text }],
    stop_reason: 'end_turn',
    usage: { input_tokens: promptTokens(body), output_tokens: countTokens(text) },
  }
}

/** The same as the events of a streamed message, one word a delta. */
export function messageStream(body: EchoBody, id: string): Pieces {
  const text = echoed(body)
  const usage = { input_tokens: promptTokens(body), output_tokens: 1 }
  const message = { ...head(body, id), content: [], stop_reason: null, usage }
  const events: { type: string; [field: string]: unknown }[] = [
    { type: 'message_start', message },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'ping' },
    ...words(text).map((word) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'text_delta', text: word },
    })),
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: countTokens(text) },
    },
    { type: 'message_stop' },
  ]
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

/** The answer to any other request, by its path; null where there is none. */
export function anthropicAnswer(path: string, body: EchoBody, id: string): object | null {
  if (path === '/v1/messages/count_tokens') return { input_tokens: promptTokens(body) }
  if (!path.startsWith('/v1/messages/batches')) return null
  const counts = { processing: 1, succeeded: 0, errored: 0, canceled: 0, expired: 0 }
  return {
    id: `msgbatch_${id}`,
    type: 'message_batch',
    processing_status: path.endsWith('/cancel') ? 'canceling' : 'in_progress',
    request_counts: counts,
    created_at: '1970-01-01T00:00:00Z',
    expires_at: '1970-01-02T00:00:00Z',
  }
}

/** The models of the echo, in Anthropic's words. */
export function anthropicModels(): object {
  const data = ['claude-sonnet-4-5', 'claude-haiku-4-5'].map((id) => ({
    type: 'model',
    id,
    display_name: id,
    created_at: '1970-01-01T00:00:00Z',
  }))
  return { data, has_more: false, first_id: data[0]?.id, last_id: data.at(-1)?.id }
}

function head(body: EchoBody, id: string): object {
  return {
    id: `msg_${id}`,
    type: 'message',
    role: 'assistant',
    model: body['model'],
    stop_sequence: null,
  }
}

function promptTokens(body: EchoBody): number {
  const spoken = messages(body).map(({ content }) => countTokens(contentText(content)))
  return spoken.reduce((sum, count) => sum + count, countTokens(contentText(body['system'])))
}
