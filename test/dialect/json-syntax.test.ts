import t from 'tap'

import { isJson } from '../../src/dialect/json-syntax.ts'
import { Random } from './random.ts'

/** Long enough for the reader in steps. */
const BLANKS = ' '.repeat(66_000)

function reads(text: string): boolean {
  const steps = isJson(text)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

void t.test('isJson() of a long text says what JSON.parse() says', async (t) => {
  for (const text of [
    '',
    '1',
    '-',
    '-0',
    '01',
    '1.',
    '.5',
    '1e5',
    '1e',
    '1E+07',
    'true',
    'truex',
    'nul',
    '"a"',
    '"a',
    '"\\u00e9"',
    '"\\u00g9"',
    '"\\x"',
    '"\\"',
    '"a\nb"',
    '"a\u007fb"',
    '"\ud800"',
    '[]',
    '[',
    ']',
    '[1]',
    '[1,]',
    '[,1]',
    '[1 2]',
    '[[],[]]',
    '{}',
    '{"a":1}',
    '{"a":1,}',
    '{"a" 1}',
    '{a:1}',
    '{"a":1,"a":2}',
    '{"a":[{"b":null}]}',
    '{]',
    '[}',
    '1 2',
    '[] []',
    '\u00a01',
    '\ufeff1',
    '[NaN]',
    '["a"\t,\r\n"b"]',
  ]) {
    for (const long of [BLANKS + text, text + BLANKS]) {
      t.equal(reads(long), parses(long), JSON.stringify(text))
    }
  }
})

void t.test('isJson() agrees with JSON.parse() on what was JSON before a slip', async (t) => {
  const random = new Random(5)
  const marks = ['"', '\\', ',', ':', '{', '}', '[', ']', '0', 'e', '.', ' ', '\n', '\u0001', 'é']
  for (let round = 0; round < 3_000; round++) {
    const source = JSON.stringify({
      [`k${random.below(9)}`]: [random.below(1000) / 8, 'a\\"\n', null, { t: true }, -1e21, []],
    })
    const at = random.below(source.length)
    const mark = marks[random.below(marks.length)] ?? ''
    const text = source.slice(0, at) + mark + source.slice(at + random.below(2))
    if (reads(text + BLANKS) !== parses(text)) t.fail(text)
  }
  t.pass()
})

void t.test('isJson() gives way, and takes any depth and any length', async (t) => {
  for (const text of [
    `[${'1,'.repeat(200_000)}1]`,
    '['.repeat(200_000) + ']'.repeat(200_000),
    `"${'\\n'.repeat(400_000)}"`,
    '1'.repeat(400_000),
  ]) {
    t.equal(reads(text), true)
  }
  let turns = 0
  for (const steps = isJson(`[${'1,'.repeat(200_000)}1]`); steps.next().done !== true;) turns++
  t.equal(turns, 6)
})
