import t from 'tap'

import { substitute } from '../../src/config/substitute.ts'

const ENV = { A: 'one', EMPTY: '', NESTED: '${A}', DOLLARS: '$& $1 $$' }

for (const [text, value, unset] of [
  ['plain', 'plain', []],
  ['${A}', 'one', []],
  ['x-${A}-${A}', 'x-one-one', []],
  ['${EMPTY}', '', []],
  ['${EMPTY:-two}', 'two', []],
  ['${B:-two}', 'two', []],
  ['${B:-}', '', []],
  ['${B:-http://h:1/-}', 'http://h:1/-', []],
  ['${B}', '${B}', ['B']],
  ['$${A}', '${A}', []],
  ['$A', '$A', []],
  ['${NESTED}', '${A}', []],
  ['${DOLLARS}', '$& $1 $$', []],
] as const) {
  t.test(`substitute() turns ${text} into ${JSON.stringify(value)}`, async (t) => {
    const result = substitute(text, ENV)
    t.strictSame([result.value, result.unset, result.malformed], [value, unset, null])
  })
}

for (const text of ['${', '${}', '${A', '${A-B}', '${1A}', '${A:=b}', '${A:-${B}}', '${A:-{}']) {
  t.test(`substitute() calls ${text} malformed`, async (t) => {
    t.type(substitute(text, ENV).malformed, 'string')
  })
}
