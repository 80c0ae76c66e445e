import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t, { type Test } from 'tap'

import type { RedisPlace } from '../../src/config/snapshot.ts'
import { Authority } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { command, placeOf, RedisCluster, RedisSentinels } from '../support/redis-fleet.ts'
import { RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { rate } from './limits.ts'
import { ask, HOUR_MS, passing, storeAt } from './redis-stores.ts'

/** Goal: Redis is reached as an operator says: with a certificate of their own, as an ACL user. */

const LIMITS = [{ requests: rate(2, HOUR_MS) }]
/** As config/README.md has it. */
const ACL = '--user governor on >secret ~governor:* +@all -@admin -@dangerous +info'.split(' ')

/** A server that speaks TLS on a second port. */
async function secure(t: Test, authority: Authority, args: readonly string[] = []) {
  const directory = t.testdir()
  const own = authority.issue({ subject: { CN: 'redis' }, ips: ['127.0.0.1'] })
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const port = await freePort()
  const files = [
    '--tls-cert-file',
    write('cert', own.cert),
    '--tls-key-file',
    write('key', own.key),
  ]
  const ca = ['--tls-ca-cert-file', write('ca', authority.cert), '--tls-auth-clients', 'no']
  const server = await RedisServer.start(t, ['--tls-port', String(port), ...files, ...ca, ...args])
  return { server, nodes: [{ host: '127.0.0.1', port }] }
}

function trusting({ cert }: Authority): RedisPlace['tls'] {
  return { ca: { file: '/ca.pem', pem: cert } }
}

t.test(
  'TLS with an authority of its own, as an ACL user that may do no more than it needs',
  async (t) => {
    const authority = new Authority()
    const { server, nodes } = await secure(t, authority, ACL)
    const user = { user: 'governor', password: 'secret' }
    const place = placeOf('server', [server], {
      nodes,
      ...user,
      tls: trusting(authority),
      database: 3,
    })
    const store = await storeAt(t, place, LIMITS)
    t.match(await ask(store), { how: 'redis' })
    t.equal(await passing(store, 5), 1)
    t.equal(store.why, '')
  },
)

t.test('a server that another authority vouches for is not believed', async (t) => {
  const { server, nodes } = await secure(t, new Authority())
  const place = placeOf('server', [server], { nodes, tls: trusting(new Authority('Another')) })
  const store = await storeAt(t, place, LIMITS)
  t.match(await ask(store), { how: 'local_share' })
  t.match(store.why, /certificate/)
})

t.test('a wrong password is a loss that says why, without the password', async (t) => {
  const server = await RedisServer.start(t, ACL)
  const place = placeOf('server', [server], { user: 'governor', password: 'hunter2' })
  const store = await storeAt(t, place, LIMITS)
  t.match(await ask(store), { how: 'local_share' })
  t.match(store.why, /WRONGPASS/)
  t.notMatch(store.why, /hunter2/)
})

t.test('an ACL user on a Cluster may do what it needs', async (t) => {
  const own = ['--cluster-announce-ip', '127.0.0.1', '--cluster-port', String(await freePort())]
  const args = ['--cluster-enabled', 'yes', ...own]
  const file = ['--cluster-config-file', join(t.testdir(), 'nodes.conf')]
  const server = await RedisServer.start(t, [...args, ...file, ...ACL])
  await command(server, 'CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until('it to be whole', async () => {
    return String(await command(server, 'CLUSTER', 'INFO')).includes('cluster_state:ok')
  })
  const place = placeOf('cluster', [server], { user: 'governor', password: 'secret' })
  const store = await storeAt(t, place, [{ per: 'global', requests: rate(2, HOUR_MS) }, ...LIMITS])
  t.equal(store.why, '')
  t.match(await ask(store), { how: 'redis', states: [{ remaining: 1 }, { remaining: 1 }] })
})

t.test('a Cluster over TLS, as an ACL user, by address', async (t) => {
  const authority = new Authority()
  const cluster = await RedisCluster.start(t, false, { authority, args: ACL })
  const user = { user: 'governor', password: 'secret' }
  const place = { ...cluster.place, ...user, tls: trusting(authority) }
  const store = await storeAt(t, place, [{ per: 'global', requests: rate(2, HOUR_MS) }, ...LIMITS])
  t.equal(store.why, '')
  t.match(await ask(store), { how: 'redis', states: [{ remaining: 1 }, { remaining: 1 }] })
  const other = await storeAt(t, { ...place, tls: trusting(new Authority('Another')) }, LIMITS)
  t.match(await ask(other), { how: 'local_share' }, 'nobody else vouches for it')
  const wrong = await storeAt(t, { ...place, password: 'hunter2' }, LIMITS)
  t.match(await ask(wrong), { how: 'local_share' })
  t.match(wrong.why, /^Failed to refresh slots cache\. (WRONGPASS|Connection is closed)/)
})

t.test('a Cluster over TLS whose certificates have names', async (t) => {
  const authority = new Authority()
  const named = ['--cluster-announce-hostname', 'localhost']
  const args = [...named, '--cluster-preferred-endpoint-type', 'hostname']
  const cluster = await RedisCluster.start(t, false, { authority, isNamed: true, args })
  const nodes = cluster.place.nodes.map(({ port }) => ({ host: 'localhost', port }))
  const place = { ...cluster.place, nodes, tls: trusting(authority) }
  const store = await storeAt(t, place, [{ per: 'global', requests: rate(2, HOUR_MS) }, ...LIMITS])
  t.equal(store.why, '')
  t.match(await ask(store), { how: 'redis', states: [{ remaining: 1 }, { remaining: 1 }] })
})

t.test('a primary that Sentinels name, over TLS, as ACL users of both', async (t) => {
  const authority = new Authority()
  const sentinelArgs = '--user watcher on >seen allchannels +@all'.split(' ')
  const fleet = await RedisSentinels.start(t, { authority, args: ACL, sentinelArgs })
  const place = {
    ...fleet.place,
    user: 'governor',
    password: 'secret',
    tls: trusting(authority),
    sentinel: { name: 'limits', user: 'watcher', password: 'seen' },
  }
  const store = await storeAt(t, place, LIMITS)
  t.equal(store.why, '')
  t.match(await ask(store), { how: 'redis', states: [{ remaining: 1 }] })
  const wrong = { ...place.sentinel, password: 'hunter2' }
  const other = await storeAt(t, { ...place, sentinel: wrong }, LIMITS)
  t.match(await ask(other), { how: 'local_share' })
  t.notMatch(other.why, /hunter2/)
  t.match(other.why, /WRONGPASS|unreachable/)
})
