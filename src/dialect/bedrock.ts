/** Amazon Bedrock's runtime: conversations and invocations, whole and streamed. */
import type { GovernorError } from '../errors.ts'
import type { Dialect, Lookup } from '../exchange.ts'
import { bedrockAnswers } from './bedrock-answers.ts'
import { writeFrame } from './bedrock-frames.ts'
import { inspect } from './bedrock-inspect.ts'
import { meter } from './bedrock-meter.ts'
import { parameters } from './bedrock-parameters.ts'
import { BEDROCK_ROWS } from './bedrock-table.ts'
import { compileTable } from './table.ts'

const TABLE = compileTable(BEDROCK_ROWS)

/** AWS' names for a status; others are ValidationException below 500 and InternalServerException above. */
const TYPES: Readonly<Record<number, string>> = {
  401: 'AccessDeniedException',
  403: 'AccessDeniedException',
  404: 'ResourceNotFoundException',
  408: 'ModelTimeoutException',
  429: 'ThrottlingException',
  503: 'ServiceUnavailableException',
  504: 'ModelTimeoutException',
}

/** The dialect of Amazon Bedrock. The path names the model. */
export const bedrock: Dialect = {
  name: 'bedrock',
  requestIdHeader: 'x-amzn-requestid',
  requestHeaders: [
    'accept',
    'amz-sdk-invocation-id',
    'amz-sdk-request',
    'traceparent',
    'user-agent',
    'x-amz-user-agent',
    'x-amzn-bedrock-*',
  ],
  responseHeaders: [
    'content-type',
    'retry-after',
    'x-amzn-bedrock-*',
    'x-amzn-errortype',
    'x-amzn-requestid',
  ],
  lookup,
  inspect,
  parameters,
  credential: (secret) => ({ authorization: `Bearer ${secret}` }),
  errorBody: (error, requestId) => JSON.stringify({ message: textOf(error, requestId) }),
  errorHeaders: (error) => ({ 'x-amzn-errortype': typeOf(error) }),
  errorFrame,
  answers: bedrockAnswers,
  meter,
}

function lookup(method: string, path: string): Lookup {
  const found = TABLE.find(method, path)
  if (found !== null) return found
  return path.startsWith('/model/') ? { kind: 'unknown' } : { kind: 'outside' }
}

function typeOf({ status }: GovernorError): string {
  return TYPES[status] ?? (status < 500 ? 'ValidationException' : 'InternalServerException')
}

function textOf({ code, message }: GovernorError, requestId: string): string {
  return code === 'INTERNAL' ? `${message} (request ${requestId})` : message
}

/** An exception as AWS sends it in the middle of a stream. */
function errorFrame(error: GovernorError, requestId: string): Buffer {
  const type = {
    client: 'validationException',
    upstream: 'modelStreamErrorException',
    governor: 'internalServerException',
  }[error.source]
  const headers = {
    ':exception-type': type,
    ':content-type': 'application/json',
    ':message-type': 'exception',
  }
  return writeFrame(headers, JSON.stringify({ message: textOf(error, requestId) }))
}
