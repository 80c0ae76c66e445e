import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'

import {
  exportJWK,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
  type CryptoKey,
  type JWK,
} from 'jose'

import { Authority } from './certificates.ts'

/** Claims to add, or with undefined to leave out. */
type Claims = { readonly [Name in keyof JWTPayload]: JWTPayload[Name] | undefined }

interface Test {
  teardown(then: () => unknown): void
}

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}

/** A new key pair; `kid` is its id. */
export async function signingKey(kid: string, alg = 'RS256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

/** Made once: an RSA key takes a second on a slow day. */
let usualKey: Promise<SigningKey> | null = null

/** A real issuer of tokens over HTTPS, on a free port of 127.0.0.1. */
export class TestIssuer {
  /** PEM of who signed its certificate. */
  readonly ca: string
  readonly paths: string[] = []
  readonly credentials: (string | undefined)[] = []
  keys: SigningKey[] = []
  /** Answers instead, where it returns true. */
  override: (request: IncomingMessage, response: ServerResponse) => boolean = () => false
  readonly #server: Server

  private constructor(authority: Authority) {
    this.ca = authority.cert
    const { cert, key } = authority.issue({ subject: { CN: 'issuer' }, ips: ['127.0.0.1'] })
    this.#server = createServer({ cert, key }, (request, response) => {
      this.paths.push(request.url ?? '')
      this.credentials.push(request.headers.authorization)
      if (!this.override(request, response)) this.#answer(request, response)
    })
  }

  static async start(t: Test, key?: SigningKey): Promise<TestIssuer> {
    const issuer = new TestIssuer(new Authority())
    issuer.keys = [key ?? (await (usualKey ??= signingKey('first')))]
    issuer.#server.listen(0, '127.0.0.1')
    await once(issuer.#server, 'listening')
    t.teardown(() => {
      issuer.#server.closeAllConnections()
      issuer.#server.close()
    })
    return issuer
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** How often its keys were asked for. */
  get fetches(): number {
    return this.paths.filter((path) => path === '/jwks').length
  }

  /** A token for `governor` that holds for five minutes; what `claims` sets to undefined is absent. */
  token(claims: Claims = {}, key = this.keys[0]!, header: object = {}): Promise<string> {
    const nowS = Math.floor(Date.now() / 1000)
    const usual = { iss: this.url, aud: 'governor', sub: 'ann', org: 'acme', exp: nowS + 300 }
    return new SignJWT({ ...usual, ...claims } as JWTPayload)
      .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
      .sign(key.privateKey)
  }

  #answer({ url }: IncomingMessage, response: ServerResponse): void {
    response.setHeader('content-type', 'application/json')
    if (url === '/.well-known/openid-configuration') {
      response.end(JSON.stringify({ issuer: this.url, jwks_uri: `${this.url}/jwks` }))
    } else if (url === '/jwks') {
      response.end(JSON.stringify({ keys: this.keys.map(({ jwk }) => jwk) }))
    } else response.writeHead(404).end()
  }
}
