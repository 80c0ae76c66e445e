import t from 'tap'

import { Cursor, LiteralAutomaton } from '../../src/policy/automaton.ts'
import { foldText } from '../../src/policy/fold.ts'
import { singleSpaced, startOf } from '../../src/policy/spaces.ts'
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
    t.equal(cursor.isPlain, want)
  }
})

void t.test('scan() takes any white space for the space of a literal', async (t) => {
  const random = randomFrom(12)
  const word = (length: number, letters: readonly string[]) =>
    Array.from({ length }, () => pick(random, letters)).join('')
  for (let i = 0; i < 60; i++) {
    const made = [2, 3, 4, 5].map((length) => singleSpaced(word(length, ['a', 'b', ' '])))
    const literals = [...new Set(made)]
    const text = word(40, ['a', 'B', ' ', '\n', '\t', '\u00a0', '\u2028'])
    const automaton = new LiteralAutomaton(literals, { looseSpaces: true })
    const hits = new Set<string>()
    automaton.scan(text, text.length, new Cursor(), {
      hit: (index, at) => hits.add(`${index}@${at}`),
    })
    const want: string[] = []
    for (const [index, literal] of literals.entries()) {
      const spaced = literal.replaceAll(' ', String.raw`\s+`)
      const isIt = new RegExp(`^${spaced}$`, 'i')
      const ends = new RegExp(`${spaced}$`, 'i')
      for (let at = 1; at <= text.length; at++) {
        if (!ends.test(text.slice(0, at))) continue
        const starts =
          literal.endsWith(' ') || isIt.test(text.slice(startOf(text, literal, at), at))
        want.push(`${index}@${at}${starts ? '' : ' begins elsewhere'}`)
      }
    }
    t.strictSame([...hits].sort(), want.sort())
  }
})
