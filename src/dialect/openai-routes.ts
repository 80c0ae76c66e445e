/** Which methods and paths of the OpenAI API are known. All others are refused. */
import type { Endpoint, Lookup } from '../exchange.ts'

const CHAT: Endpoint = {
  operation: 'chat',
  api: 'chat.completions',
  body: 'json',
  query: [],
  generates: true,
}
const RESPONSES: Endpoint = { ...CHAT, api: 'responses' }
const EMBEDDINGS: Endpoint = {
  operation: 'embeddings',
  api: 'embeddings',
  body: 'json',
  query: [],
  generates: false,
}
const MODELS: Endpoint = {
  operation: 'models',
  api: 'models',
  body: 'none',
  query: [],
  generates: false,
}

const ENDPOINTS: ReadonlyMap<string, { readonly method: string; readonly endpoint: Endpoint }> =
  new Map([
    ['/v1/chat/completions', { method: 'POST', endpoint: CHAT }],
    ['/v1/responses', { method: 'POST', endpoint: RESPONSES }],
    ['/v1/embeddings', { method: 'POST', endpoint: EMBEDDINGS }],
    ['/v1/models', { method: 'GET', endpoint: MODELS }],
  ])

const MODEL_PREFIX = '/v1/models/'

/**
 * What a raw path without query means. Paths are compared byte by byte: a spelling that only some
 * server would normalise to a known path is not known.
 */
export function lookup(method: string, path: string): Lookup {
  const row = ENDPOINTS.get(path)
  if (row !== undefined) return byMethod(method, row.method, row.endpoint, null)
  if (path.startsWith(MODEL_PREFIX)) {
    const segment = path.slice(MODEL_PREFIX.length)
    if (segment !== '' && !segment.includes('/')) {
      return byMethod(method, 'GET', MODELS, decodeModel(segment))
    }
  }
  return unknownPath(path)
}

function byMethod(method: string, allowed: string, endpoint: Endpoint, pathModel: string | null) {
  if (method !== allowed) return { kind: 'method', allow: [allowed] } as const
  return { kind: 'endpoint', endpoint, pathModel } as const
}

/** Only `:` and `@` may be percent-encoded; any other `%` stays and no model name allows it. */
function decodeModel(segment: string): string {
  return segment.replaceAll(/%3a/gi, ':').replaceAll('%40', '@')
}

function unknownPath(path: string): Lookup {
  if (path === '/v1' || path.startsWith('/v1/')) {
    const repeated = path === '/v1/v1' || path.startsWith('/v1/v1/')
    if (!repeated) return { kind: 'unknown' }
    return { kind: 'unknown', hint: `Use ${path.slice(3)}: OPENAI_BASE_URL ends in /v1 once.` }
  }
  const lower = path.toLowerCase()
  if (lower !== path && ENDPOINTS.has(lower)) {
    return { kind: 'outside', hint: `Use ${lower}: paths are case-sensitive.` }
  }
  const prefixed = `/v1${path}`
  if (ENDPOINTS.has(prefixed) || path.startsWith('/models/')) {
    return { kind: 'outside', hint: `Use ${prefixed}: OPENAI_BASE_URL ends in /v1.` }
  }
  return { kind: 'outside' }
}
