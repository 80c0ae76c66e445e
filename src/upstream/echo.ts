import { createHash } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { http } from '../lean-http.ts'
import { compose } from './echo-answers.ts'
import { readForm } from './echo-form.ts'
import type { EchoBody, Pieces } from './echo-text.ts'

/** How slow the echo is. */
export interface EchoOptions {
  /** Between two pieces of a stream. */
  readonly paceMs: number
  /** Before the answer begins. */
  readonly delayMs: number
}

const BODY_BYTES_MAX = 64 * 1024 * 1024

/** Options of an `echo:` address: `echo:?pace=20ms&delay=1s`. Unknown ones are refused at load. */
export function parseEchoUrl(url: string): EchoOptions {
  const options = new URLSearchParams(url.slice(url.indexOf('?') + 1))
  return { paceMs: milliseconds(options.get('pace')), delayMs: milliseconds(options.get('delay')) }
}

function milliseconds(text: string | null): number {
  const match = /^(\d+)(ms|s)$/.exec(text ?? '')
  return match === null ? 0 : Number(match[1]) * (match[2] === 's' ? 1000 : 1)
}

/**
 * The built-in upstream: an OpenAI-like server on a loopback port that says back what it was asked.
 * Everything it says follows from the request alone, so that examples and tests can be exact.
 */
export class EchoUpstream {
  readonly #server: Server
  readonly #options: EchoOptions
  url = ''

  constructor(options: EchoOptions) {
    this.#options = options
    this.#server = http.createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    })
    this.#server.keepAliveTimeout = 75_000
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(0, '127.0.0.1', resolve)
    })
    this.#server.unref()
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request)
    if (this.#options.delayMs > 0) await pause(this.#options.delayMs)
    const id = createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 24)
    const answer = compose(request, body, id)
    response.setHeader('x-request-id', `req_${id}`)
    response.setHeader('request-id', `req_${id}`)
    if (Array.isArray(answer)) {
      response.writeHead(200, { 'content-type': streamType(answer) })
      await this.#stream(answer, response)
      return
    }
    if (Buffer.isBuffer(answer)) {
      response.writeHead(200, { 'content-type': 'audio/mpeg', 'content-length': answer.length })
      response.end(answer)
      return
    }
    const text = JSON.stringify(answer ?? notFound(request.url ?? ''))
    response.writeHead(answer === null ? 404 : 200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    })
    response.end(text)
  }

  async #stream(pieces: Pieces, response: ServerResponse): Promise<void> {
    for (const piece of pieces) {
      if (response.destroyed) return
      if (!response.write(piece)) {
        await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
      }
      if (this.#options.paceMs > 0) await pause(this.#options.paceMs)
    }
    response.end()
  }
}

/** Events, lines of JSON, or one array: what the first piece begins with tells. */
function streamType([first = '']: Pieces): string {
  if (typeof first !== 'string') return 'application/vnd.amazon.eventstream'
  if (first.startsWith('{')) return 'application/x-ndjson'
  return first.startsWith('[') ? 'application/json' : 'text/event-stream; charset=utf-8'
}

function notFound(url: string): object {
  const message = `The echo upstream has nothing at ${JSON.stringify(url)}`
  return { error: { message, type: 'invalid_request_error', param: null, code: 'not_found' } }
}

async function readBody(request: IncomingMessage): Promise<EchoBody> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new RangeError('body too large for the echo upstream')
    chunks.push(chunk)
  }
  if (bytes === 0) return {}
  const body = Buffer.concat(chunks)
  const type = request.headers['content-type'] ?? ''
  if (type.startsWith('multipart/form-data')) return readForm(type, body)
  return JSON.parse(body.toString('utf8')) as EchoBody
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
