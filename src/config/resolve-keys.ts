import { dirname, resolve } from 'node:path'

import type { Path } from './problem.ts'
import type { Report } from './report.ts'
import { resolveSecret } from './resolve-secret.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { KeysConfig, PostgresKeysConfig } from './snapshot.ts'

type KeysValue = FileValue['auth']['keys']

const AT: Path = ['auth', 'keys']
const PATHS = { sqlite: 'data/keys.db', postgres: 'data/keys-copy.db', file: 'keys.yaml' }
const MAX_STALE_MS = 86_400_000
/** Only with PostgreSQL; in any other store they would be ignored. */
const OF_POSTGRES = ['url', 'url_file', 'direct_url', 'direct_url_file', 'max_stale'] as const

/** The store of keys; what its keys say together is checked. */
export function resolveKeys(
  { auth: { keys } }: FileValue,
  report: Report,
  options: ResolveOptions,
): KeysConfig {
  const { store, bcrypt_cost: bcryptCost } = keys
  const path = resolve(dirname(options.file), keys.path ?? PATHS[store])
  const base = { store, path, bcryptCost }
  if (store === 'postgres') return { ...base, postgres: postgresOf(keys, report, options) }
  for (const key of OF_POSTGRES) {
    const message = `Only with \`store: postgres\`, and this is "${store}": remove it`
    report.check([...AT, key], !isWritten(keys, key, report), message)
  }
  return base
}

/** A variable that is empty, or not set yet, was written all the same. */
function isWritten(keys: KeysValue, key: keyof KeysValue, report: Report): boolean {
  return keys[key] !== null || report.source.raw([...AT, key]) !== null
}

function postgresOf(keys: KeysValue, report: Report, options: ResolveOptions): PostgresKeysConfig {
  const url = urlOf('url', { value: keys.url, file: keys.url_file }, { report, options })
  const direct = { value: keys.direct_url, file: keys.direct_url_file }
  const directUrl = urlOf('direct_url', direct, { report, options })
  const isUnset = ['url', 'url_file'].some((key) => !report.clean([...AT, key]))
  const message = 'Keys in PostgreSQL need the database: add `url`, as ${NAME}, or `url_file`'
  report.check([...AT, 'store'], url !== null || isUnset, message)
  return { url: url ?? '', directUrl, maxStaleMs: keys.max_stale ?? MAX_STALE_MS }
}

function urlOf(
  key: 'url' | 'direct_url',
  given: { readonly value: string | null; readonly file: string | null },
  { report, options }: { readonly report: Report; readonly options: ResolveOptions },
): string | null {
  const url = resolveSecret(given, { key, at: AT, report, options, literal: false })
  if (url === null) return null
  const isUrl = /^postgres(ql)?:\/\//i.test(url) && URL.canParse(url)
  const at = [...AT, given.file === null ? key : `${key}_file`]
  report.check(at, isUrl, 'Expected a URL like postgres://user@host/database')
  return url
}

/** Secret files named there. */
export function keysFiles({ keys }: FileValue['auth']): (string | null)[] {
  return [keys.url_file, keys.direct_url_file]
}
