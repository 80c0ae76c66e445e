import { open } from 'node:fs/promises'

import { Agent, request } from 'undici'

import { wallMs } from '../clock.ts'
import type { AwsChain } from '../config/snapshot.ts'
import type { Log } from '../log.ts'
import type { ProxyConnector } from './proxy-connector.ts'
import type { AwsKeys } from './sigv4.ts'

const ANSWER_BYTES_MAX = 64 * 1024
const TOKEN_BYTES_MAX = 16 * 1024
/** For one fetch; the first one is what a start waits for. */
const FETCH_MS_MAX = 5_000
/** AWS gives new ones out at least five minutes before the old ones end. */
const BEFORE_END_MS = 5 * 60_000
const WAIT_MS_MAX = 3_600_000
const RETRY_MS = 2_000
const RETRY_MS_MAX = 60_000

/** Where credentials are fetched; those of the environment are not. */
export type AwsPlace = Exclude<AwsChain, { readonly kind: 'environment' }>

export interface FetchedAwsOptions {
  /** Name of the upstream, for the log. */
  readonly name: string
  readonly place: AwsPlace
  /** Of the upstream, on the way to STS; null goes straight. */
  connectorTo(url: string): ProxyConnector | null
  readonly log: Log
}

interface Fetched extends AwsKeys {
  readonly endMs: number
}

/**
 * Temporary AWS credentials, fetched at once and again before they end, never while a call waits. While
 * fetching fails the last good ones stay until their end.
 */
export class FetchedAwsKeys {
  /** Resolves when the first fetch is over, however it ended. */
  readonly tried: Promise<void>
  readonly #options: FetchedAwsOptions
  readonly #over = new AbortController()
  #keys: Fetched | null = null
  #failures = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: FetchedAwsOptions) {
    this.#options = options
    this.tried = this.#renew()
  }

  /** Null while there are none that are still good; `nowMs` is wall time. */
  current(nowMs: number): AwsKeys | null {
    return this.#keys !== null && nowMs < this.#keys.endMs ? this.#keys : null
  }

  /** No more fetches. */
  async destroy(): Promise<void> {
    this.#over.abort()
    clearTimeout(this.#timer)
    await this.tried
  }

  async #renew(): Promise<void> {
    const { name, log } = this.#options
    let waitMs: number
    try {
      this.#keys = await this.#fetch()
      this.#failures = 0
      waitMs = renewalMs(this.#keys.endMs - wallMs())
    } catch (error) {
      waitMs = Math.min(RETRY_MS * 2 ** this.#failures, RETRY_MS_MAX)
      this.#failures = Math.min(this.#failures + 1, 10)
      if (this.#over.signal.aborted) return
      log.warn({ upstream: name, reason: reasonOf(error) }, 'Cannot fetch AWS credentials')
    }
    if (this.#over.signal.aborted) return
    this.#timer = setTimeout(() => void this.#renew(), waitMs)
    this.#timer.unref()
  }

  async #fetch(): Promise<Fetched> {
    const { place } = this.#options
    const fetched =
      place.kind === 'container'
        ? fromJson(await this.#ask(place.url, await containerRequest(place)))
        : fromXml(await this.#ask(place.url, await stsRequest(place)))
    if (fetched === null) throw new FetchFault('the answer holds no credentials')
    if (fetched.endMs <= wallMs()) throw new FetchFault('the credentials have ended already')
    return fetched
  }

  /** Fetches are many minutes apart, so each has a connection of its own, which ends with it. */
  async #ask(url: string, question: Question): Promise<string> {
    const connector = question.isFar ? this.#options.connectorTo(url) : null
    const agent = new Agent({
      connections: 1,
      allowH2: false,
      connect:
        connector === null
          ? // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
            { timeout: FETCH_MS_MAX, rejectUnauthorized: true }
          : (_options, callback) => connector.open(callback),
    })
    try {
      const { statusCode, body } = await request(url, {
        ...question.request,
        dispatcher: agent,
        signal: AbortSignal.any([this.#over.signal, AbortSignal.timeout(FETCH_MS_MAX)]),
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

class FetchFault extends Error {}

interface Question {
  readonly isFar: boolean
  readonly request: {
    readonly method: 'GET' | 'POST'
    readonly headers: Readonly<Record<string, string>>
    readonly body?: string
  }
}

async function containerRequest({
  token,
  tokenFile,
}: Extract<AwsPlace, { kind: 'container' }>): Promise<Question> {
  const authorization = tokenFile === null ? token : await readToken(tokenFile)
  const headers = { accept: 'application/json', ...(authorization !== null && { authorization }) }
  return { isFar: false, request: { method: 'GET', headers } }
}

async function stsRequest(place: Extract<AwsPlace, { kind: 'web_identity' }>): Promise<Question> {
  const body = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: place.roleArn,
    RoleSessionName: place.sessionName,
    WebIdentityToken: await readToken(place.tokenFile),
  }).toString()
  const headers = { accept: 'text/xml', 'content-type': 'application/x-www-form-urlencoded' }
  return { isFar: true, request: { method: 'POST', headers, body } }
}

/** Tokens are rotated under us: the file is read each time. */
async function readToken(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.alloc(TOKEN_BYTES_MAX)
    const { bytesRead } = await file.read(buffer, 0, TOKEN_BYTES_MAX, 0)
    const text = buffer.toString('utf8', 0, bytesRead).trim()
    if (!/^[\x21-\x7e]+$/.test(text)) throw new FetchFault('the token file holds no token')
    return text
  } finally {
    await file.close()
  }
}

/** The answer of a container's endpoint; null where something is missing. */
function fromJson(text: string): Fetched | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  const said = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  return fetchedOf((name) => said[name === 'SessionToken' ? 'Token' : name])
}

/** The answer of STS (AssumeRoleWithWebIdentity): of each name, the first element. */
function fromXml(text: string): Fetched | null {
  return fetchedOf((name) => new RegExp(`<${name}>\\s*([^<&]+?)\\s*</${name}>`).exec(text)?.[1])
}

function fetchedOf(said: (name: string) => unknown): Fetched | null {
  const [accessKeyId, secret, sessionToken, end] = [
    said('AccessKeyId'),
    said('SecretAccessKey'),
    said('SessionToken'),
    said('Expiration'),
  ].map((each) => (typeof each === 'string' && /^[\x21-\x7e]+$/.test(each) ? each : null))
  const endMs = Date.parse(end ?? '')
  if (accessKeyId == null || secret == null || sessionToken == null) return null
  return Number.isNaN(endMs) ? null : { accessKeyId, secret, sessionToken, endMs }
}

/** Without any text of theirs. */
function reasonOf(error: unknown): string {
  if (error instanceof FetchFault) return error.message
  if (!(error instanceof Error)) return 'unknown reason'
  return 'code' in error ? String(error.code) : error.name
}
