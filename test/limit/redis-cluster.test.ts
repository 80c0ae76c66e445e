import { hash } from 'node:crypto'

import t from 'tap'

import { command, RedisCluster } from '../support/redis-fleet.ts'
import { until } from '../support/until.ts'
import { callBy, rate } from './limits.ts'
import { ask, HOUR_MS, passing, storeAt } from './redis-stores.ts'

/**
 * Goal: on a Redis Cluster limits are the same ceilings, be they of a tenant or of all, and a node that
 * is away is a loss for those alone whose keys it has. Method: three real nodes.
 */

/** The node that counts a tenant. */
function nodeOf(cluster: RedisCluster, tenant: string) {
  return cluster.nodeOf(`{${hash('sha256', tenant).slice(0, 16)}}`)
}

/** A tenant that each node counts. */
async function tenants(cluster: RedisCluster): Promise<string[]> {
  const found = new Map<number, string>()
  for (let index = 0; found.size < 3; index++) {
    const { port } = await nodeOf(cluster, `tenant-${index}`)
    if (!found.has(port)) found.set(port, `tenant-${index}`)
  }
  return cluster.primaries.map(({ port }) => found.get(port)!)
}

t.test(
  'a limit of all and one of a tenant are one ceiling each, and a refusal charges neither',
  async (t) => {
    const cluster = await RedisCluster.start(t)
    const limits = [
      { id: 'all', per: 'global', requests: rate(300, HOUR_MS) },
      { id: 'tenant', per: 'tenant', requests: rate(80, HOUR_MS) },
      { id: 'ip', per: 'ip', requests: rate(200, HOUR_MS) },
    ] as const
    const stores = await Promise.all([1, 2, 3, 4].map(() => storeAt(t, cluster.place, limits)))
    t.ok(stores.every(({ mode }) => mode === 'redis'))
    let passed = 0
    const byTenant = new Map<string, number>()
    for (let round = 0; round < 30; round++) {
      const outcomes = stores.flatMap((store, index) =>
        Array.from({ length: 8 }, async (_, each) => {
          const tenant = `tenant-${(index + each) % 5}`
          const outcome = await ask(store, callBy({ tenant, ip: `192.0.2.${each % 3}` }))
          if (!('states' in outcome)) return t.equal(outcome.kind, 'over')
          t.equal(outcome.how, 'redis')
          t.equal(outcome.states.length, 3)
          passed++
          return byTenant.set(tenant, (byTenant.get(tenant) ?? 0) + 1)
        }),
      )
      await Promise.all(outcomes)
      t.ok(passed <= 300, 'never above the ceiling')
    }
    t.ok([...byTenant.values()].every((count) => count <= 80))
    // Whoever asks alone finds what no refusal has burned.
    const [store] = stores
    for (let more = 0; more < 50; more++) {
      if ('states' in (await ask(store!, callBy({ tenant: `more-${more}`, ip: '198.51.100.1' }))))
        passed++
    }
    t.equal(passed, 300)
  },
)

t.test(
  'a node that is stuck is a loss for its tenants alone, who wait no longer than a call may',
  async (t) => {
    const cluster = await RedisCluster.start(t)
    const limits = [{ per: 'tenant', requests: rate(100, HOUR_MS) }] as const
    const store = await storeAt(t, cluster.place, limits, { waitMs: 1_000 })
    const [away = '', ...others] = await tenants(cluster)
    for (const tenant of [away, ...others]) t.equal(await passing(store, 5, callBy({ tenant })), 5)
    const [stuck] = cluster.primaries
    stuck!.signal('SIGSTOP')
    t.teardown(() => stuck!.signal('SIGCONT'))
    const howOf = async (tenant: string) => {
      const outcome = await ask(store, callBy({ tenant }))
      return 'states' in outcome ? outcome.how : outcome.kind
    }
    const lost = await Promise.all(Array.from({ length: 5 }, () => howOf(away)))
    t.ok(lost.every((how) => how === 'local_share'))
    t.equal(store.mode, 'local_share', 'and it says so')
    for (const tenant of others) t.equal(await howOf(tenant), 'redis')

    stuck!.signal('SIGCONT')
    await until('it to be used again', async () => (await howOf(away)) === 'redis')
    await until('it to say so', () => store.mode === 'redis')
    const outcome = await ask(store, callBy({ tenant: away }))
    const left = 'states' in outcome ? outcome.states[0]!.remaining : 0
    t.equal(left, 93, 'what was given up did nothing')
  },
)

t.test(
  'a primary that dies: its replica is asked, and what it knew is still counted',
  async (t) => {
    const cluster = await RedisCluster.start(t, true)
    const limits = [
      { id: 'all', per: 'global', requests: rate(1_000, HOUR_MS) },
      { id: 'own', per: 'tenant', requests: rate(20, HOUR_MS), concurrent: 9 },
    ] as const
    const store = await storeAt(t, cluster.place, limits, { waitMs: 1_000 })
    const [moved = '', other = ''] = await tenants(cluster)
    const first = await ask(store, callBy({ tenant: moved }))
    t.match(first, { how: 'redis' })
    for (const tenant of [moved, other]) t.equal(await passing(store, 7, callBy({ tenant })), 7)
    await command(cluster.primaries[0]!, 'WAIT', '1', '10000')
    await cluster.primaries[0]!.kill()
    const outcome = await until(
      'the replica to be asked',
      async () => {
        const outcome = await ask(store, callBy({ tenant: moved }))
        return 'states' in outcome && outcome.how === 'redis' ? outcome : null
      },
      60_000,
    )
    t.match(outcome.states, [{ id: 'all' }, { id: 'own', what: 'requests', remaining: 11 }, {}])
    t.match(outcome.states[2], { what: 'concurrent', remaining: 0 }, 'places are held there, too')
    if ('states' in first) first.settle()
    await until('it to be given back there', async () => {
      const outcome = await ask(store, callBy({ tenant: moved }))
      return 'states' in outcome && outcome.how === 'redis'
    })
    t.match(await ask(store, callBy({ tenant: other })), { states: [{}, { remaining: 12 }, {}] })
  },
)

t.test('nodes that were restarted empty begin anew; places that are held are held', async (t) => {
  const cluster = await RedisCluster.start(t)
  const limits = [{ per: 'tenant', requests: rate(1_000_000, HOUR_MS), concurrent: 3 }] as const
  // Asked until it is so, which must not use up a limit.
  const store = await storeAt(t, cluster.place, limits)
  const names = await tenants(cluster)
  for (const tenant of names) t.equal(await passing(store, 2, callBy({ tenant })), 2)
  await Promise.all(cluster.primaries.map((server) => server.kill()))
  await until('the loss to be seen', () => store.mode === 'local_share')
  for (const tenant of names) t.match(await ask(store, callBy({ tenant })), { how: 'local_share' })
  await Promise.all(cluster.primaries.map((server) => server.open()))
  await until('it to be used again', () => store.mode === 'redis')
  for (const tenant of names) {
    await until(
      'its node to know its places',
      async () => {
        const outcome = await ask(store, callBy({ tenant }))
        if (!('states' in outcome)) return false
        outcome.settle()
        return outcome.how === 'redis' && outcome.states[1]!.remaining === 0
      },
      30_000,
    )
  }
})
