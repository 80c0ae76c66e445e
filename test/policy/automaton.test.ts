import t from 'tap'

import { Cursor, LiteralAutomaton } from '../../src/policy/automaton.ts'
import { foldText } from '../../src/policy/fold.ts'
import { singleSpaced, startOf } from '../../src/policy/spaces.ts'
import { Units } from '../../src/policy/units.ts'
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

interface Found {
  readonly hits: readonly string[]
  readonly isPlain: boolean
}

function byUnits(automaton: LiteralAutomaton, text: string, slice: number): Found {
  const units = new Units(slice)
  const cursor = new Cursor()
  const hits: string[] = []
  const hit = (index: number, end: number) => hits.push(`${index}@${end}`)
  while (cursor.at < text.length) {
    const count = units.fill(text, cursor.at, text.length)
    automaton.scanUnits(units.values, count, cursor, { hit })
  }
  return { hits, isPlain: cursor.isPlain }
}

function byText(automaton: LiteralAutomaton, text: string): Found {
  const cursor = new Cursor()
  const hits: string[] = []
  const hit = (index: number, end: number) => hits.push(`${index}@${end}`)
  automaton.scan(text, text.length, cursor, { hit })
  return { hits, isPlain: cursor.isPlain }
}

void t.test('scanUnits() reports what scan() does, in slices of any size', async (t) => {
  const random = randomFrom(13)
  const letters = ['a', 'b', 'c', 'z', 'É', '@', ' ', ' ', '漢', '\u212a', '-', '\ud83d', '\ude00']
  const word = (length: number, of: readonly string[]) =>
    Array.from({ length }, () => pick(random, of)).join('')
  let found = 0
  for (let i = 0; i < 36; i++) {
    const looseSpaces = i % 2 === 0
    // Some sets have more letters than are told apart.
    const others = i % 3 === 0 ? Array.from({ length: 90 }, (_, at) => 0x4e00 + at) : []
    const made = [1, 2, 3, 3, 4, 4, 5, 6, 7, 8].map((length) => foldText(word(length, letters)))
    made.push(...others.map((unit) => String.fromCharCode(unit, unit + 1, unit)))
    const set = made
      .slice(i % 6, i % 4 === 0 ? 2 + (i % 6) : undefined)
      .map(looseSpaces ? singleSpaced : (of) => of)
    const literals = [...new Set(set)]
    const automaton = new LiteralAutomaton(literals, { looseSpaces })
    const parts = [...letters, 'A', 'k', '\n ', '   ', '\u4e4e', ...literals, ...literals]
    for (let j = 0; j < 200; j++) {
      const text = word(Math.floor(random() * 40), parts)
      const want = byText(automaton, text)
      const got = byUnits(automaton, text, 2 + Math.floor(random() * 40))
      found += got.hits.length
      if (got.hits.join() === want.hits.join() && got.isPlain === want.isPlain) continue
      t.strictSame(got, want, JSON.stringify({ literals, looseSpaces, text }))
    }
  }
  t.ok(found > 10_000, `${found} literals were found`)
})
