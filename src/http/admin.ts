import { createServer, type Server, type ServerResponse } from 'node:http'

import type { Registry } from 'prom-client'

import { sendJson } from './respond.ts'

export interface AdminOptions {
  readonly registry: Registry
  /** Why calls cannot be served now; empty when they can. */
  unready(): readonly string[]
  /** Brings gauges up to date before a scrape. */
  beforeScrape(): void
  /** Accepted `Host` values; null accepts any (the health listener, reached by pod address). */
  hosts: ReadonlySet<string> | null
}

const SECURITY_HEADERS = ['cache-control', 'no-store', 'x-content-type-options', 'nosniff']

/**
 * `/livez`, `/readyz` and `/metrics`. A page in a browser must not reach the admin listener through
 * a name that resolves to this machine, so the host is compared exactly.
 */
export function createAdminServer(options: AdminOptions): Server {
  const server = createServer(
    { maxHeaderSize: 8 * 1024, headersTimeout: 5000 },
    (request, response) => {
      const host = request.headers.host ?? ''
      const path = (request.url ?? '').split('?')[0]
      if (options.hosts !== null && !options.hosts.has(host.toLowerCase())) {
        sendJson(response, 421, { error: 'This listener does not answer to that host' })
      } else if (request.method !== 'GET' && request.method !== 'HEAD') {
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
        sendJson(response, 404, { error: 'There are /livez, /readyz and /metrics' })
      }
    },
  )
  server.maxConnections = 64
  return server
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
