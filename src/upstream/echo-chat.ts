import {
  contentText,
  countTokens,
  echoed,
  type EchoBody,
  messages,
  type Pieces,
  words,
} from './echo-text.ts'

/** A chat completion that says `echo: ` and the last message. */
export function chatAnswer(body: EchoBody, id: string): object {
  const text = echoed(body)
  const message = { role: 'assistant', content: text, refusal: null }
  return {
    ...head(body, id, 'chat.completion'),
    choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop' }],
    usage: usage(body, text),
  }
}

/** The same, one word a chunk, in the form of OpenAI's event stream. */
export function chatStream(body: EchoBody, id: string): Pieces {
  const text = echoed(body)
  const asked = (body['stream_options'] as { include_usage?: unknown } | null | undefined)
    ?.include_usage
  const common = head(body, id, 'chat.completion.chunk')
  const chunk = (delta: object, finish: string | null): string =>
    event({
      ...common,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...(asked === true && { usage: null }),
    })
  return [
    chunk({ role: 'assistant', content: '' }, null),
    ...words(text).map((word) => chunk({ content: word }, null)),
    chunk({}, 'stop'),
    ...(asked === true ? [event({ ...common, choices: [], usage: usage(body, text) })] : []),
    'data: [DONE]\n\n',
  ]
}

function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`
}

function head(body: EchoBody, id: string, object: string): object {
  return { id: `chatcmpl-${id}`, object, created: 0, model: body['model'] }
}

function usage(body: EchoBody, text: string): object {
  const prompt = messages(body).reduce(
    (sum, message) => sum + countTokens(contentText(message.content)),
    0,
  )
  const completion = countTokens(text)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  }
}
