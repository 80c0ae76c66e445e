import { RE2JS } from 're2js'
import t from 'tap'

import { normaliseText } from '../../src/policy/normalise.ts'
import { scanTexts } from '../../src/policy/scan.ts'
import { compileTextRules } from '../../src/policy/text-rules.ts'
import { randomFrom, randomPattern, randomText } from './random.ts'

function scan(rules: ReturnType<typeof compileTextRules>, texts: readonly string[]) {
  const steps = scanTexts(rules, texts)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

void t.test('scanTexts() finds what each pattern alone would find', async (t) => {
  const random = randomFrom(7)
  let found = 0
  for (let round = 0; round < 40; round++) {
    const sources = Array.from({ length: 1 + (round % 8) }, () => randomPattern(random))
    const patterns = sources.map((source) => RE2JS.compile(source))
    const rules = compileTextRules(sources, [])
    for (let i = 0; i < 60; i++) {
      const texts = [randomText(random), randomText(random)]
      // Now and then one long enough to be read in slices.
      if (i % 20 === 0) texts.push(randomText(random).repeat(1 + Math.floor(random() * 900)))
      const want = patterns.map((pattern) =>
        texts.some((text) => pattern.test(text) || pattern.test(normaliseText(text))),
      )
      const matches = scan(rules, texts)
      const got = patterns.map((_, index) => matches.pattern(index))
      found += got.filter(Boolean).length
      if (JSON.stringify(got) !== JSON.stringify(want)) {
        t.strictSame(
          got,
          want,
          `${JSON.stringify(sources)} in ${JSON.stringify(texts).slice(0, 300)}`,
        )
      }
    }
  }
  t.ok(found > 1_000, `${found} matches`)
})

for (const { name, words, text, want } of [
  { name: 'at the start', words: ['zeus'], text: 'Zeus!', want: true },
  { name: 'at the end', words: ['zeus'], text: 'by ZEUS', want: true },
  { name: 'inside a word', words: ['zeus'], text: 'zeuses', want: false },
  { name: 'after a letter of another plane', words: ['zeus'], text: '𐐀zeus', want: false },
  { name: 'after a pictograph', words: ['zeus'], text: '😀zeus', want: true },
  { name: 'inside, then whole', words: ['zeus'], text: 'zeuses zeus', want: true },
  { name: 'beside an underscore', words: ['zeus'], text: '_zeus_', want: true },
  { name: 'that end in a sign', words: ['c++'], text: 'c++11', want: true },
  { name: 'in other letters', words: ['ЗЕВС'], text: 'о зевс!', want: true },
  { name: 'with a final sigma', words: ['ΖΕΥΣ'], text: 'ο ζευς', want: true },
  { name: 'of which one ends another', words: ['x', 'ab cd', 'cd'], text: 'zab cd', want: true },
  { name: 'split by what has no width', words: ['zeus'], text: 'z\u200be\u2060us', want: true },
  { name: 'that are empty', words: ['', '\u200b'], text: 'anything', want: false },
] as const) {
  void t.test(`scanTexts() finds words ${name}`, async (t) => {
    const rules = compileTextRules([], [words])
    t.equal(scan(rules, [text]).words(0), want)
    t.equal(scan(rules, [`${'. '.repeat(100_000)}${text}`]).words(0), want, 'in a long text')
  })
}

void t.test('scanTexts() finds a match that spans slices', async (t) => {
  const rules = compileTextRules(['(?s)begin.*end', '^x.*y$'], [['needle']])
  const text = `begin ${'lorem '.repeat(60_000)} needle ${'ipsum '.repeat(60_000)} end`
  const matches = scan(rules, [text])
  t.strictSame([matches.pattern(0), matches.pattern(1), matches.words(0)], [true, false, true])
})

function long(text: string): readonly string[] {
  return [`${'- '.repeat(200_000)}${text}`]
}

void t.test('scanTexts() of two calls at once do not mix', async (t) => {
  const rules = compileTextRules(['\\d{3}', 'zeus'], [['alpha'], ['beta']])
  const scans = [scanTexts(rules, long('alpha 123')), scanTexts(rules, long('beta zeus é'))]
  const results: boolean[][] = []
  for (let left = 2; left > 0;) {
    for (const [index, each] of scans.entries()) {
      if (results[index] !== undefined) continue
      const { done, value } = each.next()
      if (done !== true) continue
      results[index] = [value.pattern(0), value.pattern(1), value.words(0), value.words(1)]
      left--
    }
  }
  t.strictSame(results, [
    [true, false, true, false],
    [false, true, false, true],
  ])
})

void t.test('scanTexts() stays linear on a text made for backtracking', async (t) => {
  const rules = compileTextRules(['^(a+)+$', '[\\w.+-]+@[\\w-]+\\.[\\w.-]+'], [])
  const steps = scanTexts(rules, [`${'a'.repeat(50_000)}@`])
  let slices = 0
  while (steps.next().done !== true) slices++
  t.ok(slices < 10, `${slices} slices`)
})

const bold = (text: string) =>
  text.replace(/[a-z]/g, (letter) => String.fromCodePoint(0x1d41a + letter.charCodeAt(0) - 97))

void t.test('scanTexts() finds a word wherever slices are cut', async (t) => {
  const rules = compileTextRules(['zeus\\d'], [['blackbird']])
  for (let offset = 0; offset < 1_100; offset += 7) {
    const filler = bold('q').repeat(2_600 + offset)
    const text = `${'é'.repeat(offset % 2)}${filler}\u2003${bold('blackbird')}\u2003${bold('zeus')}1${filler}`
    const found = scan(rules, [text])
    if (!found.words(0) || !found.pattern(0)) t.fail(`missed at offset ${offset}`)
  }
})

void t.test(
  'scanTexts() throws where texts grow beyond measure, and never passes them',
  async (t) => {
    const rules = compileTextRules(['zeus'], [])
    t.throws(() => scan(rules, ['\ufdfa'.repeat(1_100_000)]), { name: 'TextsTooLarge' })
    t.throws(
      () =>
        scan(
          rules,
          Array.from({ length: 300 }, () => '\ufdfa'.repeat(4_000)),
        ),
      {
        name: 'TextsTooLarge',
      },
    )
    t.equal(scan(rules, [`${'\ufdfa'.repeat(100_000)} ｚeus`]).pattern(0), true)
  },
)

void t.test('scanTexts() gives way among texts that are empty', async (t) => {
  const steps = scanTexts(compileTextRules(['zeus'], []), Array<string>(100_000).fill(''))
  let turns = 0
  while (steps.next().done !== true) turns++
  t.ok(turns > 10, `${turns} turns`)
})

void t.test('compileTextRules() refuses words beyond its table', async (t) => {
  const words = Array.from(
    { length: 60_000 },
    (_, i) => `${String.fromCharCode(0x4e00 + (i % 3_000))}${i}`,
  )
  t.throws(() => compileTextRules([], [words]), { name: 'RangeError' })
})

void t.test('compileTextRules() throws on a pattern that is not RE2', async (t) => {
  t.throws(() => compileTextRules(['(?=a)'], []), { name: 'RE2JSSyntaxException' })
})

void t.test(
  'a pattern that begins like many words is looked for with those that need all',
  async (t) => {
    const common = String.raw`\b[A-C]{2}\d{6}\b`
    t.strictSame(compileTextRules([common], []).alwaysIndexes, [])
    const rules = compileTextRules([common, String.raw`\d{12}`, 'zeus'], [])
    t.strictSame(rules.alwaysIndexes, [0, 1])
    const found = scan(rules, ['a bad cab: AB123456', 'baba', 'Zeus'])
    t.strictSame(
      [0, 1, 2].map((index) => found.pattern(index)),
      [true, false, false],
    )
  },
)
