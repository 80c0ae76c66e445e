import type { CertificateConfig, IssuerConfig, KeysConfig, TlsConfig } from './snapshot.ts'
import { formatDuration } from './units.ts'

/** What stands for a secret. */
export const MASK = '***'

/** TLS of the proxy listener as in `listen.tls`. */
export function tls({ cert, key, clientCa, clientAuth }: TlsConfig) {
  return {
    cert_file: cert.file,
    key_file: key.file,
    ...(clientCa !== null && { client_ca_file: clientCa.file, client_auth: clientAuth }),
  }
}

/** As in `auth.keys`, its URLs masked. */
export function keyStore({ store, path, bcryptCost, postgres }: KeysConfig) {
  return {
    store,
    path,
    ...(postgres !== undefined && {
      url: MASK,
      ...(postgres.directUrl !== null && { direct_url: MASK }),
      max_stale: formatDuration(postgres.maxStaleMs),
    }),
    bcrypt_cost: bcryptCost,
  }
}

/** As in `auth.certificate`. */
export function certificate({ tenant, userFrom, roles, labels }: CertificateConfig) {
  return {
    ...('fixed' in tenant ? { tenant: tenant.fixed } : { tenant_from: tenant.from }),
    user_from: userFrom,
    roles,
    labels,
  }
}

/** An issuer of tokens as in `auth.jwt`. */
export function issuer({ name, issuer: iss, audience, algorithms, ...rest }: IssuerConfig) {
  const { keys, claims, clockSkewMs } = rest
  const { tenant, user, roles, labels } = claims
  return {
    name,
    issuer: iss,
    audience,
    algorithms,
    ...(keys.jwks !== null && { jwks: keys.jwks }),
    ...(keys.discovery !== null && { discovery: keys.discovery }),
    ...(keys.ca !== null && { ca_file: keys.ca.file }),
    ...(keys.credentialFile !== null && { credential_file: keys.credentialFile }),
    clock_skew: formatDuration(clockSkewMs),
    timeout: formatDuration(keys.timeoutMs),
    refresh: formatDuration(keys.refreshMs),
    refetch: formatDuration(keys.refetchMs),
    max_stale: formatDuration(keys.maxStaleMs),
    ...('fixed' in tenant && { tenant: tenant.fixed }),
    roles: roles.fixed,
    labels: labels.fixed,
    claims: {
      ...('claim' in tenant && { tenant: tenant.claim }),
      user,
      ...(roles.claim !== null && { roles: roles.claim }),
      labels: labels.claims,
    },
  }
}
