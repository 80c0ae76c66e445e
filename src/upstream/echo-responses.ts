import { contentText, countTokens, type EchoBody, type Pieces, words } from './echo-text.ts'

/** A response that says `echo: ` and the last input. */
export function responsesAnswer(body: EchoBody, id: string): object {
  return response(body, id, 'completed', said(body))
}

/** The same as the events of a streamed response, one word a delta. */
export function responsesStream(body: EchoBody, id: string): Pieces {
  const text = said(body)
  const at = { item_id: `msg_${id}`, output_index: 0, content_index: 0 }
  const events: { type: string; [field: string]: unknown }[] = [
    { type: 'response.created', response: response(body, id, 'in_progress', null) },
    { type: 'response.in_progress', response: response(body, id, 'in_progress', null) },
    { type: 'response.output_item.added', output_index: 0, item: item(id, 'in_progress', null) },
    { type: 'response.content_part.added', ...at, part: part('') },
    ...words(text).map((delta) => ({
      type: 'response.output_text.delta',
      ...at,
      delta,
      logprobs: [],
    })),
    { type: 'response.output_text.done', ...at, text, logprobs: [] },
    { type: 'response.content_part.done', ...at, part: part(text) },
    { type: 'response.output_item.done', output_index: 0, item: item(id, 'completed', text) },
    { type: 'response.completed', response: response(body, id, 'completed', text) },
  ]
  return events.map((event, index) => {
    const { type, ...rest } = event
    const data = { type, sequence_number: index, ...rest }
    return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`
  })
}

function response(body: EchoBody, id: string, status: string, text: string | null): object {
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: 0,
    status,
    error: null,
    incomplete_details: null,
    instructions: body['instructions'] ?? null,
    model: body['model'] ?? 'gpt-4o',
    output: text === null ? [] : [item(id, 'completed', text)],
    parallel_tool_calls: true,
    tool_choice: 'auto',
    tools: [],
    usage: text === null ? null : usage(body, text),
  }
}

function item(id: string, status: string, text: string | null): object {
  const content = text === null ? [] : [part(text)]
  return { id: `msg_${id}`, type: 'message', status, role: 'assistant', content }
}

function part(text: string): object {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

function inputs(body: EchoBody): string[] {
  const input = body['input']
  if (!Array.isArray(input)) return [contentText(input)]
  return (input as { content?: unknown }[]).map((entry) => contentText(entry.content))
}

function said(body: EchoBody): string {
  return `echo: ${inputs(body).at(-1) ?? ''}`
}

function usage(body: EchoBody, text: string): object {
  const input = inputs(body).reduce((sum, entry) => sum + countTokens(entry), 0)
  const output = countTokens(text)
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: input + output,
  }
}
