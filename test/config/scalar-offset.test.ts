import t from 'tap'
import { isScalar, parseDocument, type Scalar, stringify } from 'yaml'

import { sourceOffset } from '../../src/config/scalar-offset.ts'
import { pick, randomFrom } from '../policy/random.ts'

const STYLES = ['PLAIN', 'QUOTE_DOUBLE', 'QUOTE_SINGLE', 'BLOCK_LITERAL', 'BLOCK_FOLDED'] as const

function scalarIn(file: string): Scalar {
  const node = parseDocument(file).getIn(['a', 'b'], true)
  if (!isScalar(node)) throw new Error(`no scalar in ${file}`)
  return node
}

t.test('sourceOffset() finds every character in every style', async (t) => {
  const random = randomFrom(5)
  const pieces = [
    'request',
    '.',
    'x',
    ' ',
    '  ',
    '\n',
    '\n\n',
    '&&',
    '"',
    "'",
    '\\',
    'é',
    '#',
    ':',
    '\t',
  ]
  for (let i = 0; i < 4_000; i++) {
    const count = 1 + Math.floor(random() * 30)
    const words = Array.from({ length: count }, () => pick(random, pieces)).join('')
    const value = `<${words.replaceAll('x', () => String.fromCodePoint(0x4e00 + Math.floor(random() * 999)))}>`
    const style = pick(random, STYLES)
    const file = stringify(
      { a: { b: value } },
      { defaultStringType: style, lineWidth: pick(random, [0, 20, 40]) },
    )
    const node = scalarIn(file)
    const read = String(node.value)
    for (let at = 0; at < read.length; at++) {
      const wanted = read.charAt(at)
      if (/\s/.test(wanted) || '"\'\\'.includes(wanted)) continue
      const found = file.charAt(sourceOffset(file, node, at))
      if (found !== wanted) t.equal(found, wanted, `${at} of ${JSON.stringify(file)}`)
    }
  }
})

for (const [note, file, offset, want] of [
  ['an escape is one character', 'a: { b: "\\x41\\u0042C" }', 2, 'C" }'],
  ['an escape is where its backslash is', 'a: { b: "\\x41\\u0042C" }', 1, '\\u0042C" }'],
  ['a pair of surrogates is one escape', 'a: { b: "\\U0001F600x" }', 2, 'x" }'],
  ['two quotes are one', "a: { b: 'it''s x' }", 5, "x' }"],
  ['the end of a plain text', 'a: { b: abc }', 3, ' }'],
  ['the end of a quoted text', 'a: { b: "abc" }', 3, '" }'],
  ['the end behind an escape', 'a: { b: "ab\\x41" }', 3, '" }'],
  ['the end behind a quote', "a: { b: 'ab''' }", 3, "' }"],
  ['the end of a block', 'a:\n  b: |\n    abc\n\n', 4, '\n\n'],
  ['white space is what follows it', 'a: { b: "x  y" }', 1, 'y" }'],
  ['an escaped line break is nothing', 'a:\n  b: "x\\\n    y"\n', 1, 'y"\n'],
] as const) {
  t.test(`sourceOffset(): ${note}`, async (t) => {
    t.equal(file.slice(sourceOffset(file, scalarIn(file), offset)), want)
  })
}

t.test('sourceOffset() is the start where the value is not what the file says', async (t) => {
  const node = parseDocument('a: abc').get('a', true)
  if (isScalar(node)) node.value = 'another'
  t.equal(isScalar(node) && sourceOffset('a: abc', node, 2), 3)
})
