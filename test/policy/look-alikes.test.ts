import t from 'tap'

import { LookAlikes } from '../../src/policy/look-alikes.ts'
import { scanTexts } from '../../src/policy/scan.ts'
import { compileTextRules } from '../../src/policy/text-rules.ts'
import { Units } from '../../src/policy/units.ts'
import { runNow } from '../../src/turns.ts'
import { pick, randomFrom } from './random.ts'

const LOOKS = new LookAlikes()
const DETECTORS = ['email', 'api_key', 'password'].map((id) => ({
  id,
  pattern: null,
  confidence: 1,
}))

void t.test('read() gives letters of other scripts as the Latin ones they look like', async (t) => {
  for (const [text, want] of [
    ['zеus', 'zeus'],
    ['РауРаӏ', 'PayPal'],
    ['раураӏ.com', 'paypal.com'],
    ['Αpple ορεn', 'Apple open'],
    ['ΡΑSSWΟRD', 'PASSWORD'],
    ['ѕk-ргoј', 'sk-proj'],
    ['ձевс', 'ձebc'],
    ['\u0451лка \u0457 \u03ac', 'e\u043bka i a'],
    ['\u017a\u00e9\u00fcs \u0111\u00f8\u1e45\u1ee5 \u0390', 'zeus donu i'],
    ['ᏢᎪᎡᏚ ꜱᴇᴄʀᴇᴛ', 'PARS secret'],
    ['中文 plain \u0439', '中文 plain \u0439'],
    ['', ''],
  ] as const) {
    t.equal(LOOKS.read(text, new Units(4)), want, text)
    t.equal(LOOKS.word(text), want, text)
  }
})

void t.test('read() leaves every place where it was, and is done after once', async (t) => {
  const all = Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)).join('')
  const units = new Units(1000)
  const read = LOOKS.read(all, units)
  t.equal(read.length, all.length)
  t.equal(read.slice(0, 0x80), all.slice(0, 0x80), 'ASCII stays')
  t.equal(LOOKS.read(read, units), read)
  const plain = 'nothing here, \u0439, 中文'
  t.equal(LOOKS.read(plain, units), plain)
})

/** The same text with some letters of another script in it. */
function disguised(text: string, random: () => number): string {
  const alike: Record<string, readonly string[]> = {
    a: ['а', 'α', 'ａ', '𝐚'],
    c: ['с', 'ϲ'],
    e: ['е', '𝖾'],
    o: ['о', 'ο', 'օ'],
    p: ['р', 'ρ'],
    s: ['ѕ', '\u200bs'],
    x: ['х', 'χ'],
    y: ['у'],
    i: ['і', 'ı', 'ɪ'],
  }
  return Array.from(text, (letter) => {
    const others = alike[letter]
    return others === undefined || random() < 0.5 ? letter : pick(random, others)
  }).join('')
}

void t.test(
  'words, patterns and detectors find what only looks like it, long or short',
  async (t) => {
    const random = randomFrom(31)
    const rules = compileTextRules(['project[- ]ajax', '^x+$'], [['spy copies'], ['зевс']], {
      detectors: DETECTORS,
      lookAlikes: LOOKS,
    })
    const mail = 'jane.oxley@example.com'
    for (let round = 0; round < 60; round++) {
      const said = [`my spy copies`, `project ajax`, mail].map((each) => disguised(each, random))
      for (const filler of ['', 'и так далее. '.repeat(1 + Math.floor(random() * 900))]) {
        const text = `${filler}${said.join(' ')} ${filler}`
        const matches = runNow(scanTexts(rules, [text]))
        const got = [matches.words(0), matches.pattern(0), matches.detectedAny([0])]
        if (!got.every(Boolean)) t.fail(JSON.stringify([got, text.slice(0, 300)]))
      }
    }
    const plain = compileTextRules(['project[- ]ajax'], [['spy']], { detectors: DETECTORS })
    const kept = runNow(scanTexts(plain, ['ѕру proјect аjах']))
    t.strictSame([kept.words(0), kept.pattern(0)], [false, false], 'not when it was not asked for')
    t.equal(
      runNow(scanTexts(rules, ['о зeвc!'])).words(1),
      true,
      'a Cyrillic word in Latin letters',
    )
  },
)

void t.test('the prefilter never rules out what look-alikes would find', async (t) => {
  const rules = compileTextRules(['zeus\\d'], [['falcon']], { lookAlikes: LOOKS })
  t.equal(rules.prefilter.mayMatch(['о', 'fаlсоn']), true)
  t.equal(rules.prefilter.mayMatch(['zеuѕ1']), true)
  t.equal(rules.prefilter.mayMatch(['ничего']), false)
})

void t.test('a place is that of the letters that were sent', async (t) => {
  const rules = compileTextRules([], [], { detectors: DETECTORS, lookAlikes: LOOKS })
  for (const text of ['é: mail jаnе@ехаmple.соm now', '\u200b\ufdfa jａnе\u00ad@ехаmрle.соm']) {
    const found: string[] = []
    runNow(rules.detectorSet!.find(text, ({ start, end }) => found.push(text.slice(start, end))))
    t.strictSame(found, [text.slice(text.search(/j/), text.search(/m(?: now)?$/) + 1)])
  }
})
