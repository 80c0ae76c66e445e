import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { chatAnswer, chatStream } from './echo-chat.ts'
import {
  completionAnswer,
  completionStream,
  imageAnswer,
  imageStream,
  moderationAnswer,
  rerankAnswer,
  runAnswer,
  runStream,
  speechAnswer,
  speechStream,
  storedAnswer,
} from './echo-other.ts'
import { responsesAnswer, responsesStream } from './echo-responses.ts'
import { countTokens, type EchoBody, type Pieces } from './echo-text.ts'

export interface EchoOptions {
  /** Between two pieces of a stream. */
  readonly paceMs: number
  /** Before the answer begins. */
  readonly delayMs: number
}

const MODELS = ['gpt-4o', 'gpt-4o-mini', 'gpt-4.1', 'gpt-5', 'text-embedding-3-small']
const EMBEDDING_LENGTH = 16
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
    this.#server = createServer((request, response) => {
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
    const body = await readJson(request)
    if (this.#options.delayMs > 0) await pause(this.#options.delayMs)
    const id = createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 24)
    const answer = compose(request.method ?? '', request.url ?? '', body, id)
    response.setHeader('x-request-id', `req_${id}`)
    if (Array.isArray(answer)) {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
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

type Composed = object | Pieces | Buffer | null

function compose(method: string, url: string, body: EchoBody, id: string): Composed {
  const path = url.split('?')[0] ?? ''
  if (method !== 'POST') return composeStored(method, path, id)
  const streamed = body['stream'] === true
  switch (path) {
    case '/v1/chat/completions':
      return streamed ? chatStream(body, id) : chatAnswer(body, id)
    case '/v1/responses':
      return streamed ? responsesStream(body, id) : responsesAnswer(body, id)
    case '/v1/responses/compact':
      return responsesAnswer(body, id)
    case '/v1/embeddings':
      return embeddings(body)
    case '/v1/completions':
      return streamed ? completionStream(body, id) : completionAnswer(body, id)
    default:
      return composeOther(path, body, id)
  }
}

/** Paths of this API that have no version. */
const OUTSIDE_V1: ReadonlySet<string> = new Set([
  '/rerank',
  '/v2/rerank',
  '/score',
  '/tokenize',
  '/detokenize',
])
const RUNS = /^\/v1\/threads\/(?:runs|[^/]+\/runs(?:\/[^/]+\/submit_tool_outputs)?)$/

function composeStored(method: string, path: string, id: string): Composed {
  const listed = method === 'GET' ? modelsAnswer(path) : undefined
  if (listed !== undefined) return listed
  return path.startsWith('/v1/') ? storedAnswer(method, path, id) : null
}

function composeOther(path: string, body: EchoBody, id: string): Composed {
  const streamed = body['stream'] === true
  if (path === '/v1/moderations') return moderationAnswer(body, id)
  if (path.startsWith('/v1/images/')) {
    const kind = path.endsWith('edits') ? 'edit' : 'generation'
    return streamed ? imageStream(body, kind) : imageAnswer(body)
  }
  if (path === '/v1/audio/speech') {
    return body['stream_format'] === 'sse' ? speechStream(body) : speechAnswer(body)
  }
  if (path.endsWith('/rerank')) return rerankAnswer(body, id)
  if (RUNS.test(path)) return streamed ? runStream(body, id) : runAnswer(body, id)
  return path.startsWith('/v1/') || OUTSIDE_V1.has(path) ? storedAnswer('POST', path, id) : null
}

/** A list of models, one of them, null for one that is not there; undefined for other paths. */
function modelsAnswer(path: string): object | null | undefined {
  if (path === '/v1/models') return { object: 'list', data: MODELS.map(model) }
  const name = /^\/v1\/models\/(.+)$/.exec(path)?.[1]
  if (name === undefined) return undefined
  return MODELS.includes(name) ? model(name) : null
}

function model(id: string): object {
  return { id, object: 'model', created: 0, owned_by: 'governor' }
}

function notFound(url: string): object {
  const message = `The echo upstream has nothing at ${JSON.stringify(url)}`
  return { error: { message, type: 'invalid_request_error', param: null, code: 'not_found' } }
}

function embeddings(body: EchoBody): object {
  const inputs = Array.isArray(body['input']) ? (body['input'] as unknown[]) : [body['input']]
  const data = inputs.map((input, index) => {
    const vector = embed(JSON.stringify(input))
    const embedding =
      body['encoding_format'] === 'base64'
        ? Buffer.from(Float32Array.from(vector).buffer).toString('base64')
        : vector
    return { object: 'embedding', index, embedding }
  })
  const tokens = inputs.reduce<number>((sum, input) => sum + countTokens(JSON.stringify(input)), 0)
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return { object: 'list', data, model: body['model'], usage }
}

/** A direction in space that follows from the text alone. */
function embed(text: string): number[] {
  const digest = createHash('sha512').update(text).digest()
  return Array.from({ length: EMBEDDING_LENGTH }, (_, index) =>
    Math.fround(digest.readInt16BE(index * 2) / 32_768),
  )
}

async function readJson(request: IncomingMessage): Promise<EchoBody> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new RangeError('body too large for the echo upstream')
    chunks.push(chunk)
  }
  return bytes === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString('utf8')) as EchoBody)
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
