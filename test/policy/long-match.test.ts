import { RE2JS, RE2Set } from 're2js'
import t from 'tap'

import { type Automaton, DenseAutomaton, WORK_MAX } from '../../src/policy/dense-automaton.ts'
import { LongMatch } from '../../src/policy/long-match.ts'
import { Units } from '../../src/policy/units.ts'
import { runNow } from '../../src/turns.ts'
import { randomFrom, randomPattern, randomText } from './random.ts'

/** Whether an automaton matches somewhere in a text that comes in one piece. */
function matches(automaton: Automaton, text: string, found?: (id: number) => void): boolean {
  const match = new LongMatch(new DenseAutomaton(automaton), found)
  runNow(match.read(text, new Units(WORK_MAX)))
  return match.end()
}

void t.test('LongMatch says what the engine says', async (t) => {
  const random = randomFrom(99)
  for (let i = 0; i < 2_000; i++) {
    const source = randomPattern(random)
    const pattern = RE2JS.compile(source)
    for (let j = 0; j < 5; j++) {
      const text = randomText(random) + randomText(random)
      const want = pattern.test(text)
      if (matches(pattern.re2().dfa, text) !== want) {
        t.equal(!want, want, `${source} in ${JSON.stringify(text)}`)
      }
    }
  }
})

void t.test('LongMatch hands over the ids of a set', async (t) => {
  const set = new RE2Set()
  for (const pattern of ['zeus', '\\d+$', 'x{3}', '^a']) set.add(pattern)
  set.compile()
  for (const text of ['a zeus 1', 'xxx', '', 'ab 1 c', 'xxxx zeus']) {
    const found = new Set<number>()
    matches(set.dfa, text, (id) => found.add(id))
    t.strictSame(
      [...found].sort((a, b) => a - b),
      set.match(text),
      text,
    )
  }
})

void t.test('LongMatch goes on where the automaton outgrows its memory', async (t) => {
  // The 13th letter from the end: an automaton with 2^13 states.
  const set = new RE2Set(RE2Set.UNANCHORED, 0, 60_000)
  set.add('a[ab]{12}c')
  set.compile()
  const random = randomFrom(3)
  const noise = Array.from({ length: 20_000 }, () => (random() < 0.5 ? 'a' : 'b')).join('')
  t.equal(matches(set.dfa, noise), false)
  t.equal(matches(set.dfa, `${noise}a${'b'.repeat(12)}c`), true)
})

void t.test('LongMatch throws where not even one state fits', async (t) => {
  const set = new RE2Set(RE2Set.UNANCHORED, 0, 10)
  set.add('abc')
  set.compile()
  t.throws(() => matches(set.dfa, 'abc'), { name: 'RangeError' })
})
