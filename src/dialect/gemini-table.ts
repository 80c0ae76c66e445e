/**
 * Every endpoint of the Gemini API that is known here, in both versions, and OpenAI's paths below
 * `/v1beta/openai`. What is known and refused all the same is in `closed.ts`, with the reasons. Sessions over
 * a socket are not calls: `gemini-live.ts`.
 */
import type { Endpoint, Operation } from '../exchange.ts'
import { OPENAI_ROWS } from './openai-table.ts'
import type { Row } from './table.ts'

const LIST = ['pageSize', 'pageToken']

interface More {
  readonly query?: readonly string[]
  readonly generates?: boolean
}

function call(verb: string, operation: Operation, { query = [], generates = false }: More = {}) {
  const api = verb
  const endpoint: Endpoint = { operation, api, body: 'json', query, generates }
  return (version: string): Row => {
    return { method: 'POST', path: `/${version}/models/{model}:${verb}`, endpoint }
  }
}

const READ: Endpoint = {
  operation: 'models',
  api: 'models',
  body: 'none',
  query: LIST,
  generates: false,
}

const VERSIONS = ['v1beta', 'v1']
const CALLS = [
  call('generateContent', 'chat', { generates: true }),
  call('streamGenerateContent', 'chat', { generates: true, query: ['alt'] }),
  call('countTokens', 'tokens'),
  call('embedContent', 'embeddings'),
  call('batchEmbedContents', 'embeddings'),
]

/** OpenAI's endpoints that Google serves, too; their `api` begins with `openai.`. */
const COMPATIBLE: ReadonlySet<string> = new Set([
  'POST /v1/chat/completions',
  'POST /v1/embeddings',
  'POST /v1/images/generations',
  'GET /v1/models',
  'GET /v1/models/{model}',
])

/** The table. */
export const GEMINI_ROWS: readonly Row[] = [
  ...VERSIONS.flatMap((version): Row[] => [
    ...CALLS.map((row) => row(version)),
    { method: 'GET', path: `/${version}/models`, endpoint: READ },
    { method: 'GET', path: `/${version}/models/{model}`, endpoint: READ },
  ]),
  ...OPENAI_ROWS.filter(({ method, path }) => COMPATIBLE.has(`${method} ${path}`)).map(
    (row): Row => ({ ...row, path: row.path.replace('/v1/', '/v1beta/openai/') }),
  ),
]
