import type { ServerResponse } from 'node:http'

import type { GovernorError } from '../errors.ts'
import type { Dialect, Trail } from '../exchange.ts'
import type { AnswerVerdict } from '../nouns/answer.ts'
import type { HttpExchange } from './exchange.ts'

/** An unread body is discarded up to this many bytes, so that its sender can read the refusal. */
const DISCARDED_BYTES_MAX = 64 * 1024 * 1024

/** And for at most this long. */
const DISCARDED_MS_MAX = 5000

/** What a client should do about a status, unless the error itself says so. */
const RETRY_HEADERS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  403: { 'x-should-retry': 'false' },
  503: { 'retry-after': '1' },
}

/** Headers of every answer, ours and relayed: which call this is and what was decided. */
export function governorHeaders(trail: Trail): string[] {
  const headers = [
    'x-governor-request-id',
    trail.requestId,
    'x-governor-decision',
    trail.checked?.effect ?? (isAllowed(trail) ? 'allow' : 'deny'),
  ]
  const changes = changesOf(trail)
  if (changes.length > 0) headers.push('x-governor-changed', changes.join(', '))
  if (trail.follows !== null) headers.push('x-governor-model', trail.follows.model)
  for (const id of trail.decision?.warnings ?? []) headers.push('x-governor-warning', id)
  if (trail.unrecorded) headers.push('x-governor-audit', 'lost')
  if (trail.answer !== null) warnOf(trail.answer, headers)
  return headers
}

/** What was changed, on the way up and, of a whole answer, on the way down. */
function changesOf({ answer, changed }: Trail): readonly string[] {
  const isMasked = answer?.changed === true && !changed.includes('redacted')
  return isMasked ? [...changed, 'redacted'] : changed
}

function warnOf({ policies }: AnswerVerdict, headers: string[]): void {
  for (const { id, mode } of policies) if (mode === 'warn') headers.push('x-governor-warning', id)
}

/** What failed after it was let through was allowed, unless a policy refused the answer. */
function isAllowed({ refusal, forwarded }: Trail): boolean {
  if (refusal === null) return true
  return (forwarded || refusal.source === 'upstream') && refusal.code !== 'POLICY_DENIED'
}

/**
 * Turns an error into bytes: the provider's own error shape, our code in a header. Where the answer
 * has begun already there is nothing left to say but to break the connection. Never throws.
 */
export function respond(
  exchange: HttpExchange,
  trail: Trail,
  error: GovernorError,
  dialect: Dialect,
): void {
  const { outgoing } = exchange
  if (exchange.clientGone || outgoing.destroyed) return
  if (outgoing.headersSent) {
    outgoing.destroy()
    return
  }
  trail.status = error.status
  const body = Buffer.from(
    dialect.errorBody(error, trail.requestId, trail.route?.endpoint.api ?? ''),
  )
  const headers = [
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    String(body.length),
    ...governorHeaders(trail),
    dialect.requestIdHeader,
    trail.requestId,
    'x-governor-code',
    error.code,
  ]
  if (error.policy !== undefined) headers.push('x-governor-policy', error.policy)
  const retry = RETRY_HEADERS[error.status] ?? {}
  const own = dialect.errorHeaders?.(error)
  for (const [name, value] of Object.entries({ ...retry, ...own, ...error.headers })) {
    headers.push(name, value)
  }
  trail.answerBytes = body.length
  const sent = outgoing.req.method === 'HEAD' ? Buffer.alloc(0) : body
  if (exchange.incoming.complete) finish(exchange, error, headers, sent)
  // A body that came with its head is complete once Node has read that segment to its end.
  else setImmediate(finish, exchange, error, headers, sent)
}

function finish(
  exchange: HttpExchange,
  { status }: GovernorError,
  headers: string[],
  body: Buffer,
): void {
  const { incoming, outgoing } = exchange
  if (!incoming.complete) headers.push('connection', 'close')
  outgoing.writeHead(status, headers)
  if (incoming.complete) outgoing.end(body)
  else endUnread(exchange, body)
}

/** Writes one complete JSON answer of our own, as `/v1/check` and the health endpoints do. */
export function sendJson(
  outgoing: ServerResponse,
  status: number,
  value: object,
  headers: readonly string[] = [],
): number {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  outgoing.writeHead(status, [
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    String(body.length),
    ...headers,
  ])
  outgoing.end(body)
  return body.length
}

/**
 * A refusal may leave before the body has arrived. Closing at once would reset the connection under
 * the answer, so the rest is read and thrown away, within bounds, before the connection closes; it
 * is not used again, for how it goes on is the client's word alone. A client that still waits for
 * `100 Continue`, or whose bytes are no HTTP any more, has nothing to be read.
 */
function endUnread(exchange: HttpExchange, body: Buffer): void {
  const { incoming, outgoing } = exchange
  exchange.isLast = true
  if (exchange.awaitsContinue || exchange.fault !== null) {
    incoming.resume()
    outgoing.end(body)
    return
  }
  outgoing.flushHeaders()
  outgoing.write(body)
  let discardedBytes = 0
  const late = setTimeout(() => incoming.socket.destroy(), DISCARDED_MS_MAX).unref()
  outgoing.on('close', () => clearTimeout(late))
  incoming.on('end', () => {
    clearTimeout(late)
    outgoing.end()
  })
  incoming.on('data', (chunk: Buffer) => {
    discardedBytes += chunk.length
    if (discardedBytes > DISCARDED_BYTES_MAX) incoming.socket.destroy()
  })
  incoming.resume()
}
