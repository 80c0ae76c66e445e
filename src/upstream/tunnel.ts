import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

import type { ProxyServer } from 'http-proxy-3'

import { every, monotonicMs } from '../clock.ts'
import { GovernorError } from '../errors.ts'
import { http } from '../lean-http.ts'
import type { Permit } from '../pipeline.ts'
import type { Faults } from './call.ts'
import { upstreamError } from './fault.ts'
import type { UpstreamPool } from './forward.ts'
import { headersOfPairs } from './header-pairs.ts'

/** No tunnel is open for longer. */
const TUNNEL_MS_MAX = 2 * 3_600_000
const LOOK_MS_MAX = 15_000
/** After the beginning of a shutdown a tunnel ends when nothing has passed for as long. */
const QUIET_MS = 1_000

/** The client's side of an upgrade. */
export interface TunnelClient {
  readonly socket: Socket
  /** What came after its head. */
  readonly head: Buffer
  /** Lets go of the answer that could still have been given. */
  detach(): void
}

/** The two sides of a tunnel, and its bounds. */
export interface TunnelOptions {
  readonly pool: UpstreamPool
  readonly client: TunnelClient
  /** Of the request, flat name, value pairs; those of the upgrade are among them. */
  readonly headers: readonly string[]
  /** What of the provider's answer the client gets, as flat pairs. */
  answerHeaders(headers: IncomingMessage['headers']): readonly string[]
  readonly idleMs: number
  readonly faults: Faults
}

/** How a tunnel ended. */
export interface TunnelEnd {
  readonly ending: 'complete' | 'client_closed' | 'upstream_failed' | 'incomplete'
  readonly error: GovernorError | null
  /** Bytes that the client sent and got after the upgrade. */
  readonly sentBytes: number
  readonly answerBytes: number
}

/** What sends upgrades on unread: sockets are piped into each other. */
export type Tunnels = () => Promise<ProxyServer>

/** One for all tunnels of a world: each brings its own target, headers and listeners. */
export function createTunnels(): Tunnels {
  let opened: Promise<ProxyServer> | null = null
  return () => (opened ??= openTunnels())
}

/** Loaded by the first tunnel: most run without. */
async function openTunnels(): Promise<ProxyServer> {
  const { createProxyServer } = await import('http-proxy-3')
  const tunnels = createProxyServer({ ws: true, xfwd: false, ignorePath: true })
  // Each tunnel hears of its own; without a listener one would end the process.
  tunnels.on('error', () => {})
  return tunnels
}

/**
 * A connection whose bytes nobody here reads (RFC 9110 §7.8). The host is the configured one, headers
 * are what the caller of `open` says, and no answer but 101 is passed on.
 */
export class Tunnel {
  readonly #options: TunnelOptions
  readonly #ended = Promise.withResolvers<TunnelEnd>()
  readonly #opened = Promise.withResolvers<void>()
  readonly #startedMs = monotonicMs()
  #request: ClientRequest | null = null
  #upstream: Socket | null = null
  #readBefore = 0
  #writtenBefore = 0
  #lastBytes = -1
  #activeMs = this.#startedMs
  #isDraining = false
  #isOver = false
  #stopLooking: () => void = () => {}

  constructor(options: TunnelOptions) {
    this.#options = options
  }

