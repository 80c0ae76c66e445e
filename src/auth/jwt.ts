import { hash, randomBytes } from 'node:crypto'

import { errors, jwtVerify, type CryptoKey, type JWTPayload } from 'jose'

import type { IssuerConfig } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import type { Principal } from '../exchange.ts'
import { ClaimFault, principalOf, TOKEN_CHARS_MAX } from './claims.ts'
import type { IssuerKeys } from './issuer-keys.ts'
import type { KeySet } from './key-set.ts'
import { Turns } from './turns.ts'

/** An issuer whose tokens are accepted, and its keys. */
export interface Issuer {
  readonly config: IssuerConfig
  readonly keys: IssuerKeys
}

/** Is told whether a token, or the key that signed it, was known already. */
export type TokenCacheResult = (cache: 'verified_tokens' | 'jwks', result: 'hit' | 'miss') => void

/** A token that holds, for as long as it does. */
interface Verified {
  readonly issuer: Issuer
  /** The keys it was verified with: with others it is verified again. */
  readonly set: KeySet
  readonly fromMs: number
  readonly untilMs: number
  principal: Principal
}

interface Unseen {
  readonly token: string
  readonly issuer: Issuer
  readonly digest: string
  readonly nowMs: number
}

const VERIFIED_MAX = 10_000
/** Signatures are verified on libuv's four threads, which bcrypt, DNS and files need too. */
const VERIFICATIONS = { atOnceMax: 2, waitingMax: 256 }
/** Of the keys that a token without a key id could be signed with. */
const CANDIDATES_MAX = 8
/** RFC 7515 §7.1, signed. A header may begin with a space or a line, so with anything. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
/** What means to be one: unsigned, padded or in another alphabet it is a wrong token, not none. */
const CLAIMED = /^[^.]*\.([^.]+)\.[^.]*$/

/**
 * Tokens of issuers (RFC 7519), verified by the issuer's published keys with algorithms pinned by
 * configuration; nothing in a token chooses its key's place (`jku`, `x5u`, `jwk` are not read). A token seen
 * before costs one hash: remembered by SHA-256 of a per-process key and the whole token, at most until
 * it expires or the issuer's keys change. Bounded.
 */
export class Tokens {
  readonly #issuers: ReadonlyMap<string, Issuer>
  readonly #count: TokenCacheResult
  readonly #processKey = randomBytes(32).toString('base64')
  readonly #verified = new Map<string, Verified>()
  readonly #verifying = new Map<string, Promise<Verified>>()
  readonly #turns = new Turns(VERIFICATIONS)

  constructor(issuers: readonly Issuer[], count: TokenCacheResult = () => {}) {
    this.#issuers = new Map(issuers.map((issuer) => [issuer.config.issuer, issuer]))
    this.#count = count
  }

