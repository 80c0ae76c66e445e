import t from 'tap'

import { command, RedisSentinels } from '../support/redis-fleet.ts'
import { until } from '../support/until.ts'
import { rate } from './limits.ts'
import { ask, HOUR_MS, passing, remainingOf, storeAt } from './redis-stores.ts'

/**
 * Goal: whichever server Sentinels call the primary counts, whatever became of the one before.
 * Method: real Sentinels, and a primary that dies, or only hangs and comes back.
 */

t.jobs = 3
/** A Sentinel that stood still for two seconds, on a slow disk say, does nothing for thirty. */
const TAKEN_OVER_MS = 200_000

for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
  t.test(
    `after ${signal} of the primary the one that took over counts on`,
    { buffered: true, timeout: 2 * TAKEN_OVER_MS },
    async (t) => {
      const fleet = await RedisSentinels.start(t)
      const limits = [{ per: 'tenant', requests: rate(100, HOUR_MS) }] as const
      const store = await storeAt(t, fleet.place, limits, { waitMs: 1_000 })
      await until('Redis to be used', () => store.mode === 'redis')
      t.equal(await passing(store, 10), 10)
      await command(fleet.primary, 'WAIT', '1', '10000')
      if (signal === 'SIGKILL') await fleet.primary.kill()
      else fleet.primary.signal('SIGSTOP')
      t.teardown(() => fleet.primary.signal('SIGCONT'))
      const outcome = await until(
        'the other to be asked',
        async () => {
          const outcome = await ask(store)
          return 'states' in outcome && outcome.how === 'redis' ? outcome : null
        },
        TAKEN_OVER_MS,
      )
      t.equal(remainingOf(outcome), 89)
      t.match(String(await command(fleet.replica, 'INFO', 'replication')), /role:master/)

      // The former one is told to follow; nothing it counted in vain matters.
      if (signal === 'SIGKILL') await fleet.primary.open()
      else fleet.primary.signal('SIGCONT')
      await until(
        'it to follow',
        async () =>
          // A server closes all connections as it changes its part.
          String(await command(fleet.primary, 'INFO', 'replication').catch(String)).includes(
            'role:slave',
          ),
        TAKEN_OVER_MS,
      )
      await until('Redis to be used', () => store.mode === 'redis')
      const after = await ask(store)
      t.equal(remainingOf(after), 88)
    },
  )
}

t.test(
  'Sentinels that all die are not needed while the primary stays',
  { buffered: true, timeout: 120_000 },
  async (t) => {
    const fleet = await RedisSentinels.start(t)
    const store = await storeAt(t, fleet.place, [{ requests: rate(100, HOUR_MS) }])
    await until('Redis to be used', () => store.mode === 'redis')
    await Promise.all(fleet.sentinels.map((sentinel) => sentinel.kill()))
    t.equal(await passing(store, 10), 10)
    t.match(await ask(store), { how: 'redis' })
  },
)
