import { createPrivateKey, X509Certificate } from 'node:crypto'
import { dirname, resolve } from 'node:path'

import type { Report } from './report.ts'
import { readPem } from './resolve-auth.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { CertificateConfig, TlsConfig } from './snapshot.ts'

const AT = ['listen', 'tls']

/** TLS of the proxy listener, its files read; null without. */
export function resolveTls(
  { listen: { tls } }: FileValue,
  report: Report,
  options: ResolveOptions,
): TlsConfig | null {
  if (tls === null) return null
  const context = { report, at: AT, options }
  const { cert_file: cert, key_file: key, client_ca_file: ca, client_auth: clientAuth } = tls
  const message = 'It needs `client_ca_file`, whose certificates say which clients are trusted'
  report.check([...AT, 'client_auth'], ca !== null || clientAuth === null, message)
  const path = (file: string) => resolve(dirname(options.file), file)
  const certPem = readPem(cert, context, 'cert_file')
  const keyPem = readKey(path(key), certPem, report, options)
  const caPem = ca === null ? null : readPem(ca, context, 'client_ca_file')
  return {
    cert: { file: path(cert), pem: certPem ?? '' },
    key: { file: path(key), pem: keyPem ?? '' },
    clientCa: ca === null ? null : { file: path(ca), pem: caPem ?? '' },
    clientAuth: clientAuth ?? 'required',
  }
}

function readKey(
  path: string,
  certPem: string | null,
  report: Report,
  options: ResolveOptions,
): string | null {
  const here = [...AT, 'key_file']
  if (!report.clean(here) || path.includes('${')) return null
  const read = options.readText(path)
  if ('wrong' in read) {
    report.check(here, false, read.wrong)
    return null
  }
  const fits = keyFits(read.text, certPem)
  report.check(here, fits !== null, 'The file holds no private key in PEM without a passphrase')
  report.check(here, fits !== false, 'The key is not the one of the certificate in `cert_file`')
  return read.text
}

/** Null where there is no key. */
function keyFits(pem: string, certPem: string | null): boolean | null {
  try {
    const key = createPrivateKey(pem)
    return certPem === null || new X509Certificate(certPem).checkPrivateKey(key)
  } catch {
    return null
  }
}

/** Whom a client's certificate names; null where it names nobody. */
export function resolveCertificate(
  { auth: { certificate }, listen: { tls } }: FileValue,
  report: Report,
): CertificateConfig | null {
  if (certificate === null) return null
  const at = ['auth', 'certificate']
  const asked = (tls?.client_ca_file ?? null) !== null || !report.clean(['listen'])
  report.check(at, asked, 'No client is asked for a certificate: add listen.tls.client_ca_file')
  const { tenant, tenant_from: from, user_from: userFrom, roles, labels } = certificate
  const named = tenant !== null || from !== null || !report.clean(at)
  report.check(at, named, 'Its callers have no tenant: add `tenant` or `tenant_from`')
  const both = tenant !== null && from !== null
  report.check([...at, 'tenant'], !both, 'Not together with `tenant_from`: remove one')
  return {
    tenant: from === null ? { fixed: tenant ?? '' } : { from },
    userFrom,
    roles,
    labels,
  }
}

/** Files whose change is one of the configuration. */
export function tlsFiles({ listen: { tls } }: FileValue): (string | null)[] {
  return tls === null ? [] : [tls.cert_file, tls.key_file, tls.client_ca_file]
}
