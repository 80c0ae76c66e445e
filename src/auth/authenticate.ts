import type { Socket } from 'node:net'

import type { CertificateConfig, PodConfig } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import type { Principal } from '../exchange.ts'
import { certificatePrincipal } from './certificate.ts'
import type { Tokens } from './jwt.ts'
import type { EndedKey, KeyRing } from './key-ring.ts'
import { isGovernorShaped, type KeyRecord, parseKey } from './key.ts'

/** Header values of a request, lower-case names, as Node gives them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What a call shows of who makes it. */
export interface Caller {
  readonly headers: Headers
  /** Where the call came in; its certificate counts where `Ways` says so. */
  readonly socket: Socket
  /** Socket address as the limits see it. */
  readonly ip: string
}

/** What is accepted beside Governor keys; null where the configuration says nothing of it. */
export interface Ways {
  readonly tokens: Tokens | null
  readonly certificate: CertificateConfig | null
  readonly pod: PodConfig | null
}

const MAKE_A_KEY = 'Make one with: governor keys create --tenant NAME --name NAME'
const NO_ISSUER = 'The token is of no issuer that is accepted here (claim "iss")'
const NO_RETRY = { 'x-should-retry': 'false', 'www-authenticate': 'Bearer' }
/** No header is longer. */
const CREDENTIAL_CHARACTERS_MAX = 16_384
/** Where the clients of the providers put their key, beside `authorization`. */
const KEY_HEADERS = ['api-key', 'x-api-key', 'x-goog-api-key']

/**
 * Turns a credential into a principal. A valid Governor key always wins; a Governor-shaped key that
 * is wrong is refused even where a pod would be let in, and so is a wrong token of a known issuer; any
 * other credential is dropped unread. Throws AUTH_KEY_MISSING, AUTH_KEY_INVALID, AUTH_TOKEN_INVALID,
 * AUTH_CERTIFICATE_INVALID (401), HEADER_INVALID (400), AUTH_BUSY and AUTH_SLOWED (429), AUTH_UNAVAILABLE and AUTH_ISSUER_UNAVAILABLE (503): a
 * store or an issuer that fails never makes a valid caller a 401.
 */
export function authenticate(
  caller: Caller,
  ring: KeyRing,
  ways: Ways,
  nowMs: number,
): Principal | Promise<Principal> {
  const { headers, ip } = caller
  const known = knownBearer(headers, ring, nowMs)
  if (known !== null) return keyPrincipal(known, ip)
  const offered = credentials(headers)
  const ours = offered.filter(isGovernorShaped)
  if (ours.length > 1 && new Set(ours).size > 1) {
    throw new GovernorError('HEADER_INVALID', {
      detail: 'two different Governor keys in one request',
      hint: 'Send one of authorization, api-key, x-api-key, x-goog-api-key',
    })
  }
  if (ours.length === 0) {
    const bearer =
      ways.tokens === null ? null : bearerOf(offered, ip, { tokens: ways.tokens, nowMs })
    if (bearer !== null) return bearer
    const { certificate } = ways
    const owner = certificate === null ? null : certificatePrincipal(caller, certificate, nowMs)
    if (owner !== null) return owner
    if (ways.pod !== null) return podPrincipal(ways.pod, ip)
    throw missing(offered, ways)
  }
  const parsed = parseKey(ours[0]!)
  const record = parsed === null ? null : ring.verify(parsed.keyId, parsed.secret, nowMs, ip)
  // Without an await where nothing is waited for: nearly every call is of a key seen before.
  if (record instanceof Promise) return record.then((found) => keyPrincipal(found, ip))
  return keyPrincipal(record, ip)
}

const BEARER_CHARACTERS = 'bearer '.length
const KEY_ID_CHARACTERS = 36

/**
 * The record of a key that came as the only credential and was right before, as in nearly every call;
 * null for everything else, which is then read with care. What the ring knows needs no look at its shape.
 */