  /** Keys of all issuers. */
  get keys(): IssuerKeys[] {
    return [...this.#issuers.values()].map(({ keys }) => keys)
  }

  /** Fetches keys where it is time to; called once a second. Never throws. */
  tick(): void {
    for (const { keys } of this.#issuers.values()) keys.tick()
  }

  /**
   * The bearer of a token, at once when it was seen before; null when it is no token of an issuer known
   * here. Throws or rejects with AUTH_TOKEN_INVALID (401), AUTH_BUSY (429) and AUTH_ISSUER_UNAVAILABLE
   * (503): keys that cannot be fetched never make a valid caller a 401.
   */
  principal(token: string, ip: string, nowMs: number): Principal | Promise<Principal> | null {
    const isLong = token.length > TOKEN_CHARS_MAX
    if (isLong || !TOKEN.test(token)) {
      if (this.#issuerOf(token) === undefined) return null
      throw invalid(
        isLong ? `it is longer than ${TOKEN_CHARS_MAX} characters` : 'it cannot be read',
      )
    }
    const digest = hash('sha256', this.#processKey + token, 'base64')
    const known = this.#verified.get(digest)
    const holds = known !== undefined && holdsNow(known, nowMs)
    if (holds) {
      this.#count('verified_tokens', 'hit')
      return at(known, ip)
    }
    if (known !== undefined) this.#verified.delete(digest)
    const issuer = this.#issuerOf(token)
    if (issuer === undefined) return null
    this.#count('verified_tokens', 'miss')
    return this.#verifyOnce({ token, issuer, digest, nowMs }).then((verified) => at(verified, ip))
  }

  /** Read before the signature is, so only to choose whose keys must hold. */
  #issuerOf(token: string): Issuer | undefined {
    const claims = CLAIMED.exec(token)?.[1]
    if (claims === undefined) return undefined
    try {
      const read: unknown = JSON.parse(Buffer.from(claims, 'base64').toString())
      const isMap = typeof read === 'object' && read !== null && 'iss' in read
      return isMap && typeof read.iss === 'string' ? this.#issuers.get(read.iss) : undefined
    } catch {
      return undefined
    }
  }

  /** A client that starts with a burst shows one token many times: it is verified once. */
  #verifyOnce(unseen: Unseen): Promise<Verified> {
    const { digest } = unseen
    const running = this.#verifying.get(digest)
    if (running !== undefined) return running
    const verifying = this.#verify(unseen)
      .then((verified) => {
        if (this.#verified.size >= VERIFIED_MAX) {
          this.#verified.delete(this.#verified.keys().next().value!)
        }
        this.#verified.set(digest, verified)
        return verified
      })
      .finally(() => this.#verifying.delete(digest))
    this.#verifying.set(digest, verifying)
    return verifying
  }

  async #verify(unseen: Unseen): Promise<Verified> {
    const { keys, config } = unseen.issuer
    const known = keys.current()
    this.#count('jwks', known === null ? 'miss' : 'hit')
    let set = known ?? (await keys.wanted())
    let claims = await this.#claims(unseen, set)
    if (claims === null) {
      const newer = await keys.newer(set)
      if (newer === null) throw invalid('it is signed with a key that its issuer does not publish')
      set = newer
      claims = await this.#claims(unseen, set)
      if (claims === null) throw invalid('it is signed with a key that its issuer does not publish')
    }
    try {
      return {
        issuer: unseen.issuer,
        set,
        fromMs: (claims.nbf ?? 0) * 1000 - config.clockSkewMs,
        untilMs: claims.exp! * 1000 + config.clockSkewMs,
        principal: principalOf(claims, config),
      }
    } catch (error) {
      if (error instanceof ClaimFault) throw invalid(error.message)
      throw error
    }
  }

  /** Null when none of the keys is the token's. */
  async #claims({ token, issuer, nowMs }: Unseen, set: KeySet): Promise<JWTPayload | null> {
    const options = {
      algorithms: [...issuer.config.algorithms],
      issuer: issuer.config.issuer,
      audience: [...issuer.config.audience],
      clockTolerance: issuer.config.clockSkewMs / 1000,
      currentDate: new Date(nowMs),
      requiredClaims: ['exp'],
    }
    const leave = await this.#turns.enter()
    try {
      const { payload } = await jwtVerify(token, set.find, options)
      return payload
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return null
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw refused(error)
      return await anyOf(error, (key) => jwtVerify(token, key, options))
    } finally {
      leave()
    }
  }
}

/** A token without a key id, or one that several keys share: each is tried. */
async function anyOf(
  candidates: AsyncIterable<CryptoKey>,
  verify: (key: CryptoKey) => Promise<{ readonly payload: JWTPayload }>,
): Promise<JWTPayload> {
  let tried = 0
  for await (const key of candidates) {
    if (++tried > CANDIDATES_MAX) break
    try {
      return (await verify(key)).payload
    } catch (error) {
      // Only now does a signature hold. Any other error may be of this key alone, which may be a broken one.
      if (isOfClaims(error)) throw refused(error)
    }
  }
  throw invalid('its signature does not hold')
}

function isOfClaims(error: unknown): boolean {
  return error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed
}

function holdsNow({ issuer, set, fromMs, untilMs }: Verified, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs < untilMs && issuer.keys.current() === set
}

/** The same object from call to call, since what others remember of a principal hangs on it. */
function at(verified: Verified, ip: string): Principal {
  if (verified.principal.ip !== ip) verified.principal = { ...verified.principal, ip }
  return verified.principal
}

/** What was wrong, in our words: nothing of the token or of the library reaches the client. */
function refused(error: unknown): GovernorError {
  if (error instanceof errors.JWTExpired) return invalid('it has expired')
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid('its algorithm is not accepted')
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return invalid('its signature does not hold')
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error
    if (reason === 'missing') return invalid(`it has no claim "${claim}"`)
    if (claim === 'nbf') return invalid('it is not valid yet')
    if (claim === 'aud') return invalid('it was made for another audience')
    return invalid(`its claim "${claim}" is not accepted`)
  }
  return invalid('it cannot be read')
}

/** RFC 6750 §3.1. */
function invalid(detail: string): GovernorError {
  return new GovernorError('AUTH_TOKEN_INVALID', {
    detail,
    headers: {
      'x-should-retry': 'false',
      'www-authenticate': 'Bearer error="invalid_token"',
    },
  })
}
