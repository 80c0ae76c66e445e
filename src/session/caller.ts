import type { Caller } from '../auth/authenticate.ts'
import { GovernorError } from '../errors.ts'
import type { HttpExchange } from '../http/exchange.ts'
import { limitAddress } from '../http/headers.ts'
import { offeredInQuery } from '../http/match.ts'
import { offeredSubprotocols } from '../http/socket.ts'
import type { KeyPlaces } from '../nouns/socket-events.ts'

/** Who opens a session: the credential wherever clients of `reader` put it. Throws HEADER_INVALID. */
export function callerOf(exchange: HttpExchange, reader: KeyPlaces): Caller {
  const { socket } = exchange.incoming
  const ip = limitAddress(socket.remoteAddress)
  return { headers: withOfferedKey(exchange, reader), socket, ip }
}

/** The headers of the request. Browsers cannot set headers, so their clients put the key into a subprotocol or the query. */
export function withOfferedKey(
  { incoming }: HttpExchange,
  reader: KeyPlaces,
): HttpExchange['incoming']['headers'] {
  const { headers, url = '' } = incoming
  const offered = offeredAsSubprotocol(headers, reader)
  const key = offeredInQuery(url, reader) ?? offered
  if (key === null) return headers
  const other = headers['x-goog-api-key']
  if (other === undefined || other === key) return { ...headers, 'x-goog-api-key': key }
  const detail = 'two different keys in one request'
  throw new GovernorError('HEADER_INVALID', { detail, param: 'x-goog-api-key' })
}

function offeredAsSubprotocol(
  headers: HttpExchange['incoming']['headers'],
  { keySubprotocol }: KeyPlaces,
): string | null {
  const offered = offeredSubprotocols(headers)
  if (keySubprotocol === '') return null
  const [key, second] = offered.filter((name) => name.startsWith(keySubprotocol))
  if (second === undefined) return key?.slice(keySubprotocol.length) ?? null
  const detail = 'two different keys in one request'
  throw new GovernorError('HEADER_INVALID', { detail, param: 'sec-websocket-protocol' })
}
