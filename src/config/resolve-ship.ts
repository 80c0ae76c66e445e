import type { Report } from './report.ts'
import { resolveSecret } from './resolve-secret.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { ShipConfig } from './snapshot.ts'

type AuditValue = FileValue['audit']

/** Where entries are shipped to; null where the file names no place, or a variable for it is empty. */
export function resolveShip(
  { ship, ack, required }: AuditValue,
  report: Report,
  options: ResolveOptions,
): ShipConfig | null {
  const config = ship === null ? null : sinkOf(ship, report, options)
  const postgresUnset = !report.clean(['audit', 'ship'])
  report.check(
    ['audit', 'ack'],
    ack === 'disk' || config?.kind === 'postgres' || postgresUnset,
    '"postgres" needs audit.ship.postgres: name the database there, or use "disk"',
  )
  report.check(
    ['audit', 'required'],
    required || ack === 'disk',
    'With `ack: postgres` a call waits for its record, so it cannot go on without: use `ack: disk`, or leave this out',
  )
  return config
}

function sinkOf(
  ship: NonNullable<AuditValue['ship']>,
  report: Report,
  options: ResolveOptions,
): ShipConfig | null {
  const at = ['audit', 'ship']
  const raw = (key: string) => report.source.raw([...at, key])
  const url = resolveSecret(
    { value: ship.postgres, file: ship.postgres_file },
    { key: 'postgres', at, report, options, literal: false },
  )
  const named = ship.http !== null || raw('postgres') !== null || ship.postgres_file !== null
  report.check(at, named, 'Ships nowhere: give it `postgres` or `http`')
  if (ship.http !== null) {
    const alone = raw('postgres') === null && ship.postgres_file === null
    report.check([...at, 'http'], alone, 'Not together with `postgres`: entries go to one place')
    return httpOf(ship.http, report, options)
  }
  if (url === null) return null
  const key = ship.postgres_file === null ? 'postgres' : 'postgres_file'
  report.check(
    [...at, key],
    isPostgresUrl(url),
    'Expected a URL like postgres://user@host/database',
  )
  return { kind: 'postgres', url }
}

function httpOf(
  { url, credential, credential_file: file }: NonNullable<NonNullable<AuditValue['ship']>['http']>,
  report: Report,
  options: ResolveOptions,
): ShipConfig {
  const at = ['audit', 'ship', 'http']
  const web = url.includes('${') || (/^https?:\/\/[^/]/i.test(url) && URL.canParse(url))
  report.check([...at, 'url'], web, 'Expected an http(s) URL like https://collector.example/audit')
  const bare = !URL.canParse(url) || new URL(url).username + new URL(url).password === ''
  report.check([...at, 'url'], bare, 'A URL cannot hold a user or password: use `credential`')
  const secret = { key: 'credential', at, report, options, literal: false }
  return { kind: 'http', url, credential: resolveSecret({ value: credential, file }, secret) }
}

function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//i.test(text) && URL.canParse(text)
}

/** Secret files named there. */
export function shipFiles({ ship }: AuditValue): (string | null)[] {
  return [ship?.postgres_file ?? null, ship?.http?.credential_file ?? null]
}
