import { Pool, request } from '../lean-http.ts'

/** Shorter than the 60 s after which common load balancers drop an idle connection. */
const KEEP_ALIVE_MS = 55_000
/** Answers are verdicts, not texts. */
const ANSWER_BYTES_MAX = 1024 * 1024

/** How a question to a service failed. */
export type ServiceFailure = 'late' | 'unreachable' | 'status' | 'large'

/** A service that is asked, and its bounds. */
export interface ServiceOptions {
  /** http or https, without a trailing slash; its path is put before every question's. */
  readonly url: string
  /** Sent as a bearer token; null where none is. */
  readonly credential: string | null
  /** For one whole question, the wait for a free connection included. */
  readonly timeoutMs: number
  /** Connections, each with one question at a time; others wait for one. */
  readonly concurrency: number
  /** Makes the error a question rejects with; `message` goes behind the service's name. */
  readonly fault: (failure: ServiceFailure, message: string, cause?: unknown) => Error
}

/** A service of ours that is asked in JSON, and the connections to it. Made when a snapshot is loaded. */
export class ServicePool {
  readonly #options: ServiceOptions
  readonly #pool: Pool
  /** Where paths are put behind. */
  readonly #base: string
  readonly #headers: Readonly<Record<string, string>>

  constructor(options: ServiceOptions) {
    const { origin, pathname } = new URL(options.url)
    this.#options = options
    this.#base = pathname === '/' ? origin : origin + pathname
    this.#headers = {
      'content-type': 'application/json',
      accept: 'application/json',
      'accept-encoding': 'identity',
      ...(options.credential !== null && { authorization: `Bearer ${options.credential}` }),
    }
    this.#pool = new Pool(origin, {
      connections: options.concurrency,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      allowH2: false,
      // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
      connect: { timeout: options.timeoutMs, rejectUnauthorized: true },
    })
  }

  /**
   * Posts JSON and returns the text of a 200. A redirect is not followed. Rejects with `fault`'s error,
   * or with the reason of `signal` when that is aborted: the question is given up then.
   */
  async post(path: string, json: string, signal: AbortSignal): Promise<string> {
    const { timeoutMs, fault } = this.#options
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), timeoutMs)
    try {
      return await this.#send(path, json, AbortSignal.any([signal, late.signal]))
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (late.signal.aborted) throw fault('late', `did not answer within ${timeoutMs} ms`)
      if (error instanceof Unusable) throw fault(error.failure, error.message)
      throw fault('unreachable', 'cannot be reached', error)
    } finally {
      clearTimeout(timer)
    }
  }

  async #send(path: string, json: string, signal: AbortSignal): Promise<string> {
    const { statusCode, body } = await request(this.#base + path, {
      dispatcher: this.#pool,
      method: 'POST',
      headers: this.#headers,
      body: json,
      signal,
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    // A body that is given up says so by an event, too, which nobody else may hear.
    body.on('error', () => {})
    if (statusCode !== 200) {
      body.destroy()
      throw new Unusable('status', `answered ${statusCode}`)
    }
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > ANSWER_BYTES_MAX) {
        throw new Unusable('large', `answered with more than ${ANSWER_BYTES_MAX} bytes`)
      }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, bytes).toString()
  }

  /** Closes the connections now, questions under way included. */
  async destroy(): Promise<void> {
    await this.#pool.destroy()
  }
}

/** An answer that came and is of no use. */
class Unusable extends Error {
  readonly failure: 'status' | 'large'

  constructor(failure: Unusable['failure'], message: string) {
    super(message)
    this.failure = failure
  }
}
