import {
  contentText,
  countTokens,
  echoed,
  type EchoBody,
  messages,
  type Pieces,
  words,
} from './echo-text.ts'

/** An answer in the form of Cohere's API v2 that says `echo: ` and the last message. */
export function cohereAnswer(body: EchoBody, id: string): object {
  const text = echoed(body)
  return {
    id,
    finish_reason: 'COMPLETE',
    message: { role: 'assistant', content: [{ type: 'text', text }] },
    usage: usage(body, text),
  }
}

/** The same, one word an event. */
export function cohereStream(body: EchoBody, id: string): Pieces {
  const text = echoed(body)
  const events = [
    event('message-start', { id, delta: { message: { role: 'assistant', content: [] } } }),
    event('content-start', { index: 0, delta: content({ type: 'text', text: '' }) }),
    ...words(text).map((word) => {
      return event('content-delta', { index: 0, delta: content({ text: word }) })
    }),
    event('content-end', { index: 0 }),
    event('message-end', { delta: { finish_reason: 'COMPLETE', usage: usage(body, text) } }),
  ]
  return [...events, 'data: [DONE]\n\n']
}

/** A direction for each text, the same for all. */
export function cohereEmbeddings(body: EchoBody, id: string): object {
  const texts = Array.isArray(body['texts']) ? (body['texts'] as unknown[]) : []
  const tokens = texts.reduce<number>((sum, text) => sum + countTokens(String(text)), 0)
  return {
    id,
    embeddings: { float: texts.map(() => [1, 0]) },
    texts,
    meta: { api_version: { version: '2' }, billed_units: { input_tokens: tokens } },
  }
}

function event(type: string, more: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
}

function content(block: object): object {
  return { message: { content: block } }
}

function usage(body: EchoBody, text: string): object {
  const all = messages(body).map((each) => contentText(each.content))
  const counts = {
    input_tokens: all.reduce((sum, each) => sum + countTokens(each), 0),
    output_tokens: countTokens(text),
  }
  return { billed_units: counts, tokens: counts }
}
