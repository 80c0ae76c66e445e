import t from 'tap'

import { normaliseWithIndex } from '../../src/policy/normalise-index.ts'
import { Normaliser, normaliseText, READS } from '../../src/policy/normalise.ts'
import { SimpleUnits } from '../../src/policy/simple-units.ts'
import { Units } from '../../src/policy/units.ts'
import { pick, randomFrom, type Random } from './random.ts'

void t.test(
  'a simple unit reads as its table says and never merges with what precedes it',
  async (t) => {
    // One of every kind of character that something can merge with.
    const bases = [
      'a',
      'o',
      'カ',
      'ᄒ',
      '하',
      '한',
      'ـ',
      'ا',
      'क',
      'は',
      '\u1b05',
      '\u0b47',
      '1',
      '≺',
    ]
    const units = new Units(2)
    for (let unit = 0x80; unit < 0x10000; unit++) {
      if (!READS.isSimple(unit)) continue
      const character = String.fromCharCode(unit)
      const count = units.fill(character, 0, 1)
      READS.read(units.values, 0, count)
      const reads = normaliseText(character)
      if (units.text(0, 1) !== reads) t.fail(`U+${unit.toString(16)}`)
      for (const base of bases) {
        if (normaliseText(base + character) !== normaliseText(base) + reads) {
          t.fail(`${base} U+${unit.toString(16)}`)
        }
      }
    }
    t.pass()
  },
)

void t.test(
  'read() stops one before what is not simple, and stay() tells a text that stays',
  async (t) => {
    const units = new Units(16)
    for (const [text, stop, stays] of [
      ['plain', 5, true],
      ['中文，', 3, false],
      ['中文。', 3, true],
      ['cafe\u0301s', 3, false],
      ['\u0301a', 0, false],
      ['a😀b', 0, false],
      ['', 0, true],
    ] as const) {
      const count = units.fill(text, 0, text.length)
      t.equal(READS.stay(units.values, count), stays, text)
      t.equal(READS.read(units.values, 0, count), stop, text)
    }
  },
)

void t.test(
  'a page that stays is told by one call, and every other one unit by unit',
  async (t) => {
    const asked: string[] = []
    const table = new SimpleUnits((text) => {
      asked.push(text)
      return normaliseText(text)
    })
    t.ok(table.isSimple(0x4e01))
    t.ok(table.isSimple(0x4e02))
    t.equal(asked.length, 1)
    t.notOk(table.isSimple(0xd800))
    t.notOk(table.isSimple(0x200b))
    t.notOk(table.isSimple(0xfdfa))
  },
)

/** Runs of one script after the other, of any length, with what splits them strewn in. */
const SCRIPTS: readonly (readonly [number, number])[] = [
  [0x20, 0x7e],
  [0xa0, 0x24f],
  [0x300, 0x36f],
  [0x370, 0x3ff],
  [0x400, 0x52f],
  [0x590, 0x5ff],
  [0x600, 0x6ff],
  [0x900, 0x97f],
  [0xe00, 0xe7f],
  [0x1100, 0x11ff],
  [0x1e00, 0x1fff],
  [0x2000, 0x206f],
  [0x2460, 0x24ff],
  [0x3040, 0x30ff],
  [0x3130, 0x318f],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7ff],
  [0xd800, 0xdfff],
  [0xfb00, 0xfdff],
  [0xfe70, 0xffff],
  [0x1d15e, 0x1d1ff],
  [0x1d400, 0x1d7ff],
  [0x1f600, 0x1f64f],
  [0xe0020, 0xe007f],
]

function anyText(random: Random, units: number): string {
  let text = ''
  while (text.length < units) {
    const [first, last] = pick(random, SCRIPTS)
    const run = 1 + Math.floor(random() ** 4 * 60)
    for (let i = 0; i < run; i++) {
      text += String.fromCodePoint(first + Math.floor(random() * (last - first + 1)))
    }
  }
  return text
}

void t.test('Normaliser reads text in all scripts as normaliseText() does', async (t) => {
  const random = randomFrom(21)
  for (let round = 0; round < 300; round++) {
    const text = anyText(random, 50 + Math.floor(random() * 3_000))
    const normaliser = new Normaliser(text)
    let read = ''
    for (let piece = normaliser.next(); piece !== null; piece = normaliser.next()) read += piece
    if (read !== normaliseText(text)) t.fail(JSON.stringify(text).slice(0, 400))
  }
  t.pass()
})

void t.test(
  'normaliseWithIndex() leads back to where a text came from, in all scripts',
  async (t) => {
    const random = randomFrom(22)
    for (let round = 0; round < 300; round++) {
      const text = anyText(random, 200)
      const { text: normal, original } = normaliseWithIndex(text)
      const whole = original(0, normal.length)
      const left = text.slice(0, whole.start) + text.slice(whole.end)
      // Only what nobody sees stands outside.
      if (normaliseText(left) !== '') t.fail(JSON.stringify([text, whole]))
    }
    t.pass()
  },
)
