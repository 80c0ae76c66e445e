/**
 * Every endpoint of Amazon Bedrock's runtime that is known here. Refused as unknown: guardrails by
 * themselves, asynchronous calls, and the stream in both directions.
 */
import type { Endpoint } from '../exchange.ts'
import type { Row } from './table.ts'

function row(verb: string, api: string, more: Partial<Endpoint> = {}): Row {
  const endpoint: Endpoint = {
    operation: 'chat',
    api,
    body: 'json',
    query: [],
    generates: true,
    ...more,
  }
  return { method: 'POST', path: `/model/{model}/${verb}`, endpoint }
}

/** The table. */
export const BEDROCK_ROWS: readonly Row[] = [
  row('converse', 'converse'),
  row('converse-stream', 'converse_stream'),
  row('invoke', 'invoke', { untyped: true }),
  row('invoke-with-response-stream', 'invoke_stream', { untyped: true }),
  row('count-tokens', 'count_tokens', { operation: 'tokens', generates: false }),
]

/** Endpoints that always answer with a stream. */
export const BEDROCK_STREAMS: ReadonlySet<string> = new Set(['converse_stream', 'invoke_stream'])
