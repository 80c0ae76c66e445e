import { dirname, resolve } from 'node:path'

import type { Report } from './report.ts'
import { readPem } from './resolve-auth.ts'
import type { FileValue, ResolveOptions } from './resolve.ts'
import type { RedisPlace } from './snapshot.ts'

type StoreValue = Exclude<FileValue['limit_store'], string>

const AT = ['limit_store']
const KINDS = ['server', 'sentinel', 'cluster'] as const

/** Where limits are counted. Never shows a URL: it may hold a password. */
export function resolveStore(
  { limit_store: written }: FileValue,
  report: Report,
  options: ResolveOptions,
): string | RedisPlace {
  return typeof written === 'string'
    ? checkUrl(written, report)
    : resolvePlace(written, report, options)
}

function checkUrl(written: string, report: Report): string {
  if (written === 'memory' || written.includes('${')) return written
  const url = URL.canParse(written) ? new URL(written) : null
  const isRedis = url !== null && /^rediss?:\/\/[^/]/i.test(written) && url.hostname !== ''
  report.check(AT, isRedis, 'Expected memory or a URL like redis://host:6379 or rediss://host:6380')
  if (url === null || !isRedis) return written
  const plain = /^(?:|\/|\/\d{1,3})$/.test(url.pathname) && !/[?#]/.test(written)
  report.check(AT, plain, 'Only the number of a database may follow the host, like redis://host/1')
  const isLiteral = !/(?<!\$)\$\{[A-Za-z_]/.test(report.source.raw(AT) ?? '')
  const message = 'A literal password is not accepted: write ${NAME} for it or for the whole URL'
  report.check(AT, url.password === '' || !isLiteral, message)
  return written
}

function resolvePlace(value: StoreValue, report: Report, options: ResolveOptions): RedisPlace {
  const { server, sentinel, cluster, user, database, tls } = value
  const given = KINDS.filter((kind) => value[kind] !== null)
  const [kind = 'server', ...others] = given
  report.check(AT, given.length > 0, 'Give it one of `server`, `sentinel` and `cluster`')
  for (const other of others) {
    report.check([...AT, other], false, `Not together with \`${kind}\`: remove one`)
  }
  const hasOne = kind !== 'cluster' || database === null
  report.check([...AT, 'database'], hasOne, 'A Cluster has only one: remove it')
  return {
    kind,
    nodes: cluster ?? sentinel?.nodes ?? [server ?? { host: '', port: 0 }],
    user,
    password: checkUser(value, AT, report),
    database: database ?? 0,
    tls: tls || value.ca_file !== null ? { ca: caOf(value, report, options) } : null,
    sentinel: sentinel && {
      name: sentinel.name,
      user: sentinel.user,
      password: checkUser(sentinel, [...AT, 'sentinel'], report),
    },
  }
}

function checkUser(
  { user, password: value }: Pick<StoreValue, 'user' | 'password'>,
  at: readonly string[],
  report: Report,
): string | null {
  const isAlone = user !== null && report.source.raw([...at, 'password']) === null
  report.check([...at, 'user'], !isAlone, 'A user needs a `password` beside it')
  if (value !== null) {
    const isVariable = /(?<!\$)\$\{[A-Za-z_]/.test(report.source.raw([...at, 'password']) ?? '')
    const message = 'A literal password is not accepted: write ${NAME}'
    report.check([...at, 'password'], isVariable, message)
  }
  return value
}

function caOf({ ca_file: file, tls }: StoreValue, report: Report, options: ResolveOptions) {
  if (file === null) return null
  report.check([...AT, 'ca_file'], tls, 'It is asked for with TLS only: add `tls: true`')
  const pem = readPem(file, { report, at: AT, options }, 'ca_file')
  return pem === null ? null : { file: resolve(dirname(options.file), file), pem }
}
