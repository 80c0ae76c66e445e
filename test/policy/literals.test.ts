import { RE2JS } from 're2js'
import t from 'tap'

import { foldText } from '../../src/policy/fold.ts'
import { requiredLiterals } from '../../src/policy/literals.ts'
import { pick, randomFrom, randomPattern, randomText } from './random.ts'

function literalsOf(pattern: string): readonly string[] | null {
  return requiredLiterals(RE2JS.compile(pattern))
}

for (const [pattern, want] of [
  ['(?i)project[- ]zeus', ['ect zeus', 'ect-zeus']],
  ['(foo|bar)+baz?', ['barba', 'barfooba', 'barfoofo', 'fooba', 'foofooba', 'foofoofo']],
  ['[\\w.+-]+@[\\w-]+\\.[\\w.-]+', ['@']],
  ['AKIA[0-9A-Z]{16}', ['akia']],
  ['x*', null],
  ['.*', null],
  ['\\d+', null],
  ['a|.', null],
  ['(abc)?', null],
  ['(?i)straße', ['stra']],
  ['(?i)é', null],
  ['café', ['café']],
  ['\\Qa.b*c\\E', ['a.b*c']],
  ['^$', null],
  ['[^\\x00-\\x{10FFFF}]', null],
  ['(?i)ſk', ['sk']],
  ['😀x', null],
] as const) {
  void t.test(`requiredLiterals() of ${pattern}`, async (t) => {
    const found = literalsOf(pattern)
    t.strictSame(found === null ? null : [...found].sort(), want)
  })
}

void t.test('requiredLiterals() reads the program of the pinned engine', async (t) => {
  const { inst } = RE2JS.compile('(?i)(k|.[b-d])?\\b(?s:.)').re2().prog
  t.strictSame(
    inst.map((each: { op: number; toString(): string }) => [
      each.op,
      each.toString().split(' ')[0],
    ]),
    [
      [5, 'fail'],
      [3, 'cap'],
      [8, 'rune'],
      [11, 'anynotnl'],
      [8, 'rune'],
      [1, 'alt'],
      [3, 'cap'],
      [1, 'alt'],
      [4, 'empty'],
      [10, 'any'],
      [6, 'match'],
    ],
  )
})

void t.test('requiredLiterals() never misses a match of a random pattern', async (t) => {
  const random = randomFrom(20_261_121)
  let [filtered, matched] = [0, 0]
  for (let i = 0; i < 4_000; i++) {
    const source = randomPattern(random)
    const pattern = RE2JS.compile(source)
    const literals = requiredLiterals(pattern)
    if (literals === null) continue
    filtered++
    for (let j = 0; j < 30; j++) {
      const text = randomText(random, pick(random, literals))
      if (!pattern.test(text)) continue
      matched++
      const folded = foldText(text)
      if (!literals.some((literal) => folded.includes(literal))) {
        t.fail(`${source} matches ${JSON.stringify(text)} without ${literals.join(', ')}`)
      }
    }
  }
  t.ok(filtered > 1_000, `${filtered} patterns had literals`)
  t.ok(matched > 5_000, `${matched} texts matched`)
})
