import { hash } from 'node:crypto'
import type { Socket } from 'node:net'
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls'

import type { CertificateConfig, CertificateSource } from '../config/snapshot.ts'
import { GovernorError } from '../errors.ts'
import type { Principal } from '../exchange.ts'

/** Of one connection: whose certificate it is, for as long as that holds. */
interface Known {
  readonly config: CertificateConfig
  readonly untilMs: number
  readonly principal: Principal
}

const NAME_CHARS_MAX = 256
/** `URI:…`, `DNS:…`; Node quotes as JSON what could be taken for another entry. */
const ALTERNATIVE = /(?:^|, )([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^,]*)/y

/** A connection's certificate does not change, nor does its address. */
const connections = new WeakMap<Socket, Known>()

/**
 * The caller that the certificate of a connection names; null where the client showed none. The chain was
 * verified in the handshake; whether it has expired since is asked again for each call. Throws
 * AUTH_CERTIFICATE_INVALID (401).
 */
export function certificatePrincipal(
  { socket, ip }: { readonly socket: Socket; readonly ip: string },
  config: CertificateConfig,
  nowMs: number,
): Principal | null {
  const known = connections.get(socket)
  if (known !== undefined && known.config === config && nowMs < known.untilMs) {
    return known.principal
  }
  if (!(socket instanceof TLSSocket)) return null
  const shown = socket.getPeerCertificate(true)
  // Without one Node returns an empty object.
  if (Object.keys(shown).length === 0) return null
  if (!socket.authorized) throw invalid('it is not signed by an authority that is trusted here')
  const untilMs = Date.parse(shown.valid_to)
  if (!(nowMs < untilMs)) throw invalid('it has expired')
  const principal = principalOf(shown, config, ip)
  connections.set(socket, { config, untilMs, principal })
  return principal
}

function principalOf(
  shown: DetailedPeerCertificate,
  config: CertificateConfig,
  ip: string,
): Principal {
  const { tenant, userFrom, roles, labels } = config
  const named = 'fixed' in tenant ? tenant.fixed : nameOf(shown, tenant.from)
  const user = nameOf(shown, userFrom)
  // Not by its fingerprint: a certificate that is renewed is the same caller.
  const keyId = `cert:${hash('sha256', JSON.stringify([named, user])).slice(0, 32)}`
  return {
    via: 'certificate',
    tenant: named,
    keyId,
    keyName: 'certificate',
    user,
    roles,
    labels,
    ip,
  }
}

/** The one name of a kind; none or several say nobody. */
function nameOf(shown: DetailedPeerCertificate, source: CertificateSource): string {
  const found = source.startsWith('subject.')
    ? subjectNames(shown, source.slice('subject.'.length))
    : alternativeNames(shown.subjectaltname ?? '', ALTERNATIVES[source] ?? '')
  const [name] = found
  if (name === undefined) throw invalid(`it has no ${source}`)
  if (found.length > 1) throw invalid(`it has more than one ${source}`)
  if (name.length <= NAME_CHARS_MAX && /\S/u.test(name) && !/[\p{Cc}\p{Cs}]/u.test(name))
    return name
  throw invalid(`its ${source} is no name`)
}

const ALTERNATIVES: Readonly<Partial<Record<CertificateSource, string>>> = {
  'san.uri': 'URI',
  'san.dns': 'DNS',
  'san.email': 'email',
}

function subjectNames({ subject }: DetailedPeerCertificate, attribute: string): string[] {
  const value: unknown = Object.hasOwn(subject, attribute)
    ? (subject as unknown as Readonly<Record<string, unknown>>)[attribute]
    : undefined
  const values: unknown[] = Array.isArray(value) ? value : [value]
  return values.filter((each) => typeof each === 'string')
}

/** Names of one kind in the text Node makes of a subject's alternative names (RFC 5280 §4.2.1.6). */
export function alternativeNames(text: string, kind: string): string[] {
  const names: string[] = []
  ALTERNATIVE.lastIndex = 0
  for (;;) {
    const match = ALTERNATIVE.exec(text)
    if (match === null) return names
    const [, prefix, value = ''] = match
    if (prefix === kind) names.push(value.startsWith('"') ? String(JSON.parse(value)) : value)
  }
}

function invalid(detail: string): GovernorError {
  return new GovernorError('AUTH_CERTIFICATE_INVALID', {
    detail,
    headers: { 'x-should-retry': 'false' },
  })
}
