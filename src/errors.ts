/**
 * Every way a request can end badly, in one table. A code is never renamed once released: it is in
 * the answer, the log, the metric and the audit entry. `source` says whose fault it is; only
 * `governor` should page someone. README#errors is tested against this table.
 */
export const ERRORS = {
  REQUEST_MALFORMED: spec(400, 'client', 'The request is not well-formed HTTP'),
  TARGET_INVALID: spec(400, 'client', 'The request target is not accepted'),
  HEADER_INVALID: spec(400, 'client', 'A request header is not accepted'),
  HEADERS_TOO_LARGE: spec(431, 'client', 'The request headers are too large'),
  HEADERS_TIMEOUT: spec(408, 'client', 'The request headers did not arrive in time'),
  EXPECTATION_UNKNOWN: spec(417, 'client', 'The Expect header is not supported'),
  ROUTE_UNKNOWN: spec(404, 'client', 'No upstream is mounted at this path'),
  METHOD_NOT_ALLOWED: spec(405, 'client', 'This path does not take this method'),
  OPERATION_UNKNOWN: spec(403, 'client', 'This operation is not known and therefore refused'),
  UPGRADE_REFUSED: spec(403, 'client', 'This connection cannot be upgraded here'),
  QUERY_UNKNOWN: spec(400, 'client', 'A query parameter is not accepted on this path'),
  AUTH_KEY_MISSING: spec(401, 'client', 'No Governor key in the request'),
  AUTH_KEY_INVALID: spec(401, 'client', 'The Governor key is not valid'),
  AUTH_TOKEN_INVALID: spec(401, 'client', 'The token is not valid'),
  AUTH_CERTIFICATE_INVALID: spec(401, 'client', 'The client certificate is not valid'),
  AUTH_BUSY: spec(429, 'client', 'Too many unverified attempts with this key at once'),
  AUTH_SLOWED: spec(429, 'client', 'Too many wrong secrets of this key from this address'),
  AUTH_UNAVAILABLE: spec(503, 'governor', 'The key store cannot be read'),
  AUTH_ISSUER_UNAVAILABLE: spec(503, 'governor', 'The keys of the token issuer cannot be fetched'),
  OVERLOADED: spec(503, 'governor', 'Too much is in flight'),
  DRAINING: spec(503, 'governor', 'Governor is shutting down'),
  LIMIT_EXCEEDED: spec(429, 'client', 'A limit is reached'),
  LIMIT_EXHAUSTED: spec(403, 'client', 'A limit is used up for longer than a minute'),
  LIMITS_UNAVAILABLE: spec(503, 'governor', 'The shared store of limits cannot be reached'),
  PRICE_UNKNOWN: spec(403, 'client', 'A limit on cost cannot be kept: the model has no price'),
  BODY_TOO_LARGE: spec(413, 'client', 'The request body is too large'),
  SPOOL_UNAVAILABLE: spec(503, 'governor', 'A large form cannot be kept until it is sent'),
  BODY_TIMEOUT: spec(408, 'client', 'The request body did not arrive in time'),
  BODY_INVALID: spec(400, 'client', 'The request body is not accepted'),
  CONTENT_TYPE_UNSUPPORTED: spec(415, 'client', 'The content type is not accepted on this path'),
  ENCODING_UNSUPPORTED: spec(415, 'client', 'The content encoding is not supported'),
  ENCODING_INVALID: spec(400, 'client', 'The body is not in its declared content encoding'),
  FIELD_INVALID: spec(400, 'client', 'A field of the request is not accepted'),
  MODEL_INVALID: spec(400, 'client', 'The model name is not accepted'),
  KEY_UPSTREAM_REFUSED: spec(403, 'client', 'This key is not for the upstream of this call'),
  UPSTREAM_UNKNOWN: spec(404, 'client', 'No upstream serves this model'),
  STORED_UNKNOWN: spec(404, 'client', 'Nothing is stored under this id'),
  OWNERSHIP_UNCHOSEN: spec(403, 'client', 'What tenants store here is not kept apart'),
  OWNERSHIP_UNAVAILABLE: spec(503, 'governor', 'Who owns what is stored cannot be told'),
  POLICY_DENIED: spec(403, 'client', 'Policy denied this request'),
  AUDIT_UNAVAILABLE: spec(503, 'governor', 'The audit log cannot be written'),
  AUDIT_UNREADABLE: spec(503, 'governor', 'The audit log cannot be read'),
  CLIENT_CLOSED: spec(499, 'client', 'The client went away'),
  UPSTREAM_UNREACHABLE: spec(502, 'upstream', 'The upstream cannot be reached'),
  UPSTREAM_FAILED: spec(502, 'upstream', 'The upstream broke off'),
  UPSTREAM_REDIRECT: spec(502, 'upstream', 'The upstream answered with a redirect'),
  UPSTREAM_TIMEOUT: spec(504, 'upstream', 'The upstream did not answer in time'),
  UPSTREAM_AWAY: spec(503, 'upstream', 'The upstream failed and is left alone for a while'),
  UPSTREAM_BUSY: spec(503, 'upstream', 'The upstream has as many calls as it may have'),
  UPSTREAM_KEYS_MISSING: spec(503, 'governor', 'There is no credential for the upstream'),
  HOST_UNKNOWN: spec(421, 'client', 'This listener does not answer to that host'),
  ADMIN_UNKNOWN: spec(404, 'client', 'The admin API has no such thing'),
  ADMIN_FORBIDDEN: spec(403, 'client', 'The key may not do this'),
  ADMIN_CONFLICT: spec(409, 'client', 'It is no longer as it would have to be'),
  CONFIG_INVALID: spec(422, 'client', 'The configuration has problems and was not taken'),
  INTERNAL: spec(500, 'governor', 'Internal error'),
} as const satisfies Record<string, ErrorSpec>

