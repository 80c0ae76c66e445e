import { Cluster, Redis } from 'ioredis'

import type { RedisPlace } from '../config/snapshot.ts'

/** How long a connection may take to open. */
const CONNECT_MS = 1_000
const RECONNECT_MS_MAX = 2_000
/** A cluster that moves its slots says so to who asks the wrong node; this is for who does not ask. */
const SLOTS_REFRESH_MS = 5_000

/** A client that keeps nobody waiting: nothing is queued, sent again or asked for longer than `waitMs`. */
export type RedisClient = Redis | Cluster

const reconnectMs = (times: number): number => Math.min(RECONNECT_MS_MAX, times * 100)

/**
 * Connects, by itself and again, to a server (a redis:// or rediss:// URL, or a place), to the primary
 * that Sentinels name, or to the nodes of a Cluster. Throws where a URL cannot be used.
 */
export function openClient(place: string | RedisPlace, waitMs: number): RedisClient {
  if (typeof place === 'string') return new Redis(place, serverOptions(waitMs))
  const { nodes, user, password, database: db, tls } = place
  const own = {
    ...(user !== null && { username: user }),
    ...(password !== null && { password }),
    ...(tls !== null && { tls: tlsOf(tls) }),
  }
  if (place.kind === 'cluster') return openCluster(place, { ...own, ...commandOptions(waitMs) })
  const server = { ...serverOptions(waitMs), ...own, db }
  if (place.kind === 'server') return new Redis({ ...server, ...nodes[0]! })
  const { name, user: sentinelUser, password: sentinelPassword } = place.sentinel!
  return new Redis({
    ...server,
    name,
    sentinels: [...nodes],
    sentinelCommandTimeout: CONNECT_MS,
    sentinelRetryStrategy: reconnectMs,
    // It also hears of a failover, where the connection to the former primary just hangs.
    failoverDetector: true,
    ...(sentinelUser !== null && { sentinelUsername: sentinelUser }),
    ...(sentinelPassword !== null && { sentinelPassword }),
    ...(tls !== null && { enableTLSForSentinelMode: true, sentinelTLS: tlsOf(tls) }),
  })
}

function commandOptions(waitMs: number) {
  return {
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: waitMs,
    connectTimeout: CONNECT_MS,
    // The primary has become a replica: another one is to be asked for.
    reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
  }
}

function serverOptions(waitMs: number) {
  return { ...commandOptions(waitMs), enableOfflineQueue: false, retryStrategy: reconnectMs }
}

/** A command is sent on where a slot has moved; what got no answer is never sent again. */
function openCluster(
  { nodes }: RedisPlace,
  redisOptions: ReturnType<typeof commandOptions> & { readonly tls?: object },
): Cluster {
  return new Cluster([...nodes], {
    redisOptions,
    // Of its own it looks names up first, and then holds the certificate against an address.
    ...(redisOptions.tls !== undefined && {
      dnsLookup: (host: string, done: (error: null, host: string) => void) => done(null, host),
    }),
    enableOfflineQueue: false,
    maxRedirections: 2,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 1,
    slotsRefreshTimeout: CONNECT_MS,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    clusterRetryStrategy: reconnectMs,
  })
}

function tlsOf({ ca }: NonNullable<RedisPlace['tls']>): { readonly ca?: string } {
  return ca === null ? {} : { ca: ca.pem }
}
