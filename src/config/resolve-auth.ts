import { X509Certificate } from 'node:crypto'
import { dirname, resolve } from 'node:path'

import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { checkUnique } from './resolve-policies.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { ClaimsConfig, IssuerConfig, IssuerKeysConfig } from './snapshot.ts'
import { quote } from './source.ts'

type AuthValue = FileValue['auth']
type IssuerValue = AuthValue['jwt'][number]

interface Context {
  readonly report: Report
  readonly at: Path
  readonly options: ResolveOptions
}

/** The issuers of tokens; what their keys say together is checked, files are read. */
export function resolveIssuers(
  { jwt }: AuthValue,
  report: Report,
  options: ResolveOptions,
): IssuerConfig[] {
  const names = jwt.map(({ name }) => name)
  checkUnique(names, report, (index) => ['auth', 'jwt', index, 'name'])
  const issuers = jwt.map(({ issuer }) => issuer)
  return jwt.map((value, index) => {
    const at = ['auth', 'jwt', index]
    report.check(
      [...at, 'issuer'],
      issuers.indexOf(value.issuer) === index,
      `${quote(value.issuer)} has an entry already: name all audiences there`,
    )
    const { name, issuer, audience, algorithms } = value
    return {
      name,
      issuer,
      audience,
      algorithms,
      clockSkewMs: value.clock_skew,
      keys: keysOf(value, { report, at, options }),
      claims: claimsOf(value, report, at),
    }
  })
}

function keysOf(value: IssuerValue, context: Context): IssuerKeysConfig {
  const { report, at } = context
  const { issuer, jwks, discovery, credential_file: credentialFile } = value
  report.check(
    [...at, 'discovery'],
    jwks === null || discovery === null,
    'Not together with `jwks`: remove one',
  )
  for (const key of ['jwks', 'discovery'] as const) {
    if (value[key] !== null) checkUrl(value[key], report, [...at, key])
  }
  if (jwks === null && discovery === null) {
    const message = `${quote(issuer)} is no https URL that keys can be found at: add \`jwks\` or \`discovery\``
    report.check([...at, 'issuer'], issuer.includes('${') || isSafe(issuer), message)
  }
  report.check(
    [...at, 'max_stale'],
    value.max_stale >= value.refresh,
    'Shorter than `refresh`: known keys would end before they are fetched anew',
  )
  return {
    issuer,
    jwks,
    discovery: jwks === null ? (discovery ?? wellKnown(issuer)) : null,
    ca: caOf(value, context),
    credentialFile: credentialFile === null ? null : credentialOf(credentialFile, context),
    timeoutMs: value.timeout,
    refreshMs: value.refresh,
    refetchMs: value.refetch,
    maxStaleMs: value.max_stale,
  }
}

/** OpenID Connect Discovery 1.0 §4: any terminating `/` is removed first. */
function wellKnown(issuer: string): string {
  return `${issuer.replace(/\/+$/, '')}/.well-known/openid-configuration`
}

function checkUrl(written: string, report: Report, at: Path): void {
  if (written.includes('${')) return
  const message =
    'Expected an https URL (http only for a loopback address), without a user or password'
  report.check(at, isSafe(written), message)
}

/** Keys that anyone on the way could replace are no keys. */
function isSafe(written: string): boolean {
  if (!URL.canParse(written)) return false
  const { protocol, hostname, username, password, hash } = new URL(written)
  if (username + password + hash !== '') return false
  const isLocal = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname)
  return protocol === 'https:' || (protocol === 'http:' && isLocal)
}

function caOf({ ca_file: file }: IssuerValue, context: Context): IssuerKeysConfig['ca'] {
  if (file === null) return null
  const pem = readPem(file, context, 'ca_file')
  return pem === null ? null : { file: resolve(dirname(context.options.file), file), pem }
}

/** Certificates in PEM, or null where there are none, which is then reported. */
export function readPem(
  file: string,
  { report, at, options }: Context,
  key: string,
): string | null {
  const here = [...at, key]
  if (!report.clean(here) || file.includes('${')) return null
  const read = options.readText(resolve(dirname(options.file), file))
  if ('wrong' in read) report.check(here, false, read.wrong)
  else if (isCertificate(read.text)) return read.text
  else report.check(here, false, 'The file holds no certificate in PEM')
  return null
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined
  } catch {
    return false
  }
}

/** Only that it is there now: what it holds is read when it is sent. */
function credentialOf(file: string, { report, at, options }: Context): string | null {
  const here = [...at, 'credential_file']
  if (!report.clean(here) || file.includes('${')) return null
  const path = resolve(dirname(options.file), file)
  const read = options.readSecret(path)
  if ('wrong' in read) report.check(here, false, read.wrong)
  return path
}

function claimsOf(value: IssuerValue, report: Report, at: Path): ClaimsConfig {
  const { claims, tenant } = value
  const named = claims.tenant !== null || tenant !== null || !report.clean([...at, 'claims'])
  report.check(
    at,
    named,
    'Its callers have no tenant: add `tenant`, or the claim that names it in `claims.tenant`',
  )
  const both = claims.tenant !== null && tenant !== null
  report.check([...at, 'tenant'], !both, 'Not together with `claims.tenant`: remove one')
  for (const name of Object.keys(claims.labels)) {
    const once = !Object.hasOwn(value.labels, name)
    report.check([...at, 'claims', 'labels', name], once, 'This label is in `labels` already')
  }
  return {
    tenant: claims.tenant === null ? { fixed: tenant ?? '' } : { claim: claims.tenant },
    user: claims.user,
    roles: { fixed: value.roles, claim: claims.roles },
    labels: { fixed: value.labels, claims: claims.labels },
  }
}

/** Files whose change is one of the configuration; the token for fetches is read when it is sent. */
export function authFiles({ jwt }: AuthValue): (string | null)[] {
  return jwt.map(({ ca_file: file }) => file)
}
