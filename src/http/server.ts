import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'

import type { TlsConfig } from '../config/snapshot.ts'
import { GovernorError, type ErrorCode } from '../errors.ts'
import type { Dialect } from '../exchange.ts'
import { http } from '../lean-http.ts'
import { HttpExchange } from './exchange.ts'
import { Room } from './room.ts'
import { tlsOptions } from './tls.ts'

/** The bounds of the proxy listener, and who takes what it hears. */
export interface ServerOptions {
  readonly headersMs: number
  readonly bodyMs: number
  readonly connectionsMax: number
  /** Null is plain HTTP. */
  readonly tls: TlsConfig | null
  onExchange(exchange: HttpExchange): void
  /** Whether a request opens a session; any other offer to upgrade is a request like all others. */
  opensSession(incoming: IncomingMessage): boolean
  /** A request that never became one: not HTTP, too large, too slow. Counted, answered here. */
  onMalformed(code: ErrorCode, peer: string | undefined): void
  /** Whose error shape such a refusal wears. */
  dialect(): Dialect
}

const HEADER_BYTES_MAX = 16 * 1024
/** Longer than the clients' own, so that the side that may be idle is the one that closes. */
const KEEP_ALIVE_MS = 75_000

/**
 * Requests that may be under way on one connection. Node reads on however many are waiting and
 * stops only when their answers pile up, which also keeps it from seeing that the client has left.
 */
const PIPELINED_MAX = 16

/** How long a refused connection may take to read its answer. */
const LINGER_MS = 1000

const PARSER_CODES: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'HEADERS_TIMEOUT',
}

/**
 * The listener that clients talk to. Node's strict parser refuses ambiguous framing (RFC 9112 §6.3)
 * before anything here runs; `Expect`, odd methods and upgrades all enter by `onExchange`.
 */
export function createProxyServer(options: ServerOptions): Server {
  const settings = {
    insecureHTTPParser: false,
    // Node would answer by itself, in no provider's shape; `checkHead` looks.
    requireHostHeader: false,
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: options.headersMs,
    requestTimeout: options.headersMs + options.bodyMs,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
    shouldUpgradeCallback: (incoming: IncomingMessage) => {
      return !isOld(incoming) && options.opensSession(incoming)
    },
  }
  const { tls, headersMs } = options
  const server =
    tls === null
      ? http.createServer(settings)
      : createTlsServer({ ...settings, ...tlsOptions(tls), handshakeTimeout: headersMs })
  const room = new Room(server, options.connectionsMax)
  const connections: Connections = new WeakMap()
  const accept = (awaitsContinue: boolean) => (incoming: IncomingMessage, outgoing: Outgoing) => {
    const { socket } = incoming
    let connection = connections.get(socket)
    if (connection === undefined) {
      connections.set(socket, (connection = new Connection(socket, room)))
    }
    if (connection.isOver) return
    if (connection.underWay.length >= PIPELINED_MAX) {
      connection.latest!.isLast = true
      socket.destroy()
      options.onMalformed('REQUEST_MALFORMED', socket.remoteAddress)
      return
    }
    const exchange = new HttpExchange(incoming, outgoing, { awaitsContinue })
    if (incoming.headers.upgrade !== undefined) {
      // Node drops what follows in the same segment, so nothing after it can be told apart.
      exchange.isLast = true
      outgoing.shouldKeepAlive = false
      if (isOld(incoming)) delete incoming.headers.upgrade
    }
    connection.begin(exchange)
    options.onExchange(exchange)
  }
  server.on('request', accept(false))
  server.on('checkContinue', accept(true))
  server.on('checkExpectation', accept(true))
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    room.speaks(socket as Socket)
    options.onExchange(sessionExchange(incoming, socket as Socket, head))
  })
  server.on('connect', (incoming: IncomingMessage, socket: Duplex) => {
    refuseRaw(socket, 'METHOD_NOT_ALLOWED', options)
    options.onMalformed('METHOD_NOT_ALLOWED', incoming.socket.remoteAddress)
  })
  server.on('clientError', clientErrorHandler(connections, options))
  return server
}

/** HTTP/1.0 knows no upgrade: an offer in it is to be ignored (RFC 9110 §7.8). */
function isOld({ httpVersion }: IncomingMessage): boolean {
  return httpVersion === '1.0'
}