  /**
   * Resolves when the provider has agreed. Throws UPSTREAM_UNREACHABLE, UPSTREAM_FAILED (502),
   * UPSTREAM_TIMEOUT (504), CLIENT_CLOSED.
   */
  async open(tunnels: Tunnels, permit: Permit): Promise<void> {
    const { pool, client, headers } = this.#options
    const server = await tunnels()
    if (client.socket.destroyed) throw new GovernorError('CLIENT_CLOSED')
    const request = new http.IncomingMessage(client.socket)
    request.method = 'GET'
    request.httpVersion = '1.1'
    request.headers = headersOfPairs(headers)
    const late = setTimeout(() => this.#fail(new GovernorError('UPSTREAM_TIMEOUT')), pool.connectMs)
    const begin = (sent: ClientRequest, about: IncomingMessage): void => {
      if (about === request) this.#watch(sent)
    }
    server.on('proxyReqWs', begin)
    client.socket.once('close', this.#clientClosed)
    try {
      const target = new URL(pool.url + permit.route.path)
      const options = {
        target,
        ...(pool.ca !== null && { ca: pool.ca }),
        ...(pool.connector !== null && { agent: pool.connector.agent }),
      }
      server.ws(request, client.socket, client.head, options, () => {})
      server.off('proxyReqWs', begin)
      this.#takeOver()
      await this.#opened.promise
    } finally {
      server.off('proxyReqWs', begin)
      clearTimeout(late)
    }
  }

  /** Resolves when both sides are closed; never rejects. */
  get ended(): Promise<TunnelEnd> {
    return this.#ended.promise
  }

  interrupt(error: GovernorError): void {
    if (this.#upstream === null) return this.#fail(error)
    const ending = error.code === 'CLIENT_CLOSED' ? 'client_closed' : 'incomplete'
    this.#end(ending, error)
  }

  /** Whether it is used cannot be seen but by what passes. */
  drain(): void {
    this.#isDraining = true
    this.#stopLooking()
    if (this.#upstream !== null) this.#stopLooking = every(QUIET_MS / 4, () => this.#look())
  }

  #watch(sent: ClientRequest): void {
    this.#request = sent
    // Ours comes first, so that the head it writes is the one that is left here.
    sent.on('upgrade', (response: IncomingMessage, socket: Socket) => this.#open(response, socket))
  }

  /**
   * Takes over what the library would do with any answer but an upgrade, which is to pass it on, and with
   * a failure, which may come before there is a socket. Its listeners are there when it has returned.
   */
  #takeOver(): void {
    const sent = this.#request
    if (sent === null) return
    sent.removeAllListeners('response')
    sent.removeAllListeners('error')
    sent.on('error', (cause) => this.#unreachable(cause))
    sent.on('response', (response) => {
      response.resume()
      const detail = `it answered the upgrade with status ${response.statusCode ?? 0}`
      this.#fail(new GovernorError('UPSTREAM_FAILED', { detail }))
    })
  }

  #unreachable(cause: Error): void {
    const { error } = upstreamError(cause)
    this.#fail(error)
  }

  /** It never opened. */
  #fail(error: GovernorError): void {
    if (this.#isOver || this.#upstream !== null) return
    this.#isOver = true
    const { faults, pool, client } = this.#options
    if (error.source === 'upstream') {
      const fault = error.code === 'UPSTREAM_TIMEOUT' ? 'timeout' : 'protocol'
      faults.inc({ upstream: pool.name, fault })
    }
    client.socket.off('close', this.#clientClosed)
    this.#opened.reject(error)
    this.#request?.destroy()
  }

  #open({ headers }: IncomingMessage, upstream: Socket): void {
    const { client, idleMs } = this.#options
    const { socket } = client
    const passing = this.#options.answerHeaders(headers)
    for (const name of Object.keys(headers)) delete headers[name]
    Object.assign(headers, headersOfPairs(passing))
    if (this.#isOver) return void upstream.destroy()
    client.detach()
    this.#upstream = upstream
    upstream.once('end', () => this.#end('complete', null))
    upstream.once('close', (hadError) => this.#upstreamClosed(hadError))
    socket.once('end', () => this.#end('complete', null))
    this.#stopLooking = every(Math.min(LOOK_MS_MAX, idleMs / 4), () => this.#look())
    // By then the answer's head has been written, which is no part of what is counted.
    queueMicrotask(() => {
      this.#readBefore = socket.bytesRead - client.head.length
      this.#writtenBefore = socket.bytesWritten
      this.#opened.resolve()
    })
  }

  readonly #clientClosed = (): void => {
    if (this.#upstream === null) this.#fail(new GovernorError('CLIENT_CLOSED'))
    else this.#end('client_closed', null)
  }

  #upstreamClosed(hadError: boolean): void {
    if (!hadError) return this.#end('complete', null)
    this.#end('upstream_failed', new GovernorError('UPSTREAM_FAILED'))
  }

  #look(): void {
    const { socket } = this.#options.client
    const nowMs = monotonicMs()
    const bytes = socket.bytesRead + socket.bytesWritten
    if (bytes !== this.#lastBytes) this.#activeMs = nowMs
    this.#lastBytes = bytes
    const idleMs = this.#isDraining ? QUIET_MS : this.#options.idleMs
    if (nowMs - this.#activeMs > idleMs) return this.#end('complete', null)
    if (nowMs - this.#startedMs > TUNNEL_MS_MAX) this.#end('complete', null)
  }

  #end(ending: TunnelEnd['ending'], error: GovernorError | null): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stopLooking()
    const { socket } = this.#options.client
    socket.off('close', this.#clientClosed)
    // What was said before is still sent; who takes nothing any more is not waited for.
    const isOrderly = ending === 'complete'
    for (const side of [socket, this.#upstream!]) {
      if (isOrderly) side.destroySoon()
      else side.destroy()
    }
    const late = setTimeout(() => socket.destroy(), QUIET_MS)
    late.unref()
    this.#ended.resolve({
      ending,
      error,
      sentBytes: socket.bytesRead - this.#readBefore,
      answerBytes: socket.bytesWritten - this.#writtenBefore,
    })
  }
}
