import { resolve, dirname } from 'node:path'

import type { Report } from './report.ts'
import { resolveSecret } from './resolve-secret.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { OwnershipConfig } from './snapshot-ownership.ts'
import type { IssuerConfig, ShipConfig, Snapshot } from './snapshot.ts'

type OwnershipValue = NonNullable<FileValue['ownership']>

/** Dialects whose tables reach things that the provider keeps. */
const KEEPING: ReadonlySet<string> = new Set(['openai', 'azure-openai', 'anthropic'])
const DAY_MS = 86_400_000
/** As the schema has them, for `ownership: embedded` on one line. */
const SHORT = {
  path: 'data/ownership.db',
  postgres: null,
  postgres_file: null,
  records_max: 1_000_000,
  expires: 400 * DAY_MS,
  unknown: 'uninspectable',
} as const

const CHOOSE =
  'Choose with `ownership`: "postgres" (shared by sidecars), "embedded" (one sidecar), or "off" where tenants may use each other’s'

/** What the rest of the file says that matters here. */
interface Rest {
  readonly ship: ShipConfig | null
  readonly auth: Pick<Snapshot['auth'], 'jwt' | 'certificate'>
}

/**
 * How ownership is kept. Reported: several tenants that share a provider's account where the file does not
 * choose, a store that several sidecars would not share, and a database that is named nowhere.
 */
export function resolveOwnership(
  value: FileValue,
  report: Report,
  { options, ...rest }: Rest & { readonly options: ResolveOptions },
): OwnershipConfig {
  const given = value.ownership
  if (given === null) {
    checkChosen(value, report, rest.auth)
    return { store: 'off', isChosen: false }
  }
  const config = typeof given === 'string' ? { store: given, ...SHORT } : given
  checkKeys(config, report)
  if (config.store === 'off') return { store: 'off', isChosen: true }
  const { records_max: recordsMax, expires: expiresMs, unknown } = config
  const bounds = { recordsMax, expiresMs, unknown }
  if (config.store === 'embedded') {
    return { store: 'embedded', path: embeddedPath(value, config, { report, options }), ...bounds }
  }
  return { store: 'postgres', url: urlOf(config, rest.ship, { report, options }), ...bounds }
}

interface Context {
  readonly report: Report
  readonly options: ResolveOptions
}

/** Keys that are about another store are a misunderstanding. */
function checkKeys({ store }: OwnershipValue & { store: string }, report: Report): void {
  const written = (key: string) => report.source.raw(['ownership', key]) !== null
  for (const key of ['path', 'postgres', 'postgres_file', 'records_max', 'expires', 'unknown']) {
    const isAbout = key.startsWith('postgres') ? 'postgres' : key === 'path' ? 'embedded' : null
    const isRight = store !== 'off' && (isAbout === null || isAbout === store)
    const message = `Not with "${store}": remove it`
    report.check(['ownership', key], isRight || !written(key), message)
  }
}

function embeddedPath(
  { sidecars, auth, audit }: FileValue,
  config: { readonly path: string },
  { report, options }: Context,
): string {
  const path = (relative: string) => resolve(dirname(options.file), relative)
  const own = path(config.path)
  const keysPath = auth.keys.path ?? 'data/keys.db'
  const others = [keysPath, audit.path].map(path)
  const at = report.source.raw(['ownership', 'path']) === null ? [] : ['path']
  const message = 'It is the file of the log or of the keys: give ownership its own'
  report.check(['ownership', ...at], !others.includes(own), message)
  report.check(
    ['ownership'],
    sidecars === 1,
    `"embedded" is one sidecar's own, and there are ${sidecars}: what one wrote down the others would not know. Use "postgres"`,
  )
  return own
}

function urlOf(
  config: { readonly postgres: string | null; readonly postgres_file: string | null },
  ship: ShipConfig | null,
  { report, options }: Context,
): string {
  const own = resolveSecret(
    { value: config.postgres, file: config.postgres_file },
    { key: 'postgres', at: ['ownership'], report, options, literal: false },
  )
  const url = own ?? (ship?.kind === 'postgres' ? ship.url : null)
  const isUnset = !report.clean(['audit', 'ship']) || !report.clean(['ownership'])
  report.check(
    ['ownership'],
    url !== null || isUnset,
    'Which database? Name it in ownership.postgres, as ${NAME}, or in audit.ship.postgres',
  )
  const isUrl = url === null || (/^postgres(ql)?:\/\//i.test(url) && URL.canParse(url))
  const message = 'Expected a URL like postgres://user@host/database'
  report.check(['ownership'], isUrl || isUnset, message)
  return url ?? ''
}

/** What the file says of tenants; keys are not in it, and are looked at while it runs. */
function checkChosen(
  { upstreams, auth }: FileValue,
  report: Report,
  { jwt, certificate }: Rest['auth'],
): void {
  const keeps = upstreams.some(({ dialect, url }) => {
    return KEEPING.has(dialect) && !url.startsWith('echo:')
  })
  if (!keeps) return
  const fixed = new Set<string>()
  const say = (path: (string | number)[], why: string): void =>
    report.check(
      path,
      false,
      `${why}, and what they store at a provider is kept under one credential. ${CHOOSE}`,
    )
  if (auth.pod !== null) fixed.add(auth.pod.tenant)
  const issuer = jwt.findIndex(({ claims }: IssuerConfig) => 'claim' in claims.tenant)
  jwt.forEach(({ claims }) => 'fixed' in claims.tenant && fixed.add(claims.tenant.fixed))
  if (certificate !== null && 'fixed' in certificate.tenant) fixed.add(certificate.tenant.fixed)
  if (issuer !== -1)
    say(['auth', 'jwt', issuer], 'Its tokens name their tenant, so there are several')
  else if (certificate !== null && 'from' in certificate.tenant) {
    say(['auth', 'certificate'], 'Certificates name their tenant, so there are several')
  } else if (fixed.size > 1) {
    say(['auth'], `There are several tenants (${[...fixed].slice(0, 3).join(', ')})`)
  }
}

/** Secret files named there. */
export function ownershipFiles({ ownership }: FileValue): (string | null)[] {
  return ownership === null || typeof ownership === 'string' ? [] : [ownership.postgres_file]
}
