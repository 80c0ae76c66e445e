import { createServer, type ServerResponse } from 'node:http'
import { argv } from 'node:process'

import { type Dispatcher, Pool } from 'undici'

import { listening } from './ipc.ts'

/** Between two neighbours only (RFC 9110 §7.6.1). */
const HOP = new Set(['host', 'connection', 'keep-alive', 'content-length', 'transfer-encoding'])

function passed(headers: Record<string, unknown>): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name in headers) if (!HOP.has(name)) kept[name] = String(headers[name])
  return kept
}

/**
 * The least a Node proxy can do: body and headers on, answer collected, written once. The measure.
 */
class Answer implements Dispatcher.DispatchHandler {
  readonly #outgoing: ServerResponse
  readonly #chunks: Buffer[] = []
  #status = 0
  #headers: Record<string, unknown> = {}

  constructor(outgoing: ServerResponse) {
    this.#outgoing = outgoing
  }

  onRequestStart(): void {}
  onResponseStart(_: unknown, status: number, headers: Record<string, unknown>): void {
    this.#status = status
    this.#headers = headers
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    this.#chunks.push(chunk)
  }

  onResponseEnd(): void {
    const body = Buffer.concat(this.#chunks)
    const headers = passed(this.#headers)
    headers['content-length'] = String(body.length)
    this.#outgoing.writeHead(this.#status, headers).end(body)
  }

  onResponseError(): void {
    this.#outgoing.destroy()
  }
}

const pool = new Pool(argv[2]!, { pipelining: 1 })
const server = createServer((incoming, outgoing) => {
  const chunks: Buffer[] = []
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
  incoming.on('end', () => {
    const headers = passed(incoming.headers)
    const body = Buffer.concat(chunks)
    pool.dispatch({ path: incoming.url!, method: 'POST', headers, body }, new Answer(outgoing))
  })
})
listening(server)
