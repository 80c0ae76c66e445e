import type { RedisPlace } from './snapshot.ts'
import { formatAddress } from './units.ts'

/** `limit_store` as a file would have it, `mask` where a password was. */
export function store(place: string | RedisPlace, mask: string): unknown {
  if (typeof place === 'string') return maskedUrl(place, mask)
  const { kind, database, tls, sentinel } = place
  const nodes = place.nodes.map(formatAddress)
  return {
    ...(kind === 'server' && { server: nodes[0] }),
    ...(kind === 'cluster' && { cluster: nodes }),
    ...(sentinel !== null && {
      sentinel: { name: sentinel.name, nodes, ...login(sentinel, mask) },
    }),
    ...login(place, mask),
    ...(database !== 0 && { database }),
    ...(tls !== null && { tls: true }),
    ...(tls?.ca != null && { ca_file: tls.ca.file }),
  }
}

function login({ user, password }: Pick<RedisPlace, 'user' | 'password'>, mask: string) {
  return { ...(user !== null && { user }), ...(password !== null && { password: mask }) }
}

function maskedUrl(written: string, mask: string): string {
  const url = URL.canParse(written) ? new URL(written) : null
  return url === null || url.password === '' ? written : written.replace(/:[^:@/]*@/, `:${mask}@`)
}
