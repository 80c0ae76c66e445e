import type { IncomingHttpHeaders } from 'node:http'

import { type WebSocket, WebSocketServer } from 'ws'

import { GovernorError } from '../errors.ts'
import type { HttpExchange } from './exchange.ts'

/** Pieces one message may come in; each costs memory of its own. */
const FRAGMENTS_MAX = 4096

/** How an upgrade is accepted. */
export interface AcceptOptions {
  /** The longest message, bytes; fragments together. */
  readonly messageBytesMax: number
  /** Flat name, value pairs beside those of the handshake. */
  readonly headers: readonly string[]
  /** Of those the client offered; '' for none. */
  readonly subprotocol: string
}

/**
 * Answers the upgrade (RFC 6455 §4.2.2): from here on the connection is a session, paused until
 * somebody listens. No extension is accepted. Rejects with CLIENT_CLOSED where the client is gone.
 */
export function acceptSocket(exchange: HttpExchange, options: AcceptOptions): Promise<WebSocket> {
  const { incoming, outgoing, head } = exchange
  const { socket } = incoming
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>()
  const gone = (): void => reject(new GovernorError('CLIENT_CLOSED'))
  if (exchange.clientGone || socket.destroyed) {
    gone()
    return promise
  }
  outgoing.detachSocket(socket)
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: options.messageBytesMax,
    maxFragments: FRAGMENTS_MAX,
    handleProtocols: () => (options.subprotocol === '' ? false : options.subprotocol),
  })
  server.on('headers', (lines) => {
    for (let index = 0; index + 1 < options.headers.length; index += 2) {
      lines.push(`${options.headers[index]!}: ${options.headers[index + 1]!}`)
    }
  })
  socket.once('close', gone)
  server.handleUpgrade(incoming, socket, head ?? Buffer.alloc(0), (accepted) => {
    socket.off('close', gone)
    // What it says first waits for whoever listens.
    accepted.pause()
    resolve(accepted)
  })
  return promise
}

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/**
 * Subprotocols a client offers, in its order. Throws HEADER_INVALID for what is no list of different
 * tokens (RFC 6455 §4.1).
 */
export function offeredSubprotocols(headers: IncomingHttpHeaders): readonly string[] {
  const offered = headers['sec-websocket-protocol']
  if (offered === undefined) return []
  const names = offered.split(',').map((name) => name.trim())
  if (new Set(names).size === names.length && names.every((name) => TOKEN.test(name))) return names
  const param = 'sec-websocket-protocol'
  throw new GovernorError('HEADER_INVALID', { detail: 'no list of different subprotocols', param })
}
