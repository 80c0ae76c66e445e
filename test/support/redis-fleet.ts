import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { Redis } from 'ioredis'

import type { RedisPlace } from '../../src/config/snapshot.ts'
import type { Authority } from './certificates.ts'
import { freePort } from './free-port.ts'
import { ownDirectory } from './own-directory.ts'
import { RedisServer } from './redis.ts'
import { until } from './until.ts'

/** Several real Redis servers that belong together: a Cluster, or a primary that Sentinels watch. */

interface Test {
  teardown(then: () => unknown): void
  testdir(fixtures?: Record<string, string>): string
}

const SLOTS = 16_384

/** Servers that speak TLS to everybody, and to each other, on ports of their own. */
export interface Secure {
  readonly authority: Authority
  /** As `localhost`, and not by address. */
  readonly isNamed?: boolean
  /** What each is started with beside. */
  readonly args?: readonly string[]
}

async function tlsArgs(directory: string, given: Secure | undefined): Promise<readonly string[]> {
  if (given === undefined) return []
  const { authority, isNamed = false, args = [] } = given
  const names = isNamed ? { dns: ['localhost'] } : { ips: ['127.0.0.1'] }
  const own = authority.issue({ subject: { CN: 'redis' }, ...names })
  const port = await freePort()
  const write = (name: string, text: string) => {
    const file = join(directory, `${port}.${name}`)
    writeFileSync(file, text)
    return file
  }
  return [
    '--tls-port',
    String(port),
    '--tls-auth-clients',
    'no',
    '--tls-cert-file',
    write('cert', own.cert),
    '--tls-key-file',
    write('key', own.key),
    '--tls-ca-cert-file',
    write('ca', authority.cert),
    ...args,
  ]
}

/** The port others are told of. */
function portOf({ port, args }: RedisServer): number {
  const at = args.indexOf('--tls-port')
  return at < 0 ? port : Number(args[at + 1])
}

/** A place without anything that is not asked for. */
export function placeOf(
  kind: RedisPlace['kind'],
  servers: readonly RedisServer[],
  some: Partial<RedisPlace> = {},
): RedisPlace {
  return {
    kind,
    nodes: servers.map((server) => ({ host: '127.0.0.1', port: portOf(server) })),
    user: null,
    password: null,
    database: 0,
    tls: null,
    sentinel: null,
    ...some,
  }
}

/** Asks one server; the connection is closed again. */
export async function command(server: RedisServer, ...words: readonly string[]): Promise<unknown> {
  const client = new Redis(server.url, { retryStrategy: null, lazyConnect: true })
  client.on('error', () => {})
  try {
    await client.connect()
    return await client.call(words[0]!, ...words.slice(1))
  } finally {
    client.disconnect()
  }
}

/** Three nodes with a third of the slots each and, when asked for, a replica of each. */
export class RedisCluster {
  readonly primaries: readonly RedisServer[]
  readonly replicas: readonly RedisServer[]

  private constructor(primaries: readonly RedisServer[], replicas: readonly RedisServer[]) {
    this.primaries = primaries
    this.replicas = replicas
  }

