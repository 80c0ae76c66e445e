import { join } from 'node:path'

import t from 'tap'

import { chat } from '../support/client.ts'
import { answer, CHAT_ANSWER, FakeUpstream } from '../support/fake-upstream.ts'
import { RedisCluster } from '../support/redis-fleet.ts'
import { configText, InProcess } from '../support/start-governor.ts'

/**
 * Goal: a Redis Cluster in governance.yaml is where limits are counted, also those of no tenant.
 * Method: two sidecars of different tenants, three nodes.
 */

t.test(
  'two tenants share a limit of all on a Cluster; the audit and the answer say so',
  async (t) => {
    const cluster = await RedisCluster.start(t)
    const upstream = await FakeUpstream.start(t, answer(CHAT_ANSWER))
    const nodes = cluster.primaries.map(({ port }) => `'127.0.0.1:${port}'`).join(', ')
    const directory = t.testdir()
    const sites = ['acme', 'globex'].map((tenant) => {
      const sections = {
        upstream: upstream.url,
        pod: `{ tenant: ${tenant} }`,
        store: `{ cluster: [${nodes}] }`,
        limits: `
  - { id: all, per: global, requests: 7/h }
  - { id: own, per: tenant, requests: 5/h, tokens: 1M/h }`,
      }
      return new InProcess(join(directory, tenant), configText(sections))
    })
    for (const site of sites) {
      await site.open()
      t.teardown(() => site.governor.stop(0))
    }
    const answers = []
    for (let call = 0; call < 20; call++) {
      answers.push(await sites[call % 2]!.send({ body: chat('hi') }))
    }
    // On a machine so busy that Redis seems lost, an answer says so and is not counted here.
    const passed = answers.filter(({ status }) => status === 200)
    const shared = passed.filter(({ headers }) => headers['x-governor-ratelimit-store'] === 'redis')
    t.ok(shared.length > 0 && shared.length <= 7, `${shared.length} of 20`)
    t.ok(answers.every(({ status }) => status === 200 || status === 403))
    const id = String(shared[0]!.headers['x-governor-request-id'])
    const site = sites.find((each) => each.entries().some(({ requestId }) => requestId === id))!
    t.match((await site.entriesOf(id, 1))[0]!.body, {
      limits: { how: 'redis', charged: [{ id: 'all' }, { id: 'own' }, { id: 'own' }] },
    })
  },
)
