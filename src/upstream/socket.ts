import { WebSocket } from 'ws'

import { GovernorError } from '../errors.ts'
import type { Permit } from '../pipeline.ts'
import type { Faults } from './call.ts'
import { type Fault, upstreamError } from './fault.ts'
import type { UpstreamPool } from './forward.ts'
import { headersOfPairs } from './header-pairs.ts'

/** The longest message of a provider: a picture or a long piece of audio, as base64. */
const MESSAGE_BYTES_MAX = 32 * 1024 * 1024
const FRAGMENTS_MAX = 64 * 1024
/** What `ws` says when the answer to the upgrade does not come. */
const LATE = 'Opening handshake has timed out'

/** How a session is opened at the provider. */
export interface OpenSocketOptions {
  readonly pool: UpstreamPool
  /** Flat name, value pairs. */
  readonly headers: readonly string[]
  readonly subprotocols: readonly string[]
  readonly faults: Faults
  /** Is told how to give up, so that a client that leaves can end it. */
  readonly exchange: { interruptible: { interrupt(error: GovernorError): void } | null }
}

/**
 * Opens what the permit allows at the provider (RFC 6455) and waits until it is open; it is paused, so
 * that nothing said before somebody listens is lost. Compression is not offered and no redirect is
 * followed. Throws UPSTREAM_UNREACHABLE, UPSTREAM_FAILED (502), UPSTREAM_TIMEOUT (504), CLIENT_CLOSED.
 */
export async function openSocket(permit: Permit, options: OpenSocketOptions): Promise<WebSocket> {
  const { pool, headers, faults, exchange } = options
  const upstream = pool.name
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>()
  let isSettled = false
  const socket = new WebSocket(socketUrl(pool.url, permit.route.path), [...options.subprotocols], {
    headers: headersOfPairs(headers),
    perMessageDeflate: false,
    followRedirects: false,
    handshakeTimeout: pool.connectMs,
    maxPayload: MESSAGE_BYTES_MAX,
    maxFragments: FRAGMENTS_MAX,
    // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
    rejectUnauthorized: true,
    ...(pool.ca !== null && { ca: pool.ca }),
    ...(pool.connector !== null && { agent: pool.connector.agent }),
  })
  const fail = (error: GovernorError, fault: Fault): void => {
    if (error.code !== 'CLIENT_CLOSED' && !isSettled) faults.inc({ upstream, fault })
    isSettled = true
    reject(error)
  }
  socket.on('error', (cause: Error) => {
    if (cause.message === LATE) fail(new GovernorError('UPSTREAM_TIMEOUT', { cause }), 'timeout')
    const { error, fault } = upstreamError(cause)
    fail(error, fault)
  })
  socket.on('unexpected-response', (request, response) => {
    response.resume()
    request.destroy()
    const detail = `it answered the upgrade with status ${response.statusCode ?? 0}`
    fail(new GovernorError('UPSTREAM_FAILED', { detail }), 'protocol')
  })
  socket.on('open', () => {
    isSettled = true
    socket.pause()
    resolve(socket)
  })
  exchange.interruptible = {
    interrupt: (error) => {
      fail(error, 'reset')
      socket.terminate()
    },
  }
  try {
    return await promise
  } finally {
    exchange.interruptible = null
  }
}

function socketUrl(url: string, path: string): string {
  return url.replace(/^http/, 'ws') + path
}