  static async start(t: Test, hasReplicas = false, secure?: Secure): Promise<RedisCluster> {
    const directory = ownDirectory(t)
    const open = async (name: string) => {
      const file = join(directory, `${name}.conf`)
      rmSync(file, { force: true })
      const args = ['--cluster-enabled', 'yes', '--cluster-config-file', file]
      const bus = ['--cluster-port', String(await freePort()), '--cluster-node-timeout', '1000']
      const apart = ['--cluster-require-full-coverage', 'no', '--repl-diskless-sync-delay', '0']
      const tls = secure === undefined ? [] : ['--tls-cluster', 'yes', '--tls-replication', 'yes']
      const own = await tlsArgs(directory, secure)
      return RedisServer.start(t, [...args, ...bus, ...apart, ...tls, ...own])
    }
    const names = ['a', 'b', 'c']
    const primaries = await Promise.all(names.map((name) => open(name)))
    const replicas = hasReplicas ? await Promise.all(names.map((name) => open(`${name}2`))) : []
    for (const [index, server] of primaries.entries()) {
      const share = (part: number) => String(Math.floor((SLOTS * part) / 3))
      const last = String(Number(share(index + 1)) - 1)
      await command(server, 'CLUSTER', 'ADDSLOTSRANGE', share(index), last)
      await command(server, 'CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))
    }
    const cluster = new RedisCluster(primaries, replicas)
    const first = primaries[0]!
    for (const server of [...primaries.slice(1), ...replicas]) {
      const bus = server.args[server.args.indexOf('--cluster-port') + 1]!
      await command(first, 'CLUSTER', 'MEET', '127.0.0.1', String(portOf(server)), bus)
    }
    await cluster.#ready(primaries.length + replicas.length)
    for (const [index, replica] of replicas.entries()) {
      const id = String(await command(primaries[index]!, 'CLUSTER', 'MYID'))
      await command(replica, 'CLUSTER', 'REPLICATE', id)
    }
    for (const replica of replicas) {
      await until(
        'a replica to follow',
        async () => {
          return String(await command(replica, 'INFO', 'replication')).includes('link_status:up')
        },
        30_000,
      )
    }
    return cluster
  }

  get place(): RedisPlace {
    return placeOf('cluster', this.primaries)
  }

  /** As if it had just been made. */
  async empty(): Promise<void> {
    for (const server of this.primaries) await command(server, 'FLUSHALL')
  }

  /** The one that has the slot of a key. */
  async nodeOf(key: string): Promise<RedisServer> {
    const slot = Number(await command(this.primaries[0]!, 'CLUSTER', 'KEYSLOT', key))
    return this.primaries[Math.min(2, Math.floor((slot * 3) / SLOTS))]!
  }

  /** Each knows all, and of every slot who has it: a node that may serve some says `ok` before that. */
  async #ready(count: number): Promise<void> {
    const told = [
      'cluster_state:ok',
      `cluster_known_nodes:${count}\r`,
      `cluster_slots_ok:${SLOTS}\r`,
    ]
    for (const server of [...this.primaries, ...this.replicas]) {
      await until(
        'the cluster to be whole',
        async () => {
          const info = String(await command(server, 'CLUSTER', 'INFO'))
          return told.every((each) => info.includes(each))
        },
        30_000,
      )
    }
  }
}

/** A primary with a replica, and three Sentinels that agree on the replica soon after it is gone. */
export class RedisSentinels {
  readonly primary: RedisServer
  readonly replica: RedisServer
  readonly sentinels: readonly RedisServer[]

  private constructor(
    primary: RedisServer,
    replica: RedisServer,
    sentinels: readonly RedisServer[],
  ) {
    this.primary = primary
    this.replica = replica
    this.sentinels = sentinels
  }

  /** `args` of `secure` are those of the servers, `sentinelArgs` those of the Sentinels. */
  static async start(
    t: Test,
    secure?: Secure & { readonly sentinelArgs?: readonly string[] },
  ): Promise<RedisSentinels> {
    const directory = ownDirectory(t)
    const tls = secure === undefined ? [] : ['--tls-replication', 'yes']
    const own = async () => [...(await tlsArgs(directory, secure)), ...tls]
    const primary = await RedisServer.start(t, await own())
    const following = ['--replicaof', '127.0.0.1', String(portOf(primary))]
    const replica = await RedisServer.start(t, [...(await own()), ...following])
    await until(
      'the replica to follow',
      async () => {
        return String(await command(replica, 'INFO', 'replication')).includes('link_status:up')
      },
      30_000,
    )
    const sentinels = []
    for (let index = 0; index < 3; index++) {
      const file = join(directory, `sentinel-${index}.conf`)
      const lines = [
        `sentinel monitor limits 127.0.0.1 ${portOf(primary)} 2`,
        'sentinel down-after-milliseconds limits 500',
        'sentinel failover-timeout limits 3000',
      ]
      writeFileSync(file, `${lines.join('\n')}\n`)
      const watching = { ...secure, args: secure?.sentinelArgs ?? [] } as Secure
      const args = secure === undefined ? [] : [...(await tlsArgs(directory, watching)), ...tls]
      sentinels.push(await RedisServer.start(t, ['--sentinel', ...args], file))
    }
    const fleet = new RedisSentinels(primary, replica, sentinels)
    for (const sentinel of sentinels) {
      await until(
        'the Sentinels to know all',
        async () => {
          const said = String(await command(sentinel, 'INFO', 'sentinel'))
          return said.includes('slaves=1,sentinels=3')
        },
        30_000,
      )
    }
    return fleet
  }

  /** As if it had just been made. */
  async empty(): Promise<void> {
    await command(this.primary, 'FLUSHALL')
  }

  get place(): RedisPlace {
    const sentinel = { name: 'limits', user: null, password: null }
    return placeOf('sentinel', this.sentinels, { sentinel })
  }
}
