import t from 'tap'

import { Cursor, LiteralAutomaton } from '../../src/policy/automaton.ts'
import { foldText } from '../../src/policy/fold.ts'
import { pick, randomFrom } from './random.ts'

function allHits(literals: readonly string[], text: string, slice: number): readonly string[] {
  const automaton = new LiteralAutomaton(literals)
  const cursor = new Cursor()
  const hits: string[] = []
  while (cursor.at < text.length) {
    const end = Math.min(text.length, cursor.at + slice)
    automaton.scan(text, end, cursor, { hit: (index, at) => hits.push(`${index}@${at}`) })
  }
  return hits.sort()
}

void t.test('scan() finds every literal, in slices of any size', async (t) => {
  const random = randomFrom(11)
  const word = (length: number) =>
    Array.from({ length }, () => pick(random, ['a', 'b', 'é'])).join('')
  for (let i = 0; i < 500; i++) {
    const literals = [...new Set([word(1), word(2), word(3), word(3), word(5)])]
    const text = word(30)
      .replaceAll('a', pick(random, ['a', 'A']))
      .replaceAll('é', 'É')
    const want: string[] = []
    for (const [index, literal] of literals.entries()) {
      for (let at = 0; at <= text.length; at++) {
        if (foldText(text.slice(0, at)).endsWith(literal)) want.push(`${index}@${at}`)
      }
    }
    t.strictSame(allHits(literals, text, 1 + Math.floor(random() * 40)), want.sort())
  }
})

void t.test('scan() notes whether a text is plain ASCII', async (t) => {
  const automaton = new LiteralAutomaton([])
  for (const [text, want] of [
    ['plain', true],
    ['naïve', false],
    ['', true],
  ] as const) {
    const cursor = new Cursor()
    automaton.scan(text, text.length, cursor, { hit: () => t.fail('no literals') })
    t.equal(cursor.seenUnits <= 0x7f, want)
  }
})
