import t from 'tap'

import { Normaliser, normaliseText } from '../../src/policy/normalise.ts'
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
  ['a word struck through', 'z\u0336e\u0336u\u0336s\u0336', 'zeus'],
  ['letters under many marks', 'z\u0315\u0301\u0336e\u0301\u0336u\u20dd\u0488s\u{1d165}', 'zeus'],
  ['digits in boxes', '4\ufe0f\u20e31\ufe0f\u20e3', '41'],
  ['a dash and a space struck through', 'a-\u0336b \u0336c', 'a-b c'],
  [
    'marks of other scripts on letters that have none',
    'z\u064ee\u0941u\u0e38s\uff9e\u3099',
    'zeus',
  ],
  ['struck letters that are composed', 'c\u0336a\u0336f\u0336é\u0336 й\u0336о\u0336', 'café йо'],
  ['ideographs and syllables struck through', '宙\u0336斯\u0336 한\u0336', '宙斯 한'],
  ['marks before anything', '\u0336\u0941zeus', 'zeus'],
  ['Vietnamese, taken apart', 'Tie\u0302\u0301ng Vie\u0323\u0302t', 'Tiếng Việt'],
  ['Hebrew', 'שָׁלוֹם', 'שָׁלוֹם'.normalize('NFKC')],
  ['Hebrew struck through', 'ש\u05b8\u0336ל\u0336', 'ש\u05b8ל'],
  ['Arabic', 'مَرْحَبًا مـَ', 'مَرْحَبًا مـَ'],
  ['Hindi and Thai', 'नमस्ते สวัสดีทุ่ม', 'नमस्ते สวัสดีทุ่ม'],
  ['kana', 'か\u309aﾊﾟ', 'か\u309aパ'],
  ['fillers', 'a\u3164\u115f\uffa0b', 'ab'],
] as const) {
  void t.test(`normaliseText() of ${name}`, async (t) => {
    t.equal(normaliseText(text), want)
  })
}

function inPieces(text: string): string {
  const normaliser = new Normaliser(text)
  const pieces: string[] = []
  for (let piece = normaliser.next(); piece !== null; piece = normaliser.next()) pieces.push(piece)
  return pieces.join('')
}

for (const [name, letters] of [
  ['letters of two units', Array.from({ length: 26 }, (_, n) => String.fromCodePoint(0x1d41a + n))],
  ['marks', ['\u0301', '\u0323', '\u0327', 'é', 'o', '\u200d', '\u{e0101}', '\u{1d15e}']],
  ['Hangul letters', ['ᄒ', 'ᅡ', 'ᆫ', '한', '하', 'ㅎ', 'ㅏ', 'ㄴ', 'ﾡ', 'ￂ']],
  ['kana', ['カ', 'ﾊ', '\u3099', 'ﾞ', 'ﾟ', 'ガ', 'x']],
  [
    'marks on letters of several scripts',
    ['z', 'é', 'क', 'ש', '\u0336', '\u0301', '\u093f', '\u05b0'],
  ],
  [
    'all sorts',
    ['a', ' ', 'б', '中', '\u{e0065}', '\ud800', '\udc00', '\ufdfa', 'ﬁ', '\u200b', '😀'],
  ],
] as const) {
  void t.test(`Normaliser gives what normaliseText() gives of the whole: ${name}`, async (t) => {
    const random = randomFrom(5)
    for (let offset = 0; offset < 40; offset++) {
      const rest = Array.from({ length: 2_500 }, () => pick(random, letters)).join('')
      const text = 'é'.repeat(offset) + rest
      if (inPieces(text) !== normaliseText(text)) t.fail(`differs at offset ${offset}`)
    }
  })
}

void t.test(
  'Normaliser joins a letter and its accent however much without width is between',
  async (t) => {
    t.equal(inPieces(`caf e${'\u200d'.repeat(5_000)}\u0301`), 'caf é')
    t.strictSame([inPieces(''), inPieces('abc')], ['', 'abc'])
  },
)

void t.test('Normaliser takes marks off a letter however many there are', async (t) => {
  for (const mark of ['\u0336', '\u0301', '\u0941', '\u{1d165}', '\u0336\u0941\u0301']) {
    const text = Array.from('zeus', (letter) => letter + mark.repeat(2_000)).join('')
    t.equal(inPieces(text), 'zeus')
  }
})

void t.test(
  'Normaliser cuts before no character that could combine with what precedes it',
  async (t) => {
    for (let point = 0xa0; point <= 0x1ffff; point++) {
      const character = String.fromCodePoint(point)
      const first = String.fromCodePoint(character.normalize('NFKD').codePointAt(0) ?? 0)
      if (!/[\p{M}\u1160-\u11ff]/u.test(first)) continue
      const text = `${'ᄒ하o\u0301'.repeat(10)}${character}${'x'.repeat(2_000)}`
      for (const lead of [215, 216]) {
        const long = `${'y'.repeat(lead)}${text}`
        if (inPieces(long) !== normaliseText(long)) t.fail(`U+${point.toString(16)}`)
      }
    }
  },
)
