import { constants } from 'node:crypto'
import type { Server } from 'node:http'
import { Server as TlsServer, type TlsOptions } from 'node:tls'

import type { TlsConfig } from '../config/snapshot.ts'

/**
 * What a listener with TLS is made of: 1.2 and later (RFC 9325 §3.1.1). Sessions are not resumed, so
 * that every connection is judged by the certificates trusted now.
 */
export function tlsOptions({ cert, key, clientCa, clientAuth }: TlsConfig): TlsOptions {
  return {
    cert: cert.pem,
    key: key.pem,
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET,
    ...(clientCa !== null && {
      ca: clientCa.pem,
      requestCert: true,
      rejectUnauthorized: clientAuth === 'required',
    }),
  }
}

/**
 * Takes rotated files for connections to come; those that are open go on with what they began with.
 * Where clients are judged by other certificates than before, connections without a call are closed.
 */
export function renewTls(server: Server, former: TlsConfig | null, next: TlsConfig | null): void {
  if (!(server instanceof TlsServer) || former === null || next === null) return
  const isSame = (['cert', 'key', 'clientCa'] as const).every(
    (part) => former[part]?.pem === next[part]?.pem,
  )
  if (isSame) return
  server.setSecureContext(tlsOptions(next))
  if (former.clientCa?.pem !== next.clientCa?.pem) server.closeIdleConnections()
}
