/** The Ollama API: chat, generate, embeddings and the list of models. Its OpenAI paths are dialect `openai`. */
import type { GovernorError } from '../errors.ts'
import type { Dialect, Endpoint, Lookup, Operation } from '../exchange.ts'
import { closedHint, OLLAMA_CLOSED } from './closed.ts'
import { ollamaAnswers } from './ollama-answers.ts'
import { inspect } from './ollama-inspect.ts'
import { meter } from './ollama-meter.ts'
import type { ParameterTable } from './set-members.ts'
import { compileTable, type Row } from './table.ts'

/** The table. What changes the server is closed. */
export const OLLAMA_ROWS: readonly Row[] = [
  post('/api/chat', 'chat', 'api.chat', true),
  post('/api/generate', 'completions', 'api.generate', true),
  post('/api/embed', 'embeddings', 'api.embed', false),
  post('/api/embeddings', 'embeddings', 'api.embeddings', false),
  // What a model can do, which editors ask before they call it.
  post('/api/show', 'models', 'api.show', false),
  get('/api/tags', 'api.tags'),
  get('/api/ps', 'api.ps'),
  get('/api/version', 'api.version'),
]

function post(path: string, operation: Operation, api: string, generates: boolean): Row {
  return { method: 'POST', path, endpoint: { operation, api, body: 'json', query: [], generates } }
}

function get(path: string, api: string): Row {
  const endpoint: Endpoint = { operation: 'models', api, body: 'none', query: [], generates: false }
  return { method: 'GET', path, endpoint }
}

const GENERATING: ReadonlySet<string> = new Set(['api.chat', 'api.generate'])
const PARAMETERS: ParameterTable = {
  max_output_tokens: { names: ['options.num_predict'] },
  temperature: { names: ['options.temperature'] },
  top_p: { names: ['options.top_p'] },
}

const TABLE = compileTable(OLLAMA_ROWS)

/** The dialect of Ollama. Streams are lines of JSON, and on unless a call says otherwise. */
export const ollama: Dialect = {
  name: 'ollama',
  requestIdHeader: 'x-request-id',
  requestHeaders: ['accept', 'traceparent', 'user-agent'],
  responseHeaders: ['cache-control', 'content-type', 'retry-after', 'x-request-id'],
  lookup,
  inspect,
  credential: (secret) => ({ authorization: `Bearer ${secret}` }),
  errorBody,
  errorFrame: (error, requestId) => `${errorBody(error, requestId)}\n`,
  answers: ollamaAnswers,
  meter,
  parameters: (api) => (GENERATING.has(api) ? PARAMETERS : {}),
}

function lookup(method: string, path: string): Lookup {
  const found = TABLE.find(method, path)
  if (found !== null) return found
  const hint = closedHint(OLLAMA_CLOSED, path)
  if (hint !== undefined) return { kind: 'unknown', hint }
  return path === '/api' || path.startsWith('/api/') ? { kind: 'unknown' } : { kind: 'outside' }
}

/** `{"error":"text"}`: a string, not an object. */
function errorBody(error: GovernorError, requestId: string): string {
  const { code, message } = error
  return JSON.stringify({
    error: code === 'INTERNAL' ? `${message} (request ${requestId})` : message,
  })
}
