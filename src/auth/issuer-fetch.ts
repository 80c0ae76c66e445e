import { open } from 'node:fs/promises'
import { isIP } from 'node:net'

import type { IssuerKeysConfig } from '../config/snapshot.ts'
import { Agent, request } from '../lean-http.ts'
import { isPrivateAddress, publicLookup } from './private-address.ts'

/** Sets of keys are a few kilobytes. */
const ANSWER_BYTES_MAX = 256 * 1024
const CREDENTIAL_BYTES_MAX = 16 * 1024

/** Why keys could not be fetched. Its message is safe to log. */
export class FetchFault extends Error {
  override readonly name = 'FetchFault'
}

/**
 * The JSON Web Key Set (RFC 7517 §5) of an issuer as it came, by its discovery document (OpenID
 * Connect Discovery 1.0 §4) where the configuration names no other place. Redirects are not followed,
 * answers are bounded, and all of it ends when `signal` says so. A document may send us to another host
 * only over TLS, only on the public internet and without our credential. Rejects with FetchFault.
 */
export async function fetchKeySet(config: IssuerKeysConfig, signal: AbortSignal): Promise<unknown> {
  const credential = await credentialOf(config)
  if (config.jwks !== null) return getJson(new URL(config.jwks), { config, credential, signal })
  const home = new URL(config.discovery!)
  const { issuer, jwks_uri: uri } = members(await getJson(home, { config, credential, signal }))
  if (issuer !== config.issuer) {
    throw new FetchFault('the discovery document names another issuer')
  }
  if (typeof uri !== 'string' || !URL.canParse(uri)) {
    throw new FetchFault('the discovery document names no jwks_uri')
  }
  const target = new URL(uri)
  if (target.origin === home.origin) return getJson(target, { config, credential, signal })
  if (target.protocol !== 'https:') throw new FetchFault('its jwks_uri is not https')
  const host = target.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && isPrivateAddress(host)) throw elsewhere(host)
  return getJson(target, { config, credential: null, signal, isForeign: true })
}

interface Question {
  readonly config: IssuerKeysConfig
  readonly credential: string | null
  readonly signal: AbortSignal
  /** On a host that the configuration does not name. */
  readonly isForeign?: true
}

/** Fetches are minutes apart, so each has a connection of its own, which ends with it. */
async function getJson(url: URL, question: Question): Promise<unknown> {
  const { config, isForeign } = question
  const agent = new Agent({
    connections: 1,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16 * 1024,
    connect: {
      timeout: config.timeoutMs,
      // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment changes nothing.
      rejectUnauthorized: true,
      ...(config.ca !== null && { ca: config.ca.pem }),
      ...(isForeign === true && { lookup: publicLookup }),
    },
  })
  try {
    return JSON.parse(await getText(url, agent, question))
  } catch (error) {
    if (question.signal.aborted) throw new FetchFault(`no answer within ${config.timeoutMs} ms`)
    if (error instanceof FetchFault) throw error
    if (error instanceof SyntaxError) throw new FetchFault('the answer is no JSON')
    throw new FetchFault(`${url.host} cannot be reached: ${reason(error)}`, { cause: error })
  } finally {
    await agent.destroy()
  }
}

async function getText(
  url: URL,
  dispatcher: Agent,
  { credential, signal }: Question,
): Promise<string> {
  const { statusCode, body } = await request(url, {
    dispatcher,
    signal,
    headers: {
      accept: 'application/json, application/jwk-set+json',
      'accept-encoding': 'identity',
      ...(credential !== null && { authorization: `Bearer ${credential}` }),
    },
  })
  // A body that is given up says so by an event, too, which nobody else may hear.
  body.on('error', () => {})
  if (statusCode !== 200) {
    body.destroy()
    throw new FetchFault(`${url.host} answered ${statusCode}`)
  }
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) {
      throw new FetchFault(`${url.host} answered with more than ${ANSWER_BYTES_MAX} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes).toString()
}

/** Tokens of a pod are rotated under us: the file is read each time. */
async function credentialOf({ credentialFile }: IssuerKeysConfig): Promise<string | null> {
  if (credentialFile === null) return null
  let text: string
  try {
    const file = await open(credentialFile, 'r')
    try {
      const buffer = Buffer.alloc(CREDENTIAL_BYTES_MAX)
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
      text = buffer.toString('utf8', 0, bytesRead).trim()
    } finally {
      await file.close()
    }
  } catch (error) {
    throw new FetchFault(`credential_file cannot be read: ${reason(error)}`)
  }
  if (!/^[\x21-\x7e]+$/.test(text)) throw new FetchFault('credential_file holds no token')
  return text
}

function members(value: unknown): { readonly issuer?: unknown; readonly jwks_uri?: unknown } {
  return typeof value === 'object' && value !== null ? value : {}
}

function elsewhere(host: string): FetchFault {
  return new FetchFault(`its jwks_uri is in a private network (${host}): name it as jwks`)
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' ? code : error instanceof Error ? error.message : 'unknown reason'
}
