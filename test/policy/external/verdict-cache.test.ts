import { inspect } from 'node:util'

import t from 'tap'

import { VerdictCache } from '../../../src/policy/external/verdict-cache.ts'

void t.test('the texts asked for last are known, and no more than agreed', async (t) => {
  const cache = new VerdictCache(2)
  cache.set('a', 0)
  cache.set('b', 3)
  t.strictSame([cache.get('a'), cache.get('c')], [0, null])
  cache.set('c', 1)
  t.strictSame([cache.get('a'), cache.get('b'), cache.get('c'), cache.size], [0, null, 1, 2])
  cache.set('a', 2)
  t.strictSame([cache.get('a'), cache.size], [2, 2], 'the later verdict holds')
})

void t.test('a cache of none remembers nothing', async (t) => {
  const cache = new VerdictCache(0)
  cache.set('a', 1)
  t.strictSame([cache.get('a'), cache.size], [null, 0])
})

void t.test('what is remembered names no text', async (t) => {
  const cache = new VerdictCache(10)
  cache.set('the planted word', 1)
  t.notMatch(inspect(cache, { showHidden: true, depth: 9 }), /planted/)
})
