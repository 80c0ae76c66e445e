import type { GovernorError } from '../errors.ts'

/** Google's words for a status; others are INVALID_ARGUMENT below 500 and INTERNAL above. */
const STATUS: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

/** The error itself: `{"code","message","status"}`. */
export function errorObject(error: GovernorError, requestId: string) {
  const { status: code, message } = error
  const status = STATUS[code] ?? (code < 500 ? 'INVALID_ARGUMENT' : 'INTERNAL')
  const text = error.code === 'INTERNAL' ? `${message} (request ${requestId})` : message
  return { code, message: text, status }
}

/** `{"error":{"code","message","status"}}`, which OpenAI's clients read as well. */
export function errorBody(error: GovernorError, requestId: string): string {
  return JSON.stringify({ error: errorObject(error, requestId) })
}
