import t from 'tap'

import { foldKey } from '../../src/dialect/json-fold.ts'

t.test('foldKey() makes one key of all case variants', async (t) => {
  const pairs = [
    ['model', 'MODEL'],
    ['meſſages', 'messages'],
    ['\u212aey', 'key'],
    ['\u212b', 'å'],
    ['ẞ', 'ß'],
    ['Σ', 'ς'],
    ['µ', 'μ'],
    ['Ǆ', 'ǅ'],
    ['𐐀', '𐐨'],
  ] as const
  for (const [one, other] of pairs) t.equal(foldKey(one), foldKey(other), `${one} ${other}`)
})

t.test('foldKey() keeps apart what no parser takes for one', async (t) => {
  const pairs = [
    ['straße', 'strasse'],
    ['ﬁ', 'fi'],
    ['é', 'e'],
    ['İ', 'i'],
  ] as const
  for (const [one, other] of pairs) t.not(foldKey(one), foldKey(other), `${one} ${other}`)
})

t.test('foldKey() agrees with simple case folding on every code point', async (t) => {
  const apart: string[] = []
  const [surrogates, afterSurrogates] = [0xd800, 0xe000]
  for (let point = 0; point < 0x1_ffff; point++) {
    if (point >= surrogates && point < afterSurrogates) continue
    const character = String.fromCodePoint(point)
    const variants = [character.toLowerCase(), character.toUpperCase()]
    for (const variant of variants) {
      if (variant === character || Array.from(variant).length !== 1) continue
      // With both flags, V8 compares by simple case folding (ECMA-262 §22.2.2.7.3).
      const same = new RegExp(`^\\u{${point.toString(16)}}$`, 'iu').test(variant)
      if (same && foldKey(variant) !== foldKey(character)) apart.push(character)
    }
  }
  t.strictSame(apart, [])
})
