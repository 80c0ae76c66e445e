import { contentText, countTokens, type EchoBody, type Pieces, words } from './echo-text.ts'

/** What is asked of Gemini: the model and the verb of its path. */
const CALL = /^\/v1(?:beta)?\/models\/([^/]+):(\w+)$/
const VECTOR = [0.6, 0.8]

/** Answers a path of the Gemini API; null where it is none. `sse` is `alt=sse`. */
export function geminiAnswer(path: string, body: EchoBody, sse: boolean): object | Pieces | null {
  const [, model = '', verb = ''] = CALL.exec(path) ?? []
  switch (verb) {
    case 'generateContent':
      return answer(model, body, said(body), true)
    case 'streamGenerateContent':
      return stream(model, body, sse)
    case 'countTokens':
      return { totalTokens: promptTokens(body) }
    case 'embedContent':
      return { embedding: { values: VECTOR } }
    case 'batchEmbedContents': {
      const requests = (body['requests'] ?? []) as unknown[]
      return { embeddings: requests.map(() => ({ values: VECTOR })) }
    }
    default:
      return null
  }
}

/** The list of models, or one of them. */
export function geminiModels(path: string): object {
  const name = path.split('/models/')[1]
  if (name !== undefined) return { name: `models/${name}`, displayName: name }
  return { models: [{ name: 'models/gemini-2.5-flash', displayName: 'gemini-2.5-flash' }] }
}

/** One word a chunk: events, or the pieces of one JSON array. */
function stream(model: string, body: EchoBody, sse: boolean): Pieces {
  const pieces = words(said(body))
  const chunks = pieces.map((word, index) =>
    JSON.stringify(answer(model, body, word, index === pieces.length - 1)),
  )
  if (sse) return chunks.map((chunk) => `data: ${chunk}\r\n\r\n`)
  return chunks.map((chunk, index) => (index === 0 ? `[${chunk}` : `,\r\n${chunk}`)).concat(']')
}

function answer(model: string, body: EchoBody, text: string, isLast: boolean): object {
  const prompt = promptTokens(body)
  const output = countTokens(said(body))
  return {
    candidates: [
      {
        content: { role: 'model', parts: [{ text }] },
        index: 0,
        ...(isLast && { finishReason: 'STOP' }),
      },
    ],
    usageMetadata: {
      promptTokenCount: prompt,
      candidatesTokenCount: output,
      totalTokenCount: prompt + output,
    },
    modelVersion: model,
  }
}

function contents(body: EchoBody): { parts?: unknown }[] {
  return Array.isArray(body['contents']) ? (body['contents'] as { parts?: unknown }[]) : []
}

function said(body: EchoBody): string {
  return `echo: ${contentText(contents(body).at(-1)?.parts)}`
}

function promptTokens(body: EchoBody): number {
  return contents(body).reduce((total, { parts }) => total + countTokens(contentText(parts)), 0)
}