function knownBearer(headers: Headers, ring: KeyRing, nowMs: number): KeyRecord | null {
  const { authorization } = headers
  if (typeof authorization !== 'string') return null
  for (const name of KEY_HEADERS) if (headers[name] !== undefined) return null
  if (authorization.slice(0, BEARER_CHARACTERS).toLowerCase() !== 'bearer ') return null
  const end = BEARER_CHARACTERS + KEY_ID_CHARACTERS
  if (authorization[end] !== '.') return null
  const keyId = authorization.slice(BEARER_CHARACTERS, end)
  return ring.known(keyId, authorization.slice(end + 1), nowMs)
}

/**
 * The principal of a record as last seen: calls of one key mostly come from one address, and what
 * others remember of a principal (verdicts, entry fragments) hangs on the object.
 */
const principals = new WeakMap<KeyRecord | PodConfig, Principal>()

function keyPrincipal(record: KeyRecord | null, ip: string): Principal {
  if (record === null) {
    throw new GovernorError('AUTH_KEY_INVALID', {
      hint: `It is unknown, expired, revoked or mistyped. ${MAKE_A_KEY}`,
      headers: NO_RETRY,
    })
  }
  const known = principals.get(record)
  if (known !== undefined && known.ip === ip) return known
  const { keyId, tenant, name: keyName, user, roles, labels, upstreams } = record
  const base: Principal = { via: 'key', tenant, keyId, keyName, user, roles, labels, ip }
  const principal = upstreams.length === 0 ? base : { ...base, upstreams }
  principals.set(record, principal)
  return principal
}

/** The id of the Governor key behind a principal; '' where it is none, so that it cannot end. */
export function governorKeyId({ via, keyId }: Principal): string {
  return via === 'key' ? keyId : ''
}

/** The error that ends calls under way of a key that has ended itself. */
export function endedKey(how: EndedKey): GovernorError {
  return new GovernorError('AUTH_KEY_INVALID', {
    detail: how === 'expired' ? 'it has expired' : 'it was revoked',
    headers: NO_RETRY,
  })
}

function podPrincipal(pod: PodConfig, ip: string): Principal {
  const known = principals.get(pod)
  if (known !== undefined && known.ip === ip) return known
  const { tenant, user, roles, labels } = pod
  const principal: Principal = {
    via: 'pod',
    tenant,
    keyId: '',
    keyName: '',
    user,
    roles,
    labels,
    ip,
  }
  principals.set(pod, principal)
  return principal
}

/** Who bears the first token of an issuer known here; null where none is offered. */
function bearerOf(
  offered: readonly string[],
  ip: string,
  { tokens, nowMs }: { readonly tokens: Tokens; readonly nowMs: number },
): Principal | Promise<Principal> | null {
  for (const credential of offered) {
    const bearer = tokens.principal(credential, ip, nowMs)
    if (bearer !== null) return bearer
  }
  return null
}

/** Everything offered as a credential, in a fixed order; an empty or oversized one is nothing. */
function credentials(headers: Headers): string[] {
  const offered: string[] = []
  const authorization = headers['authorization']
  if (typeof authorization === 'string') {
    const bearer = /^bearer ([^\s,]+)$/i.exec(authorization.slice(0, CREDENTIAL_CHARACTERS_MAX))
    if (bearer !== null) offered.push(bearer[1]!)
  }
  for (const name of KEY_HEADERS) {
    const value = headers[name]
    if (typeof value === 'string' && value !== '') {
      offered.push(value.slice(0, CREDENTIAL_CHARACTERS_MAX))
    }
  }
  return offered
}

function missing(offered: readonly string[], { tokens }: Ways): GovernorError {
  if (offered.some((credential) => credential.startsWith('sk-'))) {
    return new GovernorError('AUTH_KEY_INVALID', {
      detail: 'This is a provider key; make a Governor key with: governor keys create',
      headers: NO_RETRY,
    })
  }
  if (tokens !== null && offered.some((each) => each.startsWith('eyJ'))) {
    return new GovernorError('AUTH_KEY_INVALID', { detail: NO_ISSUER, headers: NO_RETRY })
  }
  const code = offered.length === 0 ? 'AUTH_KEY_MISSING' : 'AUTH_KEY_INVALID'
  return new GovernorError(code, {
    hint: `Send it as "authorization: Bearer <key_id>.<secret>". ${MAKE_A_KEY}`,
    headers: NO_RETRY,
  })
}
