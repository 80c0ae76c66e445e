import { KEYS } from './schema-keys.ts'
import { choice, defaulted, duration, list, map, optional, record, required, text } from './spec.ts'

/** Signature algorithms that may be pinned: public keys only, so never `none` and never HS*. */
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const

const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/
const LABEL = /^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$/

const labels = record(text('a label value'), { key: LABEL, max: 64 })
const roles = list(text('a role'), { min: 0, max: 64 })
const claim = text('a claim')
const path = text('a path', undefined, 4096)
const url = text('an https URL', undefined, 2048)

const pod = map('auth.pod', {
  tenant: required(text('a tenant'), 'Its tenant.'),
  user: defaulted(text('a user'), 'pod', 'Its user.'),
  roles: defaulted(roles, '[]', 'Its roles.'),
  labels: defaulted(labels, '{}', 'Its labels.'),
})

const claims = map('auth.jwt.claims', {
  tenant: optional(claim, 'The tenant; a token without it is refused.'),
  user: defaulted(claim, 'sub', 'The user; a token without it is refused.'),
  roles: optional(claim, 'Roles: a list of texts, or one text with spaces between them.'),
  labels: defaulted(
    record(claim, { key: LABEL, max: 64 }),
    '{}',
    'Labels by name: `{ team: department }` makes the claim `department` the label `team`.',
  ),
})

const issuer = map('auth.jwt', {
  name: required(
    text('a name of a-z, 0-9, _ and -, at most 64 characters', NAME, 64),
    'Unique; the name of these callers’ key in `keys` of policies and in entries.',
  ),
  issuer: required(
    text('an issuer', undefined, 2048),
    'What the claim `iss` says, character by character.',
  ),
  audience: required(
    list(text('an audience'), { min: 1, max: 16 }),
    'What `aud` must hold one of; a token made for something else is refused.',
  ),
  algorithms: defaulted(
    list(choice(ALGORITHMS), { min: 1, max: ALGORITHMS.length }),
    '[RS256]',
    'Signature algorithms that are accepted, whatever a token or a key says.',
  ),
  jwks: optional(
    url,
    'Where its keys are. Absent: its discovery document says so. `http` only for a loopback address.',
  ),
  discovery: optional(
    url,
    'Where the discovery document is, when not at `<issuer>/.well-known/openid-configuration`.',
  ),
  ca_file: optional(path, 'Certificates (PEM) to trust for these fetches instead of the usual.'),
  credential_file: optional(
    path,
    'A file with a bearer token for these fetches, read again for each; sent only to the host written here.',
  ),
  clock_skew: defaulted(
    duration('0s', '10m'),
    '60s',
    'How far the clock that wrote `exp` and `nbf` may be off.',
  ),
  timeout: defaulted(duration('100ms', '1m'), '5s', 'For one fetch of its keys.'),
  refresh: defaulted(duration('10s', '1d'), '10m', 'How often its keys are fetched anew.'),
  refetch: defaulted(
    duration('1s', '1h'),
    '10s',
    'The least time between two fetches, for a key not seen before or after a failure.',
  ),
  max_stale: defaulted(
    duration('1m', '30d'),
    '24h',
    'How long known keys go on when no fetch succeeds; then 503.',
  ),
  tenant: optional(text('a tenant'), 'The tenant of all its callers, instead of `claims.tenant`.'),
  roles: defaulted(roles, '[]', 'Roles of all its callers, beside those of `claims.roles`.'),
  labels: defaulted(labels, '{}', 'Labels of all its callers, beside those of `claims.labels`.'),
  claims: defaulted(
    claims,
    '{}',
    'Which claim says what: the name of one, or a JSON pointer like `/kubernetes.io/namespace`.',
  ),
})

const SOURCES = [
  'subject.CN',
  'subject.O',
  'subject.OU',
  'san.uri',
  'san.dns',
  'san.email',
] as const

const certificate = map('auth.certificate', {
  tenant: optional(text('a tenant'), 'The tenant of all its callers.'),
  tenant_from: optional(
    choice(SOURCES),
    'The part of the certificate that names the tenant, instead; it must stand there exactly once.',
  ),
  user_from: defaulted(choice(SOURCES), 'subject.CN', 'The part that names the user.'),
  roles: defaulted(roles, '[]', 'Their roles.'),
  labels: defaulted(labels, '{}', 'Their labels.'),
})

/** The keys of `listen.tls`. */
export const TLS = map('listen.tls', {
  cert_file: required(path, 'The certificate and those between it and its authority, PEM.'),
  key_file: required(path, 'Its private key, PEM, without a passphrase.'),
  client_ca_file: optional(
    path,
    'Certificates of authorities (PEM): clients are asked for a certificate of one of them.',
  ),
  client_auth: optional(
    choice(['required', 'optional']),
    'With `client_ca_file`: whether a client without a certificate is let in to show a key instead. `required` when absent.',
  ),
})

/** The keys of `auth`: who may call. */
export const AUTH = map('auth', {
  keys: defaulted(KEYS, '{}', 'The store of Governor keys.'),
  pod: optional(
    pod,
    'Who a caller without a Governor key is; only when `listen.proxy` is a loopback address. Absent: such a caller gets 401.',
  ),
  certificate: optional(
    certificate,
    'Who a caller with a client certificate is: [certificates](#certificates-of-callers).',
  ),
  jwt: defaulted(
    list(issuer, { min: 0, max: 16 }),
    '[]',
    'Issuers whose tokens are accepted in place of a Governor key: [tokens](#tokens-of-an-issuer).',
  ),
})
