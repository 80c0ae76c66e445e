import type { IncomingMessage, ServerResponse } from 'node:http'

import { GovernorError } from '../errors.ts'

/** How requests of the admin API are taken and answered; what they ask is elsewhere. */

/** The largest body: a key with all its roles and labels is far smaller. */
const BODY_BYTES_MAX = 64 * 1024

/**
 * No page of a browser may keep, frame or guess what is answered; no header lets another origin read
 * it (there is no CORS).
 */
export const ADMIN_HEADERS: readonly string[] = [
  'cache-control',
  'no-store',
  'content-security-policy',
  "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy',
  'same-origin',
  'referrer-policy',
  'no-referrer',
  'x-content-type-options',
  'nosniff',
  'x-frame-options',
  'DENY',
]

/** The value of the only `Host` header, lower case; '' where there is none or more than one. */
export function onlyHost({ rawHeaders, headers }: IncomingMessage): string {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.toLowerCase() === 'host') hosts += 1
  }
  return hosts === 1 ? (headers.host ?? '').toLowerCase() : ''
}

/**
 * The whole body; empty where there is none. Throws CONTENT_TYPE_UNSUPPORTED (415) for a body that is
 * not plain JSON, BODY_TOO_LARGE (413), CLIENT_CLOSED.
 */
export async function readAdminBody(request: IncomingMessage): Promise<Buffer> {
  const { headers } = request
  const type = headers['content-type']
  const isPlain = type === undefined || /^application\/json *(; *charset=utf-8 *)?$/i.test(type)
  if (!isPlain || headers['content-encoding'] !== undefined) {
    throw new GovernorError('CONTENT_TYPE_UNSUPPORTED', { detail: 'only application/json' })
  }
  const said = Number(headers['content-length'] ?? 0)
  if (said > BODY_BYTES_MAX) throw tooLarge()
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > BODY_BYTES_MAX) throw tooLarge()
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof GovernorError ? error : new GovernorError('CLIENT_CLOSED')
  }
  if (bytes > 0 && type === undefined) {
    throw new GovernorError('CONTENT_TYPE_UNSUPPORTED', { detail: 'only application/json' })
  }
  return Buffer.concat(chunks)
}

function tooLarge(): GovernorError {
  return new GovernorError('BODY_TOO_LARGE', { detail: `at most ${BODY_BYTES_MAX} bytes` })
}

/** One JSON answer. Where the request was not read to its end, the connection is not used again. */
export function answerAdmin(
  request: IncomingMessage,
  response: ServerResponse,
  { status, value, headers }: { status: number; value: object; headers: readonly string[] },
): void {
  if (response.destroyed || response.headersSent) return
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  const length = ['content-length', String(body.length)]
  const type = ['content-type', 'application/json; charset=utf-8']
  const close = request.complete ? [] : ['connection', 'close']
  response.writeHead(status, [...type, ...length, ...ADMIN_HEADERS, ...headers, ...close])
  response.end(request.method === 'HEAD' ? undefined : body)
}
