import t from 'tap'

import { runSteps } from '../../src/dialect/steps.ts'
import { unescapedReadings } from '../../src/dialect/unescape.ts'

const readings = (text: string) => runSteps(unescapedReadings(text))

t.test('unescapedReadings() removes one level at a time, at most three', async (t) => {
  t.strictSame(readings('plain'), [])
  t.strictSame(readings('a\\"b\\/\\\\\\b\\f\\n\\r\\t'), ['a"b/\\\b\f\n\r\t'])
  t.strictSame(readings('\\\\u005a'), ['\\u005a', 'Z'])
  t.strictSame(readings('\\\\\\\\\\\\\\\\n').length, 3)
})

t.test('unescapedReadings() leaves alone what JSON does not know', async (t) => {
  t.strictSame(readings('C:\\x \\u12g4 \\'), [])
  t.strictSame(readings('\\x\\n'), ['\\x\n'])
  t.strictSame(readings('\\u00e9\\ud83d\\ude00'), ['é😀'])
})

t.test('unescapedReadings() decodes long texts as short ones', async (t) => {
  for (const shift of [0, 1, 2, 3, 4, 5]) {
    const text = `${'x'.repeat(shift)}${'\\u005a'.repeat(30_000)}`
    t.equal(readings(text)[0], `${'x'.repeat(shift)}${'Z'.repeat(30_000)}`)
  }
})
