import t from 'tap'

import type { SettingConfig } from '../../src/config/snapshot.ts'
import { combineSettings, settle } from '../../src/policy/settle.ts'
import { Seeded } from '../support/seeded.ts'

function setting(some: Partial<SettingConfig>): SettingConfig {
  const nothing = { value: null, default: null, atMost: null, atLeast: null }
  return { parameter: 'n', ...nothing, ...some }
}

t.test('a value is put, a default fills, bounds clamp', (t) => {
  t.equal(settle(setting({ value: 3 }), 7), 3)
  t.equal(settle(setting({ value: 3 }), null), 3)
  t.equal(settle(setting({ default: 3 }), null), 3)
  t.equal(settle(setting({ default: 3 }), 7), 7)
  t.equal(settle(setting({ atMost: 3 }), 7), 3)
  t.equal(settle(setting({ atMost: 3 }), null), null, 'nothing to clamp')
  t.equal(settle(setting({ atLeast: 3 }), 1), 3)
  t.equal(settle(setting({ atLeast: 3, atMost: 2 }), 9), 2, 'at_most has the last word')
  t.equal(settle(setting({ default: 9, atMost: 2 }), null), 2)
  t.equal(settle(setting({ atMost: 2 }), 'many'), 2, 'what is no number cannot be within')
  t.equal(settle(setting({ value: 'flex' }), 'auto'), 'flex')
  t.equal(settle(setting({ default: 'flex' }), 'auto'), 'auto')
  t.end()
})

t.test('several policies make the same, whatever their order', (t) => {
  const seeded = new Seeded(7)
  const maybe = () => seeded.pick([null, null, 1, 2, 3, 5, 8])
  for (let round = 0; round < 500; round++) {
    const settings = Array.from({ length: 4 }, () =>
      setting({ value: maybe(), default: maybe(), atMost: maybe(), atLeast: maybe() }),
    )
    const one = combineSettings(settings).get('n')
    t.strictSame(combineSettings(settings.toReversed()).get('n'), one)
    const caps = settings.flatMap(({ atMost }) => atMost ?? [])
    const settled = settle(one!, seeded.pick([null, 1, 4, 100]))
    t.ok(settled === null || caps.every((cap) => Number(settled) <= cap), 'no cap is exceeded')
  }
  t.end()
})
