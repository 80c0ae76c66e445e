/**
 * Every endpoint of the Anthropic API that is known here. What is known and refused all the same is in
 * `closed.ts`, with the reasons.
 */
import type { Endpoint, Operation } from '../exchange.ts'
import type { Row } from './table.ts'

const BETA = ['beta']
const LIST = ['beta', 'before_id', 'after_id', 'limit']

const MESSAGES: Endpoint = {
  operation: 'chat',
  api: 'messages',
  body: 'json',
  query: BETA,
  generates: true,
}

interface More {
  readonly body?: Endpoint['body']
  readonly query?: readonly string[]
}

/** A line from its words: `POST /v1/messages/batches batches messages.batches.create`. */
function row(line: string, { body = 'none', query = BETA }: More = {}): Row {
  const [method, path = '', operation, api = ''] = line.split(' ')
  const endpoint = { operation: operation as Operation, api, body, query, generates: false }
  return { method: method as Row['method'], path, endpoint }
}

/** The table. */
export const ANTHROPIC_ROWS: readonly Row[] = [
  { method: 'POST', path: '/v1/messages', endpoint: MESSAGES },
  // What clients send whose base URL lacks the version.
  { method: 'POST', path: '/messages', endpoint: MESSAGES, sentAs: '/v1/messages' },
  row('POST /v1/messages/count_tokens tokens messages.count_tokens', { body: 'json' }),
  row('POST /v1/messages/batches batches messages.batches.create', { body: 'json' }),
  row('GET /v1/messages/batches stored.read messages.batches.list', { query: LIST }),
  row('GET /v1/messages/batches/{id} stored.read messages.batches.get'),
  row('DELETE /v1/messages/batches/{id} stored.delete messages.batches.delete'),
  row('POST /v1/messages/batches/{id}/cancel stored.write messages.batches.cancel'),
  row('GET /v1/messages/batches/{id}/results stored.read messages.batches.results'),
  row('GET /v1/models models models', { query: LIST }),
  row('GET /v1/models/{model} models models'),
  row('GET /v1/files files.read files.list', { query: LIST }),
  row('POST /v1/files files.write files.create', { body: 'form' }),
  row('GET /v1/files/{id} files.read files.get'),
  row('GET /v1/files/{id}/content files.read files.content'),
  row('DELETE /v1/files/{id} files.delete files.delete'),
]
