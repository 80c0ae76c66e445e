import { RE2JS, RE2Set } from 're2js'
import t from 'tap'

import { matchLongText } from '../../src/policy/long-match.ts'
import { randomFrom, randomPattern, randomText } from './random.ts'

function drain<Value>(steps: Generator<undefined, Value>): Value {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

void t.test('matchLongText() says what the engine says', async (t) => {
  const random = randomFrom(99)
  for (let i = 0; i < 2_000; i++) {
    const source = randomPattern(random)
    const pattern = RE2JS.compile(source)
    for (let j = 0; j < 5; j++) {
      const text = randomText(random) + randomText(random)
      const want = pattern.test(text)
      if (drain(matchLongText(pattern.re2().dfa, text)) !== want) {
        t.equal(!want, want, `${source} in ${JSON.stringify(text)}`)
      }
    }
  }
})

void t.test('matchLongText() hands over the ids of a set', async (t) => {
  const set = new RE2Set()
  for (const pattern of ['zeus', '\\d+$', 'x{3}', '^a']) set.add(pattern)
  set.compile()
  for (const text of ['a zeus 1', 'xxx', '', 'ab 1 c', 'xxxx zeus']) {
    const found = new Set<number>()
    drain(matchLongText(set.dfa, text, (id) => found.add(id)))
    t.strictSame(
      [...found].sort((a, b) => a - b),
      set.match(text),
      text,
    )
  }
})

void t.test('matchLongText() goes on where the automaton outgrows its memory', async (t) => {
  // The 13th letter from the end: an automaton with 2^13 states.
  const set = new RE2Set(RE2Set.UNANCHORED, 0, 60_000)
  set.add('a[ab]{12}c')
  set.compile()
  const random = randomFrom(3)
  const noise = Array.from({ length: 20_000 }, () => (random() < 0.5 ? 'a' : 'b')).join('')
  t.equal(drain(matchLongText(set.dfa, noise)), false)
  t.equal(drain(matchLongText(set.dfa, `${noise}a${'b'.repeat(12)}c`)), true)
})

void t.test('matchLongText() throws where not even one state fits', async (t) => {
  const set = new RE2Set(RE2Set.UNANCHORED, 0, 10)
  set.add('abc')
  set.compile()
  t.throws(() => drain(matchLongText(set.dfa, 'abc')), { name: 'RangeError' })
})
