import { open } from 'node:fs/promises'

import { wallMs } from '../clock.ts'
import { Agent, request } from '../lean-http.ts'
import type { Log } from '../log.ts'
import type { ProxyConnector } from './proxy-connector.ts'

const ANSWER_BYTES_MAX = 64 * 1024
const TOKEN_BYTES_MAX = 16 * 1024
/** For one question; the first fetch is what a start waits for. */
const QUESTION_MS_MAX = 5_000
/** AWS gives new ones out at least five minutes before the old ones end, Azure earlier. */
const BEFORE_END_MS = 5 * 60_000
const WAIT_MS_MAX = 3_600_000
const RETRY_MS = 2_000
const RETRY_MS_MAX = 60_000

/** What is good until `endMs`, wall time. */
export interface Ending {
  readonly endMs: number
}

/** One request of a fetch. */
export interface Question {
  /** Whether it goes through the proxy of the upstream; a service of this machine never does. */
  readonly isFar: boolean
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** 5 s when absent. */
  readonly timeMsMax?: number
}

/** The text of an answer with status 200; throws for any other. Redirects are not followed. */
export type Ask = (url: string, question: Question) => Promise<string>

/** What is fetched for an upstream, and how. */
export interface FetchedOptions<Keys> {
  /** Name of the upstream, for the log. */
  readonly name: string
  /** What is fetched, for the log: `AWS credentials`. */
  readonly what: string
  readonly fetch: (ask: Ask) => Promise<Keys>
  /** Of the upstream, on the way to what is far; null goes straight. */
  connectorTo(url: string): ProxyConnector | null
  readonly log: Log
}

/**
 * Temporary credentials, fetched at once and again before they end, never while a call waits. While
 * fetching fails the last good ones stay until their end.
 */
export class FetchedKeys<Keys extends Ending> {
  /** Resolves when the first fetch is over, however it ended. */
  readonly tried: Promise<void>
  readonly #options: FetchedOptions<Keys>
  readonly #over = new AbortController()
  #keys: Keys | null = null
  #failures = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: FetchedOptions<Keys>) {
    this.#options = options
    this.tried = this.#renew()
  }

  /** Null while there are none that are still good; `nowMs` is wall time. */
  current(nowMs: number): Keys | null {
    return this.#keys !== null && nowMs < this.#keys.endMs ? this.#keys : null
  }

  /** No more fetches. */
  async destroy(): Promise<void> {
    this.#over.abort()
    clearTimeout(this.#timer)
    await this.tried
  }

  async #renew(): Promise<void> {
    const { name, what, log } = this.#options
    let waitMs: number
    try {
      this.#keys = await this.#fetch()
      this.#failures = 0
      waitMs = renewalMs(this.#keys.endMs - wallMs())
    } catch (error) {
      waitMs = Math.min(RETRY_MS * 2 ** this.#failures, RETRY_MS_MAX)
      this.#failures = Math.min(this.#failures + 1, 10)
      if (this.#over.signal.aborted) return
      log.warn({ upstream: name, reason: reasonOf(error) }, `Cannot fetch ${what}`)
    }
    if (this.#over.signal.aborted) return
    this.#timer = setTimeout(() => void this.#renew(), waitMs)
    this.#timer.unref()
  }

  async #fetch(): Promise<Keys> {
    const keys = await this.#options.fetch((url, question) => this.#ask(url, question))
    if (keys.endMs <= wallMs()) throw new FetchFault('the credentials have ended already')
    return keys
  }

  /** Fetches are many minutes apart, so each has a connection of its own, which ends with it. */
  async #ask(url: string, { isFar, timeMsMax, ...question }: Question): Promise<string> {
    const limitMs = timeMsMax ?? QUESTION_MS_MAX
    const connector = isFar ? this.#options.connectorTo(url) : null
    const agent = new Agent({
      connections: 1,
      allowH2: false,
      connect:
        connector === null
          ? // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
            { timeout: limitMs, rejectUnauthorized: true }
          : (_options, callback) => connector.open(callback),
    })
    try {
      const { statusCode, body } = await request(url, {
        ...question,
        dispatcher: agent,
        signal: AbortSignal.any([this.#over.signal, AbortSignal.timeout(limitMs)]),
      })
      // A body that is given up says so by an event, too, which nobody else may hear.
      body.on('error', () => {})
      if (statusCode !== 200) throw new FetchFault(`answered ${statusCode}`)
      const chunks: Buffer[] = []
      let bytes = 0
      for await (const chunk of body as AsyncIterable<Buffer>) {
        bytes += chunk.length
        if (bytes > ANSWER_BYTES_MAX) throw new FetchFault('the answer is too large')
        chunks.push(chunk)
      }
      return Buffer.concat(chunks, bytes).toString()
    } finally {
      await agent.destroy()
    }
  }
}

/** Milliseconds until credentials that are good for `leftMs` are asked for again. */
export function renewalMs(leftMs: number): number {
  const waitMs = leftMs > 2 * BEFORE_END_MS ? leftMs - BEFORE_END_MS : leftMs / 2
  return Math.min(Math.max(waitMs, RETRY_MS), WAIT_MS_MAX)
}

/** Why a fetch failed, in words of ours alone: they are logged. */
export class FetchFault extends Error {}

/** The token in a file, read each time, for tokens are rotated under us. Throws what the file system does. */
export async function readToken(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.alloc(TOKEN_BYTES_MAX)
    const { bytesRead } = await file.read(buffer, 0, TOKEN_BYTES_MAX, 0)
    const text = buffer.toString('utf8', 0, bytesRead).trim()
    if (!isToken(text)) throw new FetchFault('the token file holds no token')
    return text
  } finally {
    await file.close()
  }
}

/** Whether it can stand in a header as it is. */
export function isToken(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)
}

/** The members of a JSON object; none of anything else. */
export function membersOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** Without any text of theirs. */
function reasonOf(error: unknown): string {
  if (error instanceof FetchFault) return error.message
  if (!(error instanceof Error)) return 'unknown reason'
  return 'code' in error ? String(error.code) : error.name
}
