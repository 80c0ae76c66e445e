import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

import { GovernorError } from '../errors.ts'

/** Headers that may stand once only: two readings of any of them would be two different requests. Each has its bit. */
const SINGLE: ReadonlyMap<string, number> = new Map(
  [
    'host',
    'authorization',
    'api-key',
    'x-api-key',
    'x-goog-api-key',
    'content-type',
    'content-length',
    'content-encoding',
    'transfer-encoding',
    'expect',
  ].map((name, index) => [name, 1 << index]),
)

/** Node drops what is over its own maximum silently, so ours lies below it. */
export const HEADERS_MAX = 200

/**
 * Refuses header sections two servers could read differently: repeated single headers, a
 * transfer-encoding other than `chunked` (RFC 9112 §6.1), too many fields.
 */
export function checkHeaders(rawHeaders: readonly string[], headers: IncomingHttpHeaders): void {
  if (rawHeaders.length > 2 * HEADERS_MAX) {
    throw new GovernorError('HEADERS_TOO_LARGE', { detail: `more than ${HEADERS_MAX} headers` })
  }
  let seen = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase()
    const mark = SINGLE.get(name)
    if (mark === undefined) continue
    if ((seen & mark) !== 0) {
      throw new GovernorError('HEADER_INVALID', { detail: `"${name}" is sent twice`, param: name })
    }
    seen |= mark
  }
  const coding = headers['transfer-encoding']
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    throw new GovernorError('HEADER_INVALID', {
      detail: 'a transfer-encoding other than "chunked"',
      param: 'transfer-encoding',
    })
  }
}

/**
 * Refuses a request head that may not go further whatever its path is: another version, ambiguous
 * headers, a transfer-encoding in HTTP/1.0 (RFC 9112 §6.1), no `Host` in HTTP/1.1 (§3.2), an
 * expectation other than `100-continue`. Throws REQUEST_MALFORMED, HEADER_INVALID (400),
 * EXPECTATION_UNKNOWN (417), HEADERS_TOO_LARGE (431).
 */
export function checkHead({
  rawHeaders,
  headers,
  httpVersion,
}: Pick<IncomingMessage, 'rawHeaders' | 'headers' | 'httpVersion'>): void {
  // The parser takes `HTTP/2.0` in a request line of HTTP/1 and reads on as if it were 1.1.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new GovernorError('REQUEST_MALFORMED', {
      detail: 'only HTTP/1.1 and 1.0 are spoken here',
    })
  }
  checkHeaders(rawHeaders, headers)
  if (httpVersion === '1.0' && headers['transfer-encoding'] !== undefined) {
    throw new GovernorError('HEADER_INVALID', {
      detail: 'HTTP/1.0 has no transfer-encoding',
      param: 'transfer-encoding',
    })
  }
  if (headers.host === undefined && httpVersion !== '1.0') {
    throw new GovernorError('HEADER_INVALID', { detail: 'there is no "host"', param: 'host' })
  }
  const { expect } = headers
  if (expect === undefined || expect.toLowerCase() === '100-continue') return
  throw new GovernorError('EXPECTATION_UNKNOWN', { hint: 'Only 100-continue is known' })
}

/** Names listed in `Connection` are between client and Governor (RFC 9110 §7.6.1). */
export function hopNames(headers: IncomingHttpHeaders): ReadonlySet<string> | null {
  const connection = headers.connection
  if (connection === undefined || /^(keep-alive|close)$/i.test(connection)) return null
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
}

/** An allow-list of header names; a trailing `*` is a prefix. Compiled once per dialect. */
export class HeaderList {
  readonly #exact: ReadonlySet<string>
  readonly #prefixes: readonly string[]

  constructor(names: readonly string[]) {
    this.#exact = new Set(names.filter((name) => !name.endsWith('*')))
    this.#prefixes = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))
  }

  has(name: string): boolean {
    return this.#exact.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix))
  }
}

/**
 * The client headers that go upstream, as flat name, value pairs. A value that repeats the caller's
 * secret is left out, whatever header it is in: a client's key never reaches a provider.
 */
export function forwardable(headers: IncomingHttpHeaders, list: HeaderList): string[] {
  const hops = hopNames(headers)
  const bearer = secretOf(headers.authorization)
  const apiKey = secretOf(headers['api-key'])
  const xApiKey = secretOf(headers['x-api-key'])
  const googKey = secretOf(headers['x-goog-api-key'])
  const kept: string[] = []
  for (const name in headers) {
    if (!list.has(name) || hops?.has(name) === true) continue
    const value = headers[name]
    if (typeof value !== 'string') continue
    if (repeats(value, bearer) || repeats(value, apiKey) || repeats(value, xApiKey)) continue
    if (repeats(value, googKey)) continue
    kept.push(name, value)
  }
  return kept
}

/** A placeholder such as `none` or `x` is no secret, and a part of many a value. */
const SECRET_CHARACTERS_MIN = 16

/** The secret part of a credential header, a Governor key's being what follows its dot; else ''. */
function secretOf(value: string | string[] | undefined): string {
  if (typeof value !== 'string' || value.length < SECRET_CHARACTERS_MIN) return ''
  const token = value.slice(value.lastIndexOf(' ') + 1)
  const secret = token.slice(token.lastIndexOf('.') + 1)
  return secret.length < SECRET_CHARACTERS_MIN ? '' : secret
}

function repeats(value: string, secret: string): boolean {
  return secret !== '' && value.includes(secret)
}

/** The upstream headers that go to the client, as flat name, value pairs. */
export function relayable(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  list: HeaderList,
): string[] {
  const kept: string[] = []
  for (const name in headers) {
    if (!list.has(name)) continue
    const value = headers[name]
    if (typeof value === 'string') kept.push(name, value)
    else if (value !== undefined) for (const one of value) kept.push(name, one)
  }
  return kept
}

/** Whose address a limit counts: IPv4 as it is, IPv6 as its /64, since one client owns all of that. */
export function limitAddress(address: string | undefined): string {
  if (address === undefined) return ''
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0')
  const groups = tail === undefined ? before : [...before, ...zeros, ...after]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
