import type { ShipConfig } from '../config/snapshot.ts'

/** Names of places entries are shipped to; apart from the sinks, whose clients only the shipper loads. */

/** Names it in messages, without user, password or query. */
export function sinkName({ kind, url }: ShipConfig): string {
  if (kind === 'postgres') return shownUrl(url)
  const { origin, pathname } = new URL(url)
  return origin + pathname
}

/** Host and database, for messages; never user or password. */
export function shownUrl(url: string): string {
  if (!URL.canParse(url)) return 'PostgreSQL'
  const { host, pathname } = new URL(url)
  return `postgres://${host}${pathname}`
}
