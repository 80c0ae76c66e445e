import { GovernorError } from '../errors.ts'

/** Kinds of upstream failure, a closed set for `upstream_errors_total{fault}`. */
export type Fault = 'connect' | 'timeout' | 'reset' | 'tls' | 'dns' | 'protocol' | 'redirect'

/** What went wrong upstream, as the client hears it; the cause stays in the log. */
export function upstreamError(cause: Error): {
  readonly error: GovernorError
  readonly fault: Fault
} {
  const fault = faultOf(cause)
  const code =
    fault === 'timeout'
      ? 'UPSTREAM_TIMEOUT'
      : fault === 'connect' || fault === 'dns' || fault === 'tls'
        ? 'UPSTREAM_UNREACHABLE'
        : 'UPSTREAM_FAILED'
  return { error: new GovernorError(code, { cause }), fault }
}

/** Codes of errors that happen before any byte of a request is sent. */
const UNSENT: ReadonlySet<string> = new Set([
  'UPSTREAM_UNREACHABLE',
  'UPSTREAM_AWAY',
  'UPSTREAM_BUSY',
  'UPSTREAM_KEYS_MISSING',
])

/** Whether the upstream cannot have seen anything of the request. */
export function wasUnsent({ code, cause }: GovernorError): boolean {
  const { code: why = '', syscall = '' } = (cause ?? {}) as { code?: string; syscall?: string }
  if (code === 'UPSTREAM_TIMEOUT') return why === 'UND_ERR_CONNECT_TIMEOUT'
  // A connection in use can lose its route, too.
  return UNSENT.has(code) && syscall !== 'read' && syscall !== 'write'
}

const FAULT_BY_CODE: Readonly<Record<string, Fault>> = {
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'connect',
  EHOSTUNREACH: 'connect',
  PROXY_REFUSED: 'connect',
  ENETUNREACH: 'connect',
  // There is no descriptor or port left here to connect with, so nothing was sent.
  EMFILE: 'connect',
  ENFILE: 'connect',
  EADDRNOTAVAIL: 'connect',
  UND_ERR_SOCKET: 'reset',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
}

const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/

function faultOf(cause: Error): Fault {
  const code = 'code' in cause ? String(cause.code) : ''
  return FAULT_BY_CODE[code] ?? (TLS_CODE.test(code) ? 'tls' : 'protocol')
}
