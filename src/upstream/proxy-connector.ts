import type { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import type { buildConnector } from 'undici'

import { errors, http } from '../lean-http.ts'
import { upstreamError } from './fault.ts'

/** The most a proxy's answer to CONNECT may have of a head. */
const HEAD_BYTES_MAX = 16 * 1024
/** As for connections without a proxy. */
const PROBE_MS = 60_000
const HIGH_WATER_BYTES = 64 * 1024

/** An outbound proxy as it is configured. */
export interface ProxyPlace {
  /** http or https; the port is 80 or 443 where none is written. */
  readonly url: string
  /** `user:password`, a secret; null where it wants none. */
  readonly credential: string | null
  /** Certificates to trust for an https proxy, PEM; null is the usual. */
  readonly ca: string | null
}

/** The way through a proxy to one upstream. */
export interface ProxyConnectorOptions {
  readonly proxy: ProxyPlace
  /** URL of the upstream, http or https. */
  readonly url: string
  /** For the whole way: proxy, its answer, and TLS with the upstream. */
  readonly connectMs: number
  /** Certificates to trust for the upstream, PEM; null is the usual. */
  readonly ca: string | null
}

/** That a proxy did not open a way; nothing of a request can have been sent by then. */
export class ProxyError extends Error {
  readonly code = 'PROXY_REFUSED'
}

/**
 * Opens connections to one upstream through a proxy (CONNECT, RFC 9110 §9.3.6), with TLS to the upstream
 * inside where it is https. The proxy's credential goes to the proxy only, and all the proxy learns of
 * the upstream is host and port.
 */
export class ProxyConnector {
  /** Hands a connection of its own to each request of `node:http` or `node:https`. */
  readonly agent: HttpAgent
  readonly #options: ProxyConnectorOptions
  readonly #proxy: URL
  readonly #target: URL
  readonly #authority: string

  constructor(options: ProxyConnectorOptions) {
    this.#options = options
    this.#proxy = new URL(options.proxy.url)
    this.#target = new URL(options.url)
    const port = portOf(this.#target)
    this.#authority = `${this.#target.hostname}:${port}`
    this.agent = this.#target.protocol === 'https:' ? new HttpsAgent() : new http.Agent()
    this.agent.createConnection = (_options, callback) => {
      this.open((error, socket) => {
        if (error === null) callback?.(null, socket)
        // The type of the callback knows no failure without a stream.
        else (callback as ((error: Error) => void) | undefined)?.(error)
      })
      return undefined
    }
  }

  /**
   * Calls back once: with a socket that is connected (and secured) to the upstream, or with
   * `ProxyError`, undici's `ConnectTimeoutError`, or what went wrong in the connection.
   */
  open(callback: buildConnector.Callback): void {
    void this.#tell(callback)
  }

  async #tell(callback: buildConnector.Callback): Promise<void> {
    let socket: Socket
    try {
      socket = await this.#through()
    } catch (error) {
      callback(error as Error, null)
      return
    }
    callback(null, socket)
  }

  async #through(): Promise<Socket> {
    const { connectMs } = this.#options
    const toProxy = this.#toProxy()
    let current = toProxy
    const late = setTimeout(() => {
      const message = `No connection through the proxy within ${connectMs} ms`
      current.destroy(new errors.ConnectTimeoutError(message))
    }, connectMs)
    try {
      await this.#ask(toProxy)
      if (this.#target.protocol === 'http:') return toProxy
      current = this.#secure(toProxy)
      await secured(current)
      return current
    } catch (error) {
      current.destroy()
      throw error
    } finally {
      clearTimeout(late)
    }
  }

  #toProxy(): Socket {
    const { protocol } = this.#proxy
    const host = bare(this.#proxy)
    const port = portOf(this.#proxy)
    const { ca } = this.#options.proxy
    const tcp = { host, port, highWaterMark: HIGH_WATER_BYTES }
    const socket =
      protocol === 'https:' ? connectTls({ host, port, ...tlsOptions(host, ca) }) : connectTcp(tcp)
    socket.setNoDelay(true).setKeepAlive(true, PROBE_MS)
    // Whoever has the socket listens, too; in between nobody does.
    socket.on('error', () => {})
    return socket
  }

  /** Resolves when the proxy has opened the way. */
  #ask(socket: Socket): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const { credential } = this.#options.proxy
    const request = http.request({
      method: 'CONNECT',
      path: this.#authority,
      headers: {
        host: this.#authority,
        connection: 'keep-alive',
        ...(credential !== null && {
          'proxy-authorization': `Basic ${Buffer.from(credential).toString('base64')}`,
        }),
      },
      createConnection: () => socket,
      maxHeaderSize: HEAD_BYTES_MAX,
    })
    request.on('connect', ({ statusCode = 0 }, _socket, head) => {
      if (statusCode < 200 || statusCode > 299) {
        reject(new ProxyError(`The proxy answered CONNECT with status ${statusCode}`))
      } else if (head.length > 0) {
        // No upstream speaks first: these bytes would be taken for an answer of it.
        reject(new ProxyError('The proxy sent more than its answer to CONNECT'))
      } else resolve()
    })
    request.on('error', (cause) => reject(notOpened(cause)))
    request.on('close', () => reject(new ProxyError('The proxy closed the connection')))
    request.end()
    return promise
  }

  #secure(socket: Socket): Socket {
    const host = bare(this.#target)
    return connectTls({ socket, host, ...tlsOptions(host, this.#options.ca) })
  }
}

function secured(socket: Socket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('secureConnect', resolve)
  socket.on('error', reject)
  socket.once('close', () => reject(new ProxyError('The way through the proxy was closed')))
  return promise
}

/** What is known by its own name stays what it is; the rest happened before a request was sent. */
function notOpened(cause: Error): Error {
  const isLate = cause instanceof errors.ConnectTimeoutError
  if (isLate || upstreamError(cause).error.code === 'UPSTREAM_UNREACHABLE') return cause
  return new ProxyError('Cannot connect through the proxy', { cause })
}

function tlsOptions(host: string, ca: string | null) {
  return {
    // A name is asked for and checked; an address is checked (RFC 6066 §3: no address is asked for).
    servername: isIP(host) === 0 ? host : '',
    ALPNProtocols: ['http/1.1'],
    // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
    rejectUnauthorized: true,
    ...(ca !== null && { ca }),
  }
}

function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port)
  return protocol === 'https:' ? 443 : 80
}

/** An IPv6 address without its brackets. */
function bare({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}
