/**
 * Azure OpenAI: the OpenAI API under `/openai`, in three forms. `/openai/v1/…` is OpenAI's own; under
 * `/openai/deployments/{deployment}/…` the path names the model; the rest of the older API has no version in
 * its path. All take `api-version`.
 */
import type { Dialect, Endpoint, Facts, Lookup, Reading, Route } from '../exchange.ts'
import type { SocketReader } from '../nouns/socket-events.ts'
import { closedHint, OPENAI_CLOSED } from './closed.ts'
import { withPathModel } from './inspect-body.ts'
import { openaiRealtime, REALTIME } from './openai-realtime.ts'
import { openaiResponsesSocket } from './openai-responses-socket.ts'
import { OPENAI_ROWS } from './openai-table.ts'
import { openai } from './openai.ts'
import { compileTable, type Row } from './table.ts'

const V1 = '/v1/'

/** What is called under a deployment. */
const DEPLOYED: ReadonlySet<string> = new Set([
  'audio/speech',
  'audio/transcriptions',
  'audio/translations',
  'chat/completions',
  'completions',
  'embeddings',
  'images/edits',
  'images/generations',
  'images/variations',
])
/** What the older API has beside deployments. */
const UNVERSIONED =
  /^(?:assistants|batches|evals|files|fine_tuning|models|responses|threads|vector_stores)(?:\/|$)/

/** The table: OpenAI's, under Azure's prefixes. */
export const AZURE_ROWS: readonly Row[] = OPENAI_ROWS.filter(
  ({ path, sentAs }) => path.startsWith(V1) && sentAs === undefined,
).flatMap((row) => {
  const rest = row.path.slice(V1.length)
  const { query } = row.endpoint
  const endpoint = { ...row.endpoint, query: [...query, 'api-version'] }
  const paths = [`/openai/v1/${rest}`]
  if (row.method === 'POST' && DEPLOYED.has(rest)) {
    paths.push(`/openai/deployments/{model}/${rest}`)
  }
  if (UNVERSIONED.test(rest)) paths.push(`/openai/${rest}`)
  return paths.map((path) => ({ ...row, path, endpoint }))
})

const SESSION: Endpoint = { ...REALTIME, query: ['model', 'deployment', 'api-version'] }
const RESPONSES: Endpoint = {
  ...openaiResponsesSocket.endpoint,
  query: [...openaiResponsesSocket.endpoint.query, 'api-version'],
}

/** Where sessions are opened: as OpenAI's, realtime ones also as in the older API. */
const SOCKETS: readonly SocketReader[] = [
  {
    ...openaiRealtime,
    paths: new Set(['/openai/v1/realtime', '/openai/realtime']),
    endpoint: SESSION,
    modelParameters: ['model', 'deployment'],
  },
  { ...openaiResponsesSocket, paths: new Set(['/openai/v1/responses']), endpoint: RESPONSES },
]

const TABLE = compileTable(AZURE_ROWS)

/** The dialect of Azure OpenAI. Deployment names are models to policies. */
export const azureOpenai: Dialect = {
  ...openai,
  name: 'azure-openai',
  requestHeaders: [...openai.requestHeaders, 'x-ms-client-request-id'],
  responseHeaders: [
    ...openai.responseHeaders,
    'apim-request-id',
    'azureml-model-session',
    'x-ms-client-request-id',
    'x-ms-region',
  ],
  lookup,
  inspect,
  sockets: SOCKETS,
  credential: (secret) => ({ 'api-key': secret }),
}

function lookup(method: string, path: string): Lookup {
  const found = TABLE.find(method, path)
  if (found !== null) return found
  const hint = closedHint(OPENAI_CLOSED, path.replace(/^\/openai\/(?:v1\/)?/, V1))
  if (hint !== undefined) return { kind: 'unknown', hint }
  const versioned = path.replace(/^\/openai\//, '/openai/v1/')
  if (TABLE.has(versioned)) {
    return { kind: 'unknown', hint: `Use ${versioned}: the base URL ends in /openai/v1` }
  }
  return path === '/openai' || path.startsWith('/openai/')
    ? { kind: 'unknown' }
    : { kind: 'outside' }
}

async function inspect(route: Route, body: Buffer, maximums: Reading): Promise<Facts> {
  if (route.endpoint.body === 'none') return openai.inspect(route, body, maximums)
  // The service does not look at `model` in the body of a deployment's call; policies do.
  return withPathModel(await openai.inspect(route, body, maximums), route.pathModel)
}
