/** Our refusals in Anthropic's shape, so that its SDKs raise their own typed errors. */
import type { GovernorError } from '../errors.ts'

/** Anthropic's word for a status; others are `invalid_request_error` below 500, `api_error` above. */
const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
}

/** JSON text of an error answer: `{"type":"error","error":{"type","message"},"request_id"}`. */
export function errorBody(error: GovernorError, requestId: string): string {
  const { status } = error
  const type = TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')
  const isInternal = error.code === 'INTERNAL'
  const message = isInternal ? `${error.message} (request ${requestId})` : error.message
  return JSON.stringify({ type: 'error', error: { type, message }, request_id: requestId })
}

/** The last frame of a broken event stream. Without its `event:` line the SDK would skip it. */
export function errorFrame(error: GovernorError, requestId: string): string {
  return `event: error\ndata: ${errorBody(error, requestId)}\n\n`
}
