import { dirname, resolve } from 'node:path'

import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { readPem } from './resolve-auth.ts'
import { resolveSecret } from './resolve-secret.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { UpstreamConfig } from './snapshot.ts'

type Written = FileValue['upstreams'][number]

interface Context {
  readonly report: Report
  readonly at: Path
  readonly options: ResolveOptions
}

/** The proxy an upstream is behind, none where it says none; what is wrong with it is reported. */
export function resolveProxy(
  { proxy, url }: Pick<Written, 'proxy' | 'url'>,
  { report, at, options }: Context,
): Pick<UpstreamConfig, 'proxy'> {
  if (proxy === null) return {}
  const here = [...at, 'proxy']
  report.check(here, !url.startsWith('echo:'), 'Not with echo:, which is here: remove it')
  const context = { at: here, report, options }
  const credential = resolveSecret(
    { value: proxy.credential, file: proxy.credential_file },
    { ...context, key: 'credential', literal: false },
  )
  const key = proxy.credential_file === null ? 'credential' : 'credential_file'
  const isPair = credential === null || /^[^:\p{Cc}]+:\P{Cc}*$/u.test(credential)
  report.check([...here, key], isPair, 'Expected user:password')
  return {
    proxy: {
      url: resolveUrl(proxy.url, report, [...here, 'url']),
      credential,
      ...resolveCa(proxy, context),
    },
  }
}

/** Never shows the URL: people put passwords in them. */
function resolveUrl(written: string, report: Report, at: Path): string {
  if (/\$\{/.test(written)) return written
  const url = URL.canParse(written) ? new URL(written) : null
  const isWeb = url !== null && /^https?:\/\/[^/]/i.test(written)
  report.check(at, isWeb, 'Expected an http(s) URL like http://proxy.corp:3128')
  if (url === null || !isWeb) return written
  const isAnonymous = url.username === '' && url.password === ''
  report.check(at, isAnonymous, 'A URL cannot hold a user or password: use `credential`')
  const isBare = url.pathname === '/' && !/[?#]/.test(written)
  report.check(at, isBare, 'Only scheme, host and port: remove the rest')
  return url.origin
}

function resolveCa(
  { ca_file: file, url }: NonNullable<Written['proxy']>,
  context: Context,
): Pick<NonNullable<UpstreamConfig['proxy']>, 'ca'> {
  if (file === null) return {}
  const { report, at, options } = context
  const message = 'Only with an `https:` proxy: nothing else has a certificate'
  report.check([...at, 'ca_file'], /^https:/i.test(url) || url.includes('${'), message)
  const pem = readPem(file, context, 'ca_file')
  return pem === null ? {} : { ca: { file: resolve(dirname(options.file), file), pem } }
}

/** Files whose change is one of the configuration. */
export function proxyFiles({ proxy }: Written): (string | null)[] {
  return [proxy?.credential_file ?? null, proxy?.ca_file ?? null]
}
