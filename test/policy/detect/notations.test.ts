import t from 'tap'

import { randomFrom } from '../random.ts'
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
