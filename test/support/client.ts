import {
  type Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as httpRequest,
} from 'node:http'

/** A plain HTTP client that adds nothing: what a test sends is what goes out. */

export interface Sent {
  readonly method?: string
  readonly path?: string
  /** Sent as `authorization: Bearer …`; none when absent. */
  readonly key?: string
  readonly headers?: Readonly<Record<string, string | string[]>>
  /** An object is sent as JSON; bytes and text as they are. */
  readonly body?: object | string | Buffer
  readonly agent?: Agent
}

export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly text: string
  readonly bytes: Buffer
  readonly trailers: IncomingMessage['trailers']
  /** Of the parsed body: `error.code`, and whatever else a test looks for. */
  readonly json: Json
}

export type Json = Record<string, unknown> & {
  readonly error?: { message: string; type: string; param: string | null; code: string }
}

/** Sends a request and reads the whole answer. Rejects when the connection breaks. */
export async function send(base: string, sent: Sent): Promise<Answered> {
  const { response } = await open(base, sent)
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  const text = bytes.toString()
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    trailers: response.trailers,
    text,
    bytes,
    get json() {
      return JSON.parse(text) as Json
    },
  }
}

export interface Opened {
  readonly request: ClientRequest
  readonly response: IncomingMessage
}

/** Sends a request; resolves when the answer begins. */
export function open(base: string, sent: Sent): Promise<Opened> {
  const { request, response } = begin(base, sent)
  return response.then((answer) => ({ request, response: answer }))
}

/** Sends a request; the answer is a promise, so that a test can leave before it comes. */
export function begin(
  base: string,
  { method = 'POST', path = '/v1/chat/completions', key, headers = {}, body, agent }: Sent,
): { request: ClientRequest; response: Promise<IncomingMessage> } {
  const isText = typeof body === 'string' || Buffer.isBuffer(body)
  const payload = body === undefined ? undefined : isText ? body : JSON.stringify(body)
  const request = httpRequest(new URL(path, base), {
    method,
    agent: agent ?? false,
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(payload !== undefined && {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(payload)),
      }),
      ...headers,
    },
  })
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  request.end(payload)
  return { request, response }
}

/** A chat call of one message. */
export function chat(content: string, more: Readonly<Record<string, unknown>> = {}): object {
  return { model: 'gpt-4o', messages: [{ role: 'user', content }], ...more }
}
