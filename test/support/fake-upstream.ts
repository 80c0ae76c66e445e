import { hash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

/**
 * A provider that does as it is told. Every request is written down the moment its body has
 * arrived; what happens then is a behaviour, of which the well-known faults have names here.
 */

/** One request as the provider saw it. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly rawHeaders: readonly string[]
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** SHA-256 of the body, hex. */
  readonly sha256: string
  readonly atMs: number
  /** The connection closed before the answer was complete. */
  closedEarly: boolean
}

export type Behaviour = (received: Received, response: ServerResponse) => void | Promise<void>

interface Closeable {
  teardown(then: () => unknown): void
}

export class FakeUpstream {
  readonly received: Received[] = []
  behaviour: Behaviour = answer()
  url = ''
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      void this.#take(request, response).catch(() => response.destroy())
    })
    this.#server.keepAliveTimeout = 75_000
  }

  /** Listens on a free loopback port until the test ends. */
  static async start(t: Closeable, behaviour?: Behaviour): Promise<FakeUpstream> {
    const upstream = new FakeUpstream()
    if (behaviour !== undefined) upstream.behaviour = behaviour
    await upstream.open()
    t.teardown(() => upstream.close())
    return upstream
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** Closes the connections on which nothing is under way. */
  dropIdle(): void {
    this.#server.closeIdleConnections()
  }

  /** The latest request. */
  get last(): Received | undefined {
    return this.received.at(-1)
  }

  /** Everything any request carried, as text, to look for what must not be there. */
  get everything(): string {
    return this.received
      .map(({ method, path, rawHeaders, body }) =>
        [method, path, ...rawHeaders, body.toString('latin1')].join('\n'),
      )
      .join('\n')
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const received: Received = {
      method: request.method ?? '',
      path: request.url ?? '',
      rawHeaders: request.rawHeaders,
      headers: request.headers,
      body,
      sha256: hash('sha256', body),
      atMs: performance.now(),
      closedEarly: false,
    }
    this.received.push(received)
    response.on('close', () => {
      received.closedEarly = !response.writableFinished
    })
    await this.behaviour(received, response)
  }
}

// --- what a model says ---

export const CHAT_ANSWER = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-4o-2024-08-06',
  choices: [
    { index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'Hello there' } },
  ],
  usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
}

/** One event of a streamed chat answer, with its text. */
export function chatEvent(content: string, finish: string | null = null): string {
  const choices = [{ index: 0, delta: { content }, finish_reason: finish }]
  const chunk = { id: 'chatcmpl-1', object: 'chat.completion.chunk', model: 'gpt-4o', choices }
  return `data: ${JSON.stringify(chunk)}\n\n`
}

export const DONE = 'data: [DONE]\n\n'

/** Whole events that make one answer. */
export const CHAT_EVENTS = [chatEvent('Hello'), chatEvent(' there'), chatEvent('', 'stop'), DONE]

// --- behaviours ---

/** A whole JSON answer. */
export function answer(
  value: unknown = CHAT_ANSWER,
  {
    status = 200,
    headers = {},
  }: { status?: number; headers?: Record<string, string | string[]> } = {},
): Behaviour {
  return (_received, response) => {
    const body = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': body.length,
      'x-request-id': 'req_upstream',
      ...headers,
    })
    response.end(body)
  }
}

/** An event stream, `paceMs` between its pieces. */
export function stream(pieces: readonly (string | Buffer)[] = CHAT_EVENTS, paceMs = 0): Behaviour {
  return async (_received, response) => {
    beginStream(response)
    for (const piece of pieces) {
      if (response.destroyed) return
      if (!response.write(piece)) await drained(response)
      if (paceMs > 0) await pause(paceMs)
    }
    response.end()
  }
}

/** Takes the request and says nothing. */
export const hangBeforeHeaders: Behaviour = () => {}

/** Some events, then silence. */
export function hangMidStream(pieces: readonly string[] = [chatEvent('Hello')]): Behaviour {
  return (_received, response) => {
    beginStream(response)
    for (const piece of pieces) response.write(piece)
  }
}

/** Some events, then a connection reset. */
export function resetMidStream(pieces: readonly string[] = [chatEvent('Hello')]): Behaviour {
  return (_received, response) => {
    beginStream(response)
    for (const piece of pieces.slice(0, -1)) response.write(piece)
    response.write(pieces.at(-1) ?? '', () => response.socket?.resetAndDestroy())
  }
}

/** Some events and an orderly end, but no `[DONE]`. */
export function endEarly(pieces: readonly string[] = [chatEvent('Hello')]): Behaviour {
  return stream(pieces)
}

/** Promises more bytes than it sends, then closes. */
export const wrongLength: Behaviour = (_received, response) => {
  const body = JSON.stringify(CHAT_ANSWER)
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length + 9 })
  response.write(body, () => response.socket?.end())
}

/** Sends the caller elsewhere. */
export function redirect(location: string): Behaviour {
  return answer('', { status: 307, headers: { location } })
}

/** What OpenAI does with a wrong key, but with all of it. */
export const echoKey: Behaviour = (received, response) => {
  const message = `Incorrect API key provided: ${String(received.headers.authorization)}`
  const error = { message, type: 'invalid_request_error', code: 'invalid_api_key' }
  return answer({ error }, { status: 401 })(received, response)
}

/** The provider's own limit. */
export const tooManyRequests: Behaviour = answer(
  { error: { message: 'Slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } },
  { status: 429, headers: { 'retry-after': '2', 'x-ratelimit-remaining-requests': '0' } },
)

/** A JSON answer of at least `bytes`. */
export function huge(bytes: number): Behaviour {
  const content = 'a'.repeat(bytes)
  return answer({
    ...CHAT_ANSWER,
    choices: [{ index: 0, message: { role: 'assistant', content } }],
  })
}

/** Another behaviour, later. */
export function after(delayMs: number, behaviour: Behaviour): Behaviour {
  return async (received, response) => {
    await pause(delayMs)
    if (!response.destroyed) await behaviour(received, response)
  }
}

/** Compresses although nobody asked for it. */
export const gzipped: Behaviour = (_received, response) => {
  const body = gzipSync(JSON.stringify(CHAT_ANSWER))
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    'content-length': body.length,
  })
  response.end(body)
}

/** A chunked JSON answer with trailer fields. */
export function withTrailers(trailers: Record<string, string>): Behaviour {
  return (_received, response) => {
    response.writeHead(200, {
      'content-type': 'application/json',
      trailer: Object.keys(trailers).join(', '),
    })
    response.write(JSON.stringify(CHAT_ANSWER))
    response.addTrailers(trailers)
    response.end()
  }
}

/** A stream whose every piece waits for the test. */
export class HandStream {
  #response!: ServerResponse
  #begun!: () => void
  readonly begun = new Promise<void>((resolve) => {
    this.#begun = resolve
  })

  readonly behaviour: Behaviour = (_received, response) => {
    this.#response = response
    beginStream(response)
    response.flushHeaders()
    this.#begun()
  }

  write(piece: string): void {
    this.#response.write(piece)
  }

  end(): void {
    this.#response.end()
  }

  get closed(): boolean {
    return this.#response.destroyed
  }
}

function beginStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'req_upstream' })
}

function drained(response: ServerResponse): Promise<unknown> {
  return new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
