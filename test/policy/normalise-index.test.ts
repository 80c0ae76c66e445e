import t from 'tap'

import { normaliseWithIndex } from '../../src/policy/normalise-index.ts'
import { normaliseText } from '../../src/policy/normalise.ts'
import { cpuMs } from './detect/find.ts'
import { pick, randomFrom } from './random.ts'

const LETTERS = [
  'a',
  ' ',
  '1',
  '-',
  'é',
  'e\u0301',
  '\u0301',
  '\u0327',
  '\u200b',
  '\u00ad',
  '\u200d',
  'ﬁ',
  '②',
  'Ｚ',
  '１',
  '٣',
  '३',
  'ﷺ',
  '中',
  'カ',
  '\u3099',
  'ｶ',
  'ﾞ',
  '한',
  'ᄒ',
  'ᅡ',
  'ᆫ',
  'ㅏ',
  '😀',
  '\u{e0061}',
  '\u{e0031}',
  '\u2011',
  '’',
  '\ud800',
  '\u{1d7d9}',
  '\ufe0f',
  'Å',
  'ß',
  'б',
  '\u0336',
  '\u0941',
  'क',
  '\u20e3',
]

/** The same folds, written down by hand. */
function folded(text: string): string {
  return text
    .replace(/[\u0660-\u0669]/g, (digit) => String(digit.charCodeAt(0) - 0x660))
    .replace(/[\u0966-\u096f]/g, (digit) => String(digit.charCodeAt(0) - 0x966))
    .replaceAll('\u2010', '-')
    .replaceAll('’', "'")
}

void t.test(
  'normaliseWithIndex() reads as normaliseText() does, with ASCII digits and marks',
  async (t) => {
    const random = randomFrom(11)
    for (let i = 0; i < 5_000; i++) {
      const text = Array.from({ length: 12 }, () => pick(random, LETTERS)).join('')
      const { text: normal } = normaliseWithIndex(text)
      if (normal !== folded(normaliseText(text))) t.fail(JSON.stringify([text, normal]))
    }
    t.pass()
  },
)

function isInPair(text: string, at: number): boolean {
  return at > 0 && (text.codePointAt(at - 1) ?? 0) > 0xffff
}

void t.test('original() gives a range that reads as the part that was asked for', async (t) => {
  const random = randomFrom(12)
  for (let i = 0; i < 5_000; i++) {
    const text = Array.from({ length: 12 }, () => pick(random, LETTERS)).join('')
    const { text: normal, original } = normaliseWithIndex(text)
    const start = Math.floor(random() * normal.length)
    const end = start + Math.floor(random() * (normal.length - start + 1))
    if (isInPair(normal, start) || isInPair(normal, end)) continue
    // Half a letter reads otherwise than in its place.
    if (/^\p{M}/u.test(normal.slice(start))) continue
    const range = original(start, end)
    const reads = normaliseWithIndex(text.slice(range.start, range.end)).text
    if (range.end < range.start || !reads.includes(normal.slice(start, end))) {
      t.fail(JSON.stringify([text, start, end, range, reads]))
    }
  }
  t.pass()
})

void t.test('original() is exact where one character reads as one', async (t) => {
  const { text, original } = normaliseWithIndex('x１２３y\u{e0041}z')
  t.equal(text, 'x123yAz')
  t.strictSame(original(1, 4), { start: 1, end: 4 })
  t.strictSame(original(2, 3), { start: 2, end: 3 })
  t.strictSame(original(5, 6), { start: 5, end: 7 })
  t.strictSame(original(0, 7), { start: 0, end: 8 })
})

void t.test('original() takes along the marks that hide a word', async (t) => {
  for (const marks of ['\u0336', '\u0336\u200b\u0301', '\u0941'.repeat(100)]) {
    const word = Array.from('zeus', (letter) => letter + marks).join('')
    const { text, original } = normaliseWithIndex(`a é ${word} b`)
    t.equal(text, 'a é zeus b')
    t.strictSame(original(4, 8), { start: 4, end: 4 + word.length })
  }
})

void t.test('normaliseWithIndex() hands ASCII and composed text back as it is', async (t) => {
  for (const text of ['', 'plain', 'Grüße, 中文', 'Привет']) {
    const normal = normaliseWithIndex(text)
    t.equal(normal.text, text)
    t.strictSame(normal.original(0, text.length), { start: 0, end: text.length })
  }
})

void t.test('normaliseWithIndex() is linear, also in marks and ligatures', async (t) => {
  for (const piece of ['１', 'e\u0301', 'a\u200b', '\u0301', '\u0316\u0301', 'ﷺ', '\u{e0041}']) {
    const text = piece.repeat(Math.ceil(65_536 / piece.length))
    const ms = Math.min(...[1, 2, 3].map(() => cpuMs(() => void normaliseWithIndex(text))))
    t.ok(ms < 100, `${JSON.stringify(piece)} ${ms} ms`)
  }
})