/** What to do about bytes that are no request, or that do not come in time. */
function clientErrorHandler(connections: Connections, options: ServerOptions) {
  const refused = new WeakSet<Duplex>()
  return (error: NodeJS.ErrnoException, socket: Duplex): void => {
    if (refused.has(socket)) return
    if (isHopeless(error, socket)) return void socket.destroy()
    const connection = connections.get(socket)
    const code = PARSER_CODES[error.code ?? ''] ?? 'REQUEST_MALFORMED'
    const unread = connection?.unread
    if (unread !== undefined) {
      // The connection ended in the middle of the body: that client is gone.
      if (error.code === 'HPE_INVALID_EOF_STATE') socket.destroy()
      else unread.breakOff(new GovernorError(code))
      return
    }
    if (connection?.isOver === true) return void socket.destroy()
    refused.add(socket)
    // An answer under way must not be written into.
    if (connection !== undefined && connection.underWay.length > 0) socket.destroy()
    else refuseRaw(socket, code, options)
    options.onMalformed(code, (socket as Socket).remoteAddress)
  }
}

/** Whether nothing can be answered: the connection is gone, or its TLS handshake failed. */
function isHopeless({ code = '' }: NodeJS.ErrnoException, socket: Duplex): boolean {
  return code === 'ECONNRESET' || !socket.writable || /^ERR_(SSL|TLS)_/.test(code)
}

type Connections = WeakMap<Duplex, Connection>

/** What is under way on one socket. */
class Connection {
  readonly underWay: HttpExchange[] = []
  /** The last one to begin, while it is under way or where nothing may follow it. */
  latest: HttpExchange | undefined

  readonly #socket: Socket
  readonly #room: Room

  constructor(socket: Socket, room: Room) {
    this.#socket = socket
    this.#room = room
    socket.on('close', () => {
      for (const exchange of this.underWay.slice()) exchange.leave()
    })
  }

  /** Nothing that follows is a request any more. */
  get isOver(): boolean {
    return this.latest?.isLast === true
  }

  /** The one whose body is still to come and that has no answer yet. */
  get unread(): HttpExchange | undefined {
    const { latest } = this
    if (latest === undefined || latest.incoming.complete) return undefined
    return latest.outgoing.headersSent ? undefined : latest
  }

  begin(exchange: HttpExchange): void {
    this.#room.speaks(this.#socket)
    this.underWay.push(exchange)
    this.latest = exchange
    exchange.outgoing.on('close', () => {
      if (this.underWay.at(-1) === exchange) this.underWay.pop()
      else this.underWay.splice(this.underWay.indexOf(exchange), 1)
      if (this.latest === exchange && !exchange.isLast) this.latest = undefined
      if (this.underWay.length === 0) this.#room.falls(this.#socket)
    })
  }
}

type Outgoing = ConstructorParameters<typeof HttpExchange>[1]

/** Node has let go of the socket: until it is a session's it has an answer, as of any request. */
function sessionExchange(incoming: IncomingMessage, socket: Socket, head: Buffer): HttpExchange {
  socket.on('error', () => socket.destroy())
  const outgoing = new http.ServerResponse(incoming)
  outgoing.shouldKeepAlive = false
  outgoing.assignSocket(socket)
  outgoing.on('finish', () => {
    // Read to the end, or closing would reset the connection under the answer.
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
    socket.resume()
    socket.end()
  })
  return new HttpExchange(incoming, outgoing, { head })
}

/** Answers where there is no exchange, and takes the connection down. */
function refuseRaw(socket: Duplex, code: ErrorCode, options: ServerOptions): void {
  const error = new GovernorError(code)
  const requestId = randomUUID()
  const body = options.dialect().errorBody(error, requestId, '')
  // After CONNECT nobody else listens: without this a reset would end the process.
  socket.on('error', () => socket.destroy())
  // Closing at once would reset the connection under the answer, waiting for the client never end.
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.resume()
  socket.end(
    `HTTP/1.1 ${error.status} ${http.STATUS_CODES[error.status] ?? 'Refused'}\r\n` +
      'content-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\n` +
      `x-governor-request-id: ${requestId}\r\nx-request-id: ${requestId}\r\n` +
      `x-governor-decision: deny\r\nx-governor-code: ${code}\r\nconnection: close\r\n\r\n${body}`,
  )
}

/** Why nothing can listen there, in words; listen(2), bind(2). */
const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken: stop what uses it or choose another',
  EADDRNOTAVAIL: 'this machine has no such address: choose one of its own, 127.0.0.1 or 0.0.0.0',
  EACCES: 'no permission: choose a port of 1024 or more',
  ENOTFOUND: 'there is no such host: give an address',
}

/** Listens; a taken port is an error that names it and the key that chose it. */
export async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  key: string,
): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = LISTEN_REASONS[cause.code ?? ''] ?? cause.code ?? cause.message
      reject(new Error(`Cannot listen on ${host}:${port} (${key}): ${why}`, { cause }))
    })
    server.listen(port, host, resolve)
  })
  return server.address() as AddressInfo
}
