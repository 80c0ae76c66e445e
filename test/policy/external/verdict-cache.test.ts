import { inspect } from 'node:util'

import t from 'tap'

import { VerdictCache } from '../../../src/policy/external/verdict-cache.ts'

const told = (count: number) => ({ count, spans: [] })

function countOf(cache: VerdictCache, text: string): number | null {
  return cache.get(text)?.count ?? null
}

void t.test('the texts asked for last are known, and no more than agreed', async (t) => {
  const cache = new VerdictCache(2)
  cache.set('a', told(0))
  cache.set('b', told(3))
  t.strictSame([countOf(cache, 'a'), countOf(cache, 'c')], [0, null])
  cache.set('c', told(1))
  t.strictSame(
    [countOf(cache, 'a'), countOf(cache, 'b'), countOf(cache, 'c'), cache.size],
    [0, null, 1, 2],
  )
  cache.set('a', told(2))
  t.strictSame([countOf(cache, 'a'), cache.size], [2, 2], 'the later verdict holds')
})

void t.test('a cache of none remembers nothing', async (t) => {
  const cache = new VerdictCache(0)
  cache.set('a', told(1))
  t.strictSame([countOf(cache, 'a'), cache.size], [null, 0])
})

void t.test('what is found in very many places is not remembered', async (t) => {
  const cache = new VerdictCache(10)
  const spans = Array.from({ length: 257 }, (_, start) => ({ label: 'X', start, end: start + 1 }))
  cache.set('a', { count: 257, spans })
  cache.set('b', { count: 256, spans: spans.slice(1) })
  t.strictSame([cache.get('a'), cache.get('b')?.spans.length], [null, 256])
})

void t.test('what is remembered names no text', async (t) => {
  const cache = new VerdictCache(10)
  cache.set('the planted word', told(1))
  t.notMatch(inspect(cache, { showHidden: true, depth: 9 }), /planted/)
})
