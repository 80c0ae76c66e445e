import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'

import type { Registry } from 'prom-client'

import { GovernorError } from '../errors.ts'
import { http } from '../lean-http.ts'
import { answerAdmin, onlyHost } from './admin-request.ts'
import { sendJson } from './respond.ts'
import { Room } from './room.ts'

/** What the admin and the health listener are given. */
export interface AdminOptions {
  readonly registry: Registry
  /** Why calls cannot be served now; empty when they can. */
  unready(): readonly string[]
  /** Brings gauges up to date before a scrape. */
  beforeScrape(): void
  /** Accepted `Host` values; null accepts any (the health listener, reached by pod address). */
  hosts: ReadonlySet<string> | null
  /** Takes what is below `/admin/`; null where there is no admin API. */
  api: ((request: IncomingMessage, response: ServerResponse) => void) | null
}

/** Connections at once; a probe and a scraper need one each. */
const CONNECTIONS_MAX = 64

/** A probe that takes longer than this to say what it wants is no probe. */
const REQUEST_MS = 5000

const SECURITY_HEADERS = ['cache-control', 'no-store', 'x-content-type-options', 'nosniff']

/**
 * `/livez`, `/readyz` and `/metrics`. A page in a browser must not reach the admin listener through
 * a name that resolves to this machine, so the host is compared exactly.
 */
export function createAdminServer(options: AdminOptions): Server {
  const server = http.createServer(
    {
      maxHeaderSize: 8 * 1024,
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => {
      const path = (request.url ?? '').split('?')[0] ?? ''
      if (options.hosts !== null && !options.hosts.has(onlyHost(request))) {
        refuseHost(request, response)
      } else if (options.api !== null && path.startsWith('/admin/')) {
        options.api(request, response)
      } else probe(options, path, { request, response })
    },
  )
  keepRoom(server)
  return server
}

function probe(
  options: AdminOptions,
  path: string,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    sendJson(response, 405, { error: 'Only GET' }, ['allow', 'GET, HEAD'])
  } else if (path === '/livez') {
    sendJson(response, 200, { live: true }, SECURITY_HEADERS)
  } else if (path === '/readyz') {
    const reasons = options.unready()
    const ready = reasons.length === 0
    sendJson(response, ready ? 200 : 503, { ready, reasons }, SECURITY_HEADERS)
  } else if (path === '/metrics') {
    void sendMetrics(options, response)
  } else {
    const more = options.api === null ? ' and /metrics' : ', /metrics and /admin/v1'
    sendJson(response, 404, { error: `There are /livez, /readyz${more}` })
  }
}

/** A page in a browser was made to call a name that leads here. */
function refuseHost(request: IncomingMessage, response: ServerResponse): void {
  const { code, message, status } = new GovernorError('HOST_UNKNOWN')
  const requestId = randomUUID()
  const value = { error: { code, message, param: 'host', request_id: requestId } }
  const headers = ['x-governor-request-id', requestId, 'x-governor-code', code]
  answerAdmin(request, response, { status, value, headers })
}

/** Full of connections that say nothing, a listener would turn probes away and have the pod killed. */
function keepRoom(server: Server): void {
  const room = new Room(server, CONNECTIONS_MAX)
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    room.speaks(socket)
    response.on('close', () => room.falls(socket))
  })
}

async function sendMetrics(options: AdminOptions, response: ServerResponse): Promise<void> {
  try {
    options.beforeScrape()
    const text = await options.registry.metrics()
    response.writeHead(200, { 'content-type': options.registry.contentType }).end(text)
  } catch {
    response.destroy()
  }
}