/** Whose fault an error is: only those of `governor` are worth waking somebody for. */
export type ErrorSource = 'client' | 'upstream' | 'governor'

interface ErrorSpec {
  readonly status: number
  readonly source: ErrorSource
  readonly message: string
}

function spec<const Status extends number>(status: Status, source: ErrorSource, message: string) {
  return { status, source, message }
}

/** A code of the table above, as answers, logs, metrics and the audit have it. */
export type ErrorCode = keyof typeof ERRORS

/** What one occasion adds to the text of its code. */
export interface GovernorErrorOptions {
  /** What exactly, shown to the client after the message. Never upstream, store or secret text. */
  readonly detail?: string
  /** What to do about it, shown to the client last. */
  readonly hint?: string
  /** JSON pointer or header name at fault; becomes `param` in OpenAI's error shape. */
  readonly param?: string
  /** The policy that decided, for `x-governor-policy`. */
  readonly policy?: string
  /** The limit that refused, for the metric. */
  readonly limit?: string
  /** Answer headers of this refusal, lower case: `allow`, `retry-after`, `x-ratelimit-*` … */
  readonly headers?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/** The only error class that crosses a stage boundary; anything else is a bug. */
export class GovernorError extends Error {
  override readonly name = 'GovernorError'
  readonly code: ErrorCode
  readonly status: number
  readonly source: ErrorSource
  readonly param: string | undefined
  readonly policy: string | undefined
  readonly limit: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined

  constructor(code: ErrorCode, options: GovernorErrorOptions = {}) {
    super(sentence(code, options), { cause: options.cause })
    this.code = code
    this.status = ERRORS[code].status
    this.source = ERRORS[code].source
    this.param = options.param
    this.policy = options.policy
    this.limit = options.limit
    this.headers = options.headers
  }

  /** Wraps anything thrown, so the pipeline has one shape to report. */
  static from(thrown: unknown): GovernorError {
    return thrown instanceof GovernorError
      ? thrown
      : new GovernorError('INTERNAL', { cause: thrown })
  }
}

function sentence(code: ErrorCode, { detail, hint }: GovernorErrorOptions): string {
  const what = detail === undefined ? ERRORS[code].message : `${ERRORS[code].message}: ${detail}`
  return hint === undefined ? what : `${what}. ${hint}`
}
