import t from 'tap'

import { cutForNormalising, normaliseText } from '../../src/policy/normalise.ts'
import { randomFrom, pick } from './random.ts'

for (const [name, text, want] of [
  ['plain text', 'Hello, world', 'Hello, world'],
  ['soft hyphens and joiners', 'ze\u00ad\u034f\u200b\u200c\u200d\u2060\ufeffus', 'zeus'],
  ['variation selectors', 'a\ufe0fb\u{e0101}c', 'abc'],
  ['tags', '\u{e0001}\u{e007a}\u{e0065}\u{e007f}', 'ze'],
  ['directions', 'a\u202eb\u2066c', 'abc'],
  ['compatibility forms', 'ﬁ ② Ｚ 𝐙', 'fi 2 Z Z'],
  ['decomposed letters', 'e\u0301', 'é'],
  ['letters with a joiner before their accent', 'e\u200d\u0301', 'é'],
  ['lone surrogates', 'ZEBRA\ud800-SECRET', 'ZEBRA-SECRET'],
  ['fillers', 'a\u3164\u115f\uffa0b', 'ab'],
] as const) {
  void t.test(`normaliseText() of ${name}`, async (t) => {
    t.equal(normaliseText(text), want)
  })
}

void t.test('cutForNormalising() gives parts that normalise as the whole', async (t) => {
  const random = randomFrom(5)
  const letters = [
    'a',
    'e',
    '\u0301',
    '\u200d',
    'ガ',
    'カ',
    '\u3099',
    '한',
    'ᄒ',
    'ᅡ',
    'б',
    '\u{e0065}',
    '中',
    ' ',
  ]
  for (let i = 0; i < 2_000; i++) {
    const text = Array.from({ length: 40 }, () => pick(random, letters)).join('')
    const at = cutForNormalising(text, 0, 30)
    if (at === 30 && !/[ aeб中한ガカ]/.test(text[30] ?? '')) continue
    const parts = normaliseText(text.slice(0, at)) + normaliseText(text.slice(at))
    if (parts !== normaliseText(text)) t.fail(JSON.stringify([text, at]))
  }
  t.equal(cutForNormalising('abc', 0, 10), 3)
})
