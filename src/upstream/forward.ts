import type { Readable } from 'node:stream'

import { GovernorError } from '../errors.ts'
import { Pool } from '../lean-http.ts'
import type { Permit } from '../pipeline.ts'
import {
  COLLECTED_BYTES_MAX,
  LIST_BYTES_MAX,
  type Answer,
  type Faults,
  UpstreamCall,
} from './call.ts'
import { makeConnection } from './connection.ts'
import { ProxyConnector, type ProxyPlace } from './proxy-connector.ts'

/** Shorter than the 60 s after which common load balancers drop an idle connection. */
const KEEP_ALIVE_MS = 55_000
/** As `maximums.streams` at its most, which is what bounds them: a call over it would wait unseen. */
const CONNECTIONS_MAX = 100_000

/** Where an upstream is and how it is reached. */
export interface PoolOptions {
  readonly name: string
  readonly url: string
  readonly connectMs: number
  readonly ca: string | null
  /** Where connections go through; null where they go straight. */
  readonly proxy: ProxyPlace | null
}

/** One upstream: where it is and the connections to it. Made when a snapshot is loaded. */
export class UpstreamPool {
  readonly name: string
  readonly url: string
  readonly connectMs: number
  /** Certificates to trust, PEM; null is the usual. */
  readonly ca: string | null
  readonly proxy: ProxyPlace | null
  /** Opens what is no call of the pool; null without a proxy. */
  readonly connector: ProxyConnector | null
  readonly #pool: Pool
  readonly #basePath: string

  /** `url` is http or https, without a trailing slash; its path is put before every request's. */
  constructor({ name, url, connectMs, ca, proxy }: PoolOptions) {
    const { origin, pathname } = new URL(url)
    this.name = name
    this.url = url
    this.connectMs = connectMs
    this.ca = ca
    this.proxy = proxy
    const connector = proxy === null ? null : new ProxyConnector({ proxy, url, connectMs, ca })
    this.connector = connector
    this.#basePath = pathname === '/' ? '' : pathname
    this.#pool = new Pool(origin, {
      factory: makeConnection,
      connections: CONNECTIONS_MAX,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      allowH2: false,
      connect:
        connector === null
          ? // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
            { timeout: connectMs, rejectUnauthorized: true, ...(ca !== null && { ca }) }
          : (_options, callback) => connector.open(callback),
    })
  }

  get stats(): { readonly size: number; readonly running: number; readonly queued: number } {
    const { connected, running, queued } = this.#pool.stats
    return { size: connected, running, queued }
  }

  /** Sends; the call's `answer` resolves with the answer's beginning. */
  send(call: UpstreamCall, request: OutgoingRequest): void {
    this.#pool.dispatch(
      {
        path: this.#basePath + request.path,
        method: request.method,
        headers: request.headers as string[],
        body: request.body,
        headersTimeout: request.firstByteMs,
        bodyTimeout: request.idleMs,
      },
      call,
    )
  }

  /** Lets running calls finish, then closes the connections. */
  async close(): Promise<void> {
    await this.#pool.close()
  }

  /** Closes the connections now, running calls included. */
  async destroy(): Promise<void> {
    await this.#pool.destroy()
  }
}

/** A request as it goes on the wire; `path` is added to that of the upstream. */
export interface OutgoingRequest {
  readonly method: string
  readonly path: string
  /** Flat name, value pairs. */
  readonly headers: readonly string[]
  readonly body: Buffer | Readable | null
  readonly firstByteMs: number
  readonly idleMs: number
}

/** How one permitted call is sent. */
export interface ForwardOptions {
  readonly pool: UpstreamPool
  readonly method: string
  readonly headers: readonly string[]
  /** What is sent instead of the permit's bytes, which are a part of it; null: nothing. */
  readonly stream: Readable | null
  readonly firstByteMs: number
  readonly idleMs: number
  readonly faults: Faults
  /** Called once when the answer has ended, however it did; null where nobody needs to know. */
  readonly onEnd: (() => void) | null
  /** Is given the call at once, so that a client that leaves can end it. */
  readonly exchange: { interruptible: { interrupt(error: GovernorError): void } | null }
}

/**
 * Sends what the permit allows and waits for the answer to begin. A redirect is not followed: it
 * would carry our credential to a host nobody configured. Throws UPSTREAM_UNREACHABLE,
 * UPSTREAM_FAILED, UPSTREAM_REDIRECT (502), UPSTREAM_TIMEOUT (504), CLIENT_CLOSED.
 */
export async function forward(permit: Permit, options: ForwardOptions): Promise<Answer> {
  const { firstByteMs, faults, onEnd } = options
  const upstream = options.pool.name
  const isList = permit.route.endpoint.operation === 'models'
  const collectedBytesMax = isList ? LIST_BYTES_MAX : COLLECTED_BYTES_MAX
  const { stream } = permit.facts
  const call = new UpstreamCall({ stream, collectedBytesMax, firstByteMs, upstream, faults, onEnd })
  options.exchange.interruptible = call
  options.pool.send(call, {
    method: options.method,
    path: permit.route.path,
    headers: options.headers,
    body: options.stream ?? (permit.bytes.length === 0 ? null : permit.bytes),
    firstByteMs,
    idleMs: options.idleMs,
  })
  const answer = await call.answer
  if (answer.status >= 300 && answer.status < 400) {
    call.abort()
    faults.inc({ upstream, fault: 'redirect' })
    throw new GovernorError('UPSTREAM_REDIRECT')
  }
  // Names of codings have no case (RFC 9110 §8.4.1); an empty list is none.
  const encoding = String(answer.headers['content-encoding'] ?? '').toLowerCase()
  // RFC 9112 §6.1: `gzip, chunked` is undone as far as the chunks.
  const coding = String(answer.headers['transfer-encoding'] ?? 'chunked').toLowerCase()
  if ((encoding !== '' && encoding !== 'identity') || coding !== 'chunked') {
    // We asked for identity: what cannot be read cannot be metered, nor cleaned of our credential.
    call.abort()
    faults.inc({ upstream, fault: 'protocol' })
    throw new GovernorError('UPSTREAM_FAILED', { detail: 'it answered in an encoding of its own' })
  }
  return answer
}
