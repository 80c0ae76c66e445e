import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

import { anthropicAnswer, anthropicModels, messageAnswer, messageStream } from './echo-anthropic.ts'
import { bedrockAnswer } from './echo-bedrock.ts'
import { chatAnswer, chatStream } from './echo-chat.ts'
import { cohereAnswer, cohereEmbeddings, cohereStream } from './echo-cohere.ts'
import { fileAnswer, transcriptAnswer, transcriptStream } from './echo-form.ts'
import { geminiAnswer, geminiModels } from './echo-gemini.ts'
import { ollamaAnswer } from './echo-ollama.ts'
import {
  completionAnswer,
  completionStream,
  decisionAnswer,
  imageAnswer,
  imageStream,
  moderationAnswer,
  rerankAnswer,
  runAnswer,
  runStream,
  speechAnswer,
  speechStream,
  storedAnswer,
} from './echo-other.ts'
import { responsesAnswer, responsesStream } from './echo-responses.ts'
import { countTokens, type EchoBody, type Pieces } from './echo-text.ts'

/** What to answer: JSON, the pieces of a stream, bytes; null where there is nothing at that path. */
export type Composed = object | Pieces | Buffer | null

type Answerer = (body: EchoBody, id: string) => Composed

const MODELS = ['gpt-4o', 'gpt-4o-mini', 'gpt-4.1', 'gpt-5', 'text-embedding-3-small']
const EMBEDDING_LENGTH = 16

/** Answers to what is asked with a body, by path. */
const POSTS: ReadonlyMap<string, Answerer> = new Map<string, Answerer>([
  ['/v1/chat/completions', either(chatAnswer, chatStream)],
  ['/v1/responses', either(responsesAnswer, responsesStream)],
  ['/v1/responses/compact', responsesAnswer],
  ['/v1/embeddings', embeddings],
  ['/v1/completions', either(completionAnswer, completionStream)],
  ['/v1/moderations', moderationAnswer],
  ['/v1/images/generations', either(imageAnswer, (body) => imageStream(body, 'generation'))],
  ['/v1/images/edits', either(imageAnswer, (body) => imageStream(body, 'edit'))],
  ['/v1/images/variations', imageAnswer],
  ['/v1/audio/speech', speech],
  ['/v1/audio/transcriptions', either(transcriptAnswer, transcriptStream)],
  ['/v1/audio/translations', transcriptAnswer],
  ['/v1/decisions', decisionAnswer],
  ['/v1/files', fileAnswer],
  ['/v1/rerank', rerankAnswer],
  ['/v2/rerank', rerankAnswer],
  ['/v2/chat', either(cohereAnswer, cohereStream)],
  ['/v2/embed', cohereEmbeddings],
  ['/rerank', rerankAnswer],
  ['/score', rerankAnswer],
  ['/tokenize', (body) => ({ count: countTokens(JSON.stringify(body)), tokens: [] })],
  ['/detokenize', () => ({ prompt: '' })],
  ['/v1/messages', either(messageAnswer, messageStream)],
])

const RUNS = /^\/v1\/threads\/(?:runs|[^/]+\/runs(?:\/[^/]+\/submit_tool_outputs)?)$/

/** The answer to one request, which follows from it alone. */
export function compose(
  { method = '', url = '', headers }: IncomingMessage,
  body: EchoBody,
  id: string,
): Composed {
  const [written = '', query = ''] = url.split('?')
  const path = openaiPath(written)
  const own = composeOther(method, path, query, body)
  if (own !== null) return own
  const isModels = method === 'GET' && path.startsWith('/v1/models')
  if (isModels) return 'anthropic-version' in headers ? anthropicModels() : modelsAnswer(path)
  const known = method === 'POST' ? POSTS.get(path) : undefined
  if (known !== undefined) return known(body, id)
  return path.startsWith('/v1/') ? composeStored(method, path, body, id) : null
}

function composeStored(method: string, path: string, body: EchoBody, id: string): Composed {
  if (method !== 'POST') return storedAnswer(method, path, id)
  if (RUNS.test(path)) return either(runAnswer, runStream)(body, id)
  return anthropicAnswer(path, body, id) ?? storedAnswer(method, path, id)
}

/** Other providers serve OpenAI's paths below prefixes of their own. */
function openaiPath(path: string): string {
  return path
    .replace(/^\/openai\/(?:v1|deployments\/[^/]+)\//, '/v1/')
    .replace(/^\/openai\//, '/v1/')
    .replace(/^\/v1beta\/openai\//, '/v1/')
}

function composeOther(method: string, path: string, query: string, body: EchoBody): Composed {
  if (path.startsWith('/api/')) return ollamaAnswer(path, body)
  if (path.startsWith('/model/')) return bedrockAnswer(path, body)
  if (method === 'GET' && path.startsWith('/v1beta/models')) return geminiModels(path)
  return method === 'POST' ? geminiAnswer(path, body, query.includes('alt=sse')) : null
}

/** As asked: whole, or as a stream. */
function either(whole: Answerer, stream: Answerer): Answerer {
  return (body, id) => (body['stream'] === true ? stream : whole)(body, id)
}

function speech(body: EchoBody): Composed {
  return body['stream_format'] === 'sse' ? speechStream(body) : speechAnswer(body)
}

/** A list of models, or one of them. */
function modelsAnswer(path: string): object | null {
  if (path === '/v1/models') return { object: 'list', data: MODELS.map(model) }
  const name = path.slice('/v1/models/'.length)
  return MODELS.includes(name) ? model(name) : null
}

function model(id: string): object {
  return { id, object: 'model', created: 0, owned_by: 'governor' }
}

function embeddings(body: EchoBody): object {
  const inputs = Array.isArray(body['input']) ? (body['input'] as unknown[]) : [body['input']]
  const data = inputs.map((input, index) => {
    const vector = embed(JSON.stringify(input))
    const embedding =
      body['encoding_format'] === 'base64'
        ? Buffer.from(Float32Array.from(vector).buffer).toString('base64')
        : vector
    return { object: 'embedding', index, embedding }
  })
  const tokens = inputs.reduce<number>((sum, input) => sum + countTokens(JSON.stringify(input)), 0)
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return { object: 'list', data, model: body['model'], usage }
}

/** A direction in space that follows from the text alone. */
function embed(text: string): number[] {
  const digest = createHash('sha512').update(text).digest()
  return Array.from({ length: EMBEDDING_LENGTH }, (_, index) =>
    Math.fround(digest.readInt16BE(index * 2) / 32_768),
  )
}
