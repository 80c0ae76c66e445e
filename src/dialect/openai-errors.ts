/** Our refusals in OpenAI's shape, so that its SDKs raise their own typed errors. */
import type { ErrorCode, GovernorError } from '../errors.ts'

interface Wording {
  readonly type: string
  readonly code: string
}

/** Where OpenAI has a code of its own for the situation. */
const WORDINGS: Readonly<Partial<Record<ErrorCode, Wording>>> = {
  AUTH_KEY_MISSING: { type: 'authentication_error', code: 'invalid_api_key' },
  AUTH_KEY_INVALID: { type: 'authentication_error', code: 'invalid_api_key' },
  AUTH_CERTIFICATE_INVALID: { type: 'authentication_error', code: 'invalid_api_key' },
  AUTH_TOKEN_INVALID: { type: 'authentication_error', code: 'invalid_api_key' },
  AUTH_BUSY: { type: 'requests', code: 'rate_limit_exceeded' },
  POLICY_DENIED: { type: 'policy_violation', code: 'policy_denied' },
  LIMIT_EXCEEDED: { type: 'requests', code: 'rate_limit_exceeded' },
  LIMIT_EXHAUSTED: { type: 'insufficient_quota', code: 'insufficient_quota' },
  UPSTREAM_UNKNOWN: { type: 'invalid_request_error', code: 'model_not_found' },
  BODY_TOO_LARGE: { type: 'invalid_request_error', code: 'request_too_large' },
  OVERLOADED: { type: 'service_unavailable_error', code: 'slow_down' },
  DRAINING: { type: 'service_unavailable_error', code: 'slow_down' },
}

const TYPES = {
  client: 'invalid_request_error',
  upstream: 'upstream_error',
  governor: 'server_error',
} as const

/** Endpoints that Cohere's clients call, too; those look for `message` beside where OpenAI's has `error`. */
const COHERE: ReadonlySet<string> = new Set(['cohere.chat', 'cohere.embed', 'rerank'])

/**
 * JSON text of an error answer: `{"error":{"message","type","param","code"}}`; of what Cohere has,
 * `{"id","message","error"}`, its own shape and OpenAI's at once.
 */
export function errorBody(error: GovernorError, requestId: string, api = ''): string {
  const said = errorObject(error, requestId)
  if (!COHERE.has(api)) return JSON.stringify({ error: said })
  return JSON.stringify({ id: requestId, message: said.message, error: said })
}

/**
 * The last frame of a broken event stream: an `error` object in chat/completions, an `error` event
 * in responses. The SDK throws on either; on a stream that just ends it would not.
 */
export function errorFrame(error: GovernorError, requestId: string, api: string): string {
  if (api !== 'responses' && api !== 'responses.get')
    return `data: ${errorBody(error, requestId)}\n\n`
  const said = errorObject(error, requestId)
  const { message, code } = said
  // The sequence so far is not known here; the SDK does not look at it. Of its versions 5 and 6, and of
  // that for Python, only `error` makes an exception: without it this is one more event to them.
  const data = { type: 'error', code, message, param: null, sequence_number: 0, error: said }
  return `event: error\ndata: ${JSON.stringify(data)}\n\n`
}

/** The error itself, as it stands in an answer, a frame or an event. */
export function errorObject(error: GovernorError, requestId: string) {
  const wording = WORDINGS[error.code]
  const isInternal = error.code === 'INTERNAL'
  return {
    message: isInternal ? `${error.message} (request ${requestId})` : error.message,
    type: wording?.type ?? TYPES[error.source],
    param: error.param ?? null,
    code: wording?.code ?? error.code.toLowerCase(),
  }
}
