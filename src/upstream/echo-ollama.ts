import {
  contentText,
  countTokens,
  type EchoBody,
  messages,
  type Pieces,
  words,
} from './echo-text.ts'

/** Answers a path of the Ollama API; null where it is none. */
export function ollamaAnswer(path: string, body: EchoBody): object | Pieces | null {
  switch (path) {
    case '/api/chat':
      return spoken(body, lastMessage(body), (text) => ({
        message: { role: 'assistant', content: text },
      }))
    case '/api/generate':
      return spoken(body, contentText(body['prompt']), (text) => ({ response: text }))
    case '/api/embed':
      return embeddings(body)
    case '/api/embeddings':
      return { embedding: [0.6, 0.8] }
    case '/api/show':
      return { details: { family: 'echo' }, capabilities: ['completion', 'embedding'] }
    case '/api/tags':
    case '/api/ps':
      return { models: [{ name: 'llama3.2', model: 'llama3.2' }] }
    case '/api/version':
      return { version: '0.0.0-echo' }
    default:
      return null
  }
}

/** A direction for each text, the same for all. */
function embeddings({ model, input }: EchoBody): object {
  const texts: unknown[] = Array.isArray(input) ? input : [input]
  const times = { total_duration: 1, load_duration: 1 }
  return { model, embeddings: texts.map(() => [0.6, 0.8]), ...times, prompt_eval_count: 1 }
}

function lastMessage(body: EchoBody): string {
  return contentText(messages(body).at(-1)?.content)
}

/** Lines unless the call says otherwise. */
function spoken(body: EchoBody, asked: string, say: (text: string) => object): object | Pieces {
  const text = `echo: ${asked}`
  const head = { model: body['model'], created_at: '1970-01-01T00:00:00Z' }
  const end = {
    done: true,
    done_reason: 'stop',
    prompt_eval_count: countTokens(asked),
    eval_count: countTokens(text),
  }
  if (body['stream'] === false) return { ...head, ...say(text), ...end }
  const lines: object[] = words(text).map((word) => ({ ...head, ...say(word), done: false }))
  return [...lines, { ...head, ...say(''), ...end }].map((line) => `${JSON.stringify(line)}\n`)
}
