import t from 'tap'

import { pick, randomFrom } from '../random.ts'
import { findIn, setOf } from './find.ts'
import { make } from './generate.ts'

/** How people, programs and evaders write a value down. */
const NOTATIONS: Readonly<Record<string, (value: string) => string>> = {
  'as it is': (value) => value,
  'in full width': (value) =>
    value.replace(/[!-~]/g, (character) =>
      String.fromCodePoint((character.codePointAt(0) ?? 0) + 0xfee0),
    ),
  'in Arabic-Indic digits': (value) =>
    value.replace(/\d/g, (digit) => String.fromCodePoint(0x660 + Number(digit))),
  'in Devanagari digits': (value) =>
    value.replace(/\d/g, (digit) => String.fromCodePoint(0x966 + Number(digit))),
  'with soft hyphens inside': (value) => value.replace(/(.{3})(?=.)/gs, '$1\u00ad'),
  'with zero-width spaces inside': (value) => value.replace(/(.{4})(?=.)/gs, '$1\u200b'),
  'in tag characters': (value) =>
    value.replace(/[ -~]/g, (character) =>
      String.fromCodePoint((character.codePointAt(0) ?? 0) + 0xe0000),
    ),
  'with no-break spaces and hyphens': (value) =>
    value.replaceAll(' ', '\u00a0').replaceAll('-', '\u2011'),
  'in JSON in a string': (value) =>
    JSON.stringify({ arguments: JSON.stringify({ q: `see:\n${value}\n` }) }),
}
const CHECKED = ['email', 'phone', 'us_ssn', 'credit_card', 'iban', 'ip_address', 'jwt', 'api_key']
const EACH = 100

for (const id of CHECKED) {
  void t.test(`${id} is found however it is written down`, async (t) => {
    const set = setOf([id])
    for (const [name, write] of Object.entries(NOTATIONS)) {
      const random = randomFrom(8)
      let found = 0
      for (let i = 0; i < EACH; i++) {
        const value = write(make[id]?.(random) ?? '')
        if (findIn(set, `please see ${value} and answer`).length > 0) found++
        else if (found > i - 4) t.comment(`missed ${JSON.stringify(value.slice(0, 120))}`)
      }
      t.ok(found >= EACH * 0.95, `${name}: ${found} of ${EACH}`)
    }
  })
}

/** What stands directly beside a value: no space, another script, a picture, a mark of Markdown or HTML. */
const BESIDE: Readonly<Record<string, readonly [string, string]>> = {
  'in Chinese': ['请联系', '谢谢'],
  'before a Chinese full stop': ['是', '。好'],
  'in Japanese': ['番号は', 'です'],
  'in Thai': ['ติดต่อ', 'ครับ'],
  'before a Korean particle': ['', '으로'],
  'between pictures': ['hi 👉', '👍 ok'],
  'in typographic quotes': ['“', '”'],
  'between arrows': ['→', '→'],
  'with a typographic apostrophe': ['', '’s'],
  'in italics': ['_', '_'],
  'in bold': ['__', '__'],
  'in HTML': ['<b>', '</b>'],
  'behind a number sign': ['#', ''],
}

for (const id of CHECKED) {
  void t.test(`${id} is found whatever stands beside it`, async (t) => {
    const set = setOf([id])
    for (const [name, [before, after]] of Object.entries(BESIDE)) {
      const random = randomFrom(8)
      let found = 0
      for (let i = 0; i < EACH; i++) {
        if (findIn(set, `${before}${make[id]?.(random) ?? ''}${after}`).length > 0) found++
      }
      t.ok(found >= EACH * 0.95, `${name}: ${found} of ${EACH}`)
    }
  })
}

void t.test('email takes the address and leaves what stands beside it', async (t) => {
  const set = setOf(['email'])
  for (const [text, ...addresses] of [
    ['请联系jane@example.com谢谢', 'jane@example.com'],
    ['メールはjane@example.co.jpです。', 'jane@example.co.jp'],
    ['จดหมายjane@example.comครับ', 'jane@example.com'],
    ['👩‍💻jane@example.com👩‍💻', 'jane@example.com'],
    ['发给jane@example.com。谢谢', 'jane@example.com'],
    ['jane@example。com', 'jane@example。com'],
    ['jane@example.com...thanks', 'jane@example.com'],
    ['jane@example.com-thanks', 'jane@example.com'],
    ['“jané@exämple.com”→пётр@пример.рф', 'jané@exämple.com', 'пётр@пример.рф'],
    ['用户@例え.テスト', '用户@例え.テスト'],
    ['icon@2x.png好 pkg@next.js-x'],
  ] as const) {
    const found = findIn(set, text).map(({ start, end }) => text.slice(start, end))
    t.strictSame(found, addresses, text)
  }
})

void t.test('iban is found in every grouping, and words are none', async (t) => {
  const set = setOf(['iban'])
  for (const value of [
    'DE89 3704 0044\n0532 0130 00',
    'DE89  3704  0044  0532  0130  00',
    'DE89 3704-0044 0532.0130 00',
    'DE89/3704/0044/0532/0130/00',
    'GB29 NWBK 6016\r\n1331 9268 19',
    'FR14 2004 1010 0505\n0001 3M02 606',
  ]) {
    const text = `to ${value} now`
    const found = findIn(set, text).map(({ start, end }) => text.slice(start, end))
    t.strictSame(found, [value])
  }
  const random = randomFrom(11)
  const words = () =>
    Array.from({ length: 8 }, () => pick(random, ['the', 'quick', 'fox', 'ran', 'by']))
  for (let i = 0; i < 2000; i++) {
    const text = `see DE${10 + (i % 90)} ${words().join(' ')}`
    t.strictSame(findIn(set, text), [], text)
  }
})

void t.test('credit_card is found in every grouping', async (t) => {
  const set = setOf(['credit_card'])
  const random = randomFrom(9)
  for (const mark of [' ', '-', '.', '  ', ' - ', '/', '\u2013', '\u202f']) {
    let found = 0
    for (let i = 0; i < EACH; i++) {
      const digits = make['credit_card']?.(random) ?? ''
      const parts =
        digits.length === 16 ? digits.match(/.{4}/g) : /^(.{4})(.{6})(.*)$/.exec(digits)?.slice(1)
      if (findIn(set, `card ${(parts ?? []).join(mark)}, thanks`).length > 0) found++
    }
    t.ok(found >= EACH * 0.95, `${JSON.stringify(mark)}: ${found}`)
  }
})
