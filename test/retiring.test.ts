import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import t from 'tap'

import { ActiveCalls } from '../src/http/active-calls.ts'
import type { HttpExchange } from '../src/http/exchange.ts'
import { Retiring } from '../src/retiring.ts'
import { until } from './support/until.ts'

/** A call as far as the list of active ones looks at it. */
function call(): HttpExchange {
  return { slot: -1 } as HttpExchange
}

function pool(destroyed: string[], name: string) {
  return { destroy: async () => void destroyed.push(name) }
}

t.test(
  'connections are closed when the calls of that moment have ended, no later ones',
  async (t) => {
    const active = new ActiveCalls()
    const retiring = new Retiring(active)
    const destroyed: string[] = []
    await retiring.retire([pool(destroyed, 'idle')])
    t.strictSame(destroyed, ['idle'], 'at once where nobody calls')
    const [first, second, later] = [call(), call(), call()]
    active.add(first)
    active.add(second)
    const over = retiring.retire([pool(destroyed, 'used')])
    active.add(later)
    t.equal(retiring.pools.length, 1)
    active.remove(first)
    t.strictSame(destroyed, ['idle'])
    active.remove(second)
    await over
    t.strictSame(destroyed, ['idle', 'used'])
    t.strictSame(retiring.pools, [])
    t.equal(active.size, 1)
  },
)

t.test('a long stream does not keep what shorter calls held', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const active = new ActiveCalls()
  const retiring = new Retiring(active)
  const stream = call()
  active.add(stream)
  const short = new WeakRef(
    (() => {
      const made = call()
      active.add(made)
      return made
    })(),
  )
  const over = retiring.retire([pool([], 'used')])
  await new Promise(setImmediate)
  ;(() => active.remove(short.deref()!))()
  await until('it to be let go', () => {
    collect()
    return short.deref() === undefined
  })
  t.equal(retiring.pools.length, 1, 'while the stream goes on')
  active.remove(stream)
  await over
})
