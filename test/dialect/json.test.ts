import t from 'tap'

import { KIND } from '../../src/dialect/json-tape.ts'
import { readJson, readJsonNow } from '../../src/dialect/json.ts'
import type { JsonDocument } from '../../src/dialect/json.ts'
import { runSteps } from '../../src/dialect/steps.ts'
import { GovernorError } from '../../src/errors.ts'
import { inTurns } from '../../src/turns.ts'
import { Random, randomObject } from './random.ts'
import type { Tree } from './random.ts'

function read(text: string | Buffer, depthMax = 64): JsonDocument {
  return runSteps(readJson(Buffer.from(text), depthMax))
}

function refusal(text: string | Buffer, depthMax?: number): GovernorError | null {
  try {
    read(text, depthMax)
    return null
  } catch (error) {
    if (error instanceof GovernorError) return error
    throw error
  }
}

function nested(depth: number): string {
  return `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
}

function members(count: number): string {
  return `{${Array.from({ length: count }, (_, at) => `"${at}":0`).join()}}`
}

/** The value of a node, built the slow way. */
function build(doc: JsonDocument, node = 0): Tree {
  const kind = doc.kind(node)
  if (kind === KIND.OBJECT) {
    const entries = [...doc.children(node)].map((at) => [doc.text(at - 1), build(doc, at)])
    return Object.fromEntries(entries)
  }
  if (kind === KIND.ARRAY) return [...doc.children(node)].map((at) => build(doc, at))
  if (kind === KIND.STRING) return doc.text(node)
  return JSON.parse(doc.bytes.toString('latin1', doc.start(node), doc.end(node))) as Tree
}

/** Follows a JSON pointer the way RFC 6901 §4 says. */
function follow(tree: Tree, pointer: string): Tree {
  let at: Tree = tree
  for (const token of pointer.split('/').slice(1)) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    at = (at as { [key: string]: Tree })[key] ?? null
  }
  return at
}

const REFUSED: readonly (readonly [string, string | Buffer])[] = [
  ['empty body', ''],
  ['only white space', ' \n'],
  ['byte order mark', '\ufeff{}'],
  ['UTF-16 little endian', Buffer.from('{"a":1}', 'utf16le')],
  ['UTF-16 big endian', Buffer.from('{"a":1}', 'utf16le').swap16()],
  ['UTF-16 with a mark', Buffer.from('\ufeff{"a":1}', 'utf16le')],
  ['UTF-32', Buffer.from([0x7b, 0, 0, 0, 0x7d, 0, 0, 0])],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ['overlong UTF-8', Buffer.from([0x7b, 0x22, 0xc0, 0xa2, 0x22, 0x3a, 0x31, 0x7d])],
  ['a surrogate in UTF-8', Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])],
  ['vertical tab', '\u000b{}'],
  ['form feed', '{\u000c}'],
  ['no-break space', '{\u00a0}'],
  ['U+FEFF inside', '{"a":\ufeff1}'],
  ['line separator', '{}\u2028'],
  ['anti-hijack prefix', ")]}'\n{}"],
  ['a second value', '{}{}'],
  ['trailing bytes', '{} x'],
  ['a trailing NUL', '{}\u0000'],
  ['null', 'null'],
  ['a string', '"x"'],
  ['a number', '123'],
  ['an array', '[{"model":"m"}]'],
  ['NaN', '{"a":NaN}'],
  ['Infinity', '{"a":Infinity}'],
  ['minus Infinity', '{"a":-Infinity}'],
  ['block comment', '{/**/"a":1}'],
  ['line comment', '{"a":1}//x'],
  ['hash comment', '{"a":1,#x\n"b":2}'],
  ['trailing comma in an object', '{"a":1,}'],
  ['trailing comma in an array', '{"a":[1,]}'],
  ['leading comma', '{,"a":1}'],
  ['two commas', '{"a":[1,,2]}'],
  ['missing comma', '{"a":1 "b":2}'],
  ['missing colon', '{"a" 1}'],
  ['missing value', '{"a":}'],
  ['key without quotes', '{a:1}'],
  ['single quotes', "{'a':1}"],
  ['wrong bracket', '{"a":[1}'],
  ['unclosed object', '{"a":1'],
  ['unclosed string', '{"a":"x'],
  ['unclosed escape', '{"a":"\\'],
  ['unclosed unicode escape', '{"a":"\\u12'],
  ['leading zero', '{"a":01}'],
  ['minus and leading zero', '{"a":-01}'],
  ['plus sign', '{"a":+1}'],
  ['no digit after the dot', '{"a":1.}'],
  ['no digit before the dot', '{"a":.5}'],
  ['no exponent', '{"a":1e}'],
  ['hexadecimal', '{"a":0x10}'],
  ['a number of 300 digits', `{"a":${'1'.repeat(300)}}`],
  ['half a literal', '{"a":tru}'],
  ['literal in capitals', '{"a":True}'],
  ['a longer literal', '{"a":nullx}'],
  ['newline in a string', '{"a":"x\ny"}'],
  ['tab in a string', '{"a":"\t"}'],
  ['NUL in a string', '{"a":"\u0000"}'],
  ['unknown escape', '{"a":"\\x41"}'],
  ['escape without four digits', '{"a":"\\u12g4"}'],
  ['high surrogate alone', '{"a":"ZEBRA\\ud800-SECRET"}'],
  ['low surrogate alone', '{"a":"\\udc00"}'],
  ['two high surrogates', '{"a":"\\ud800\\ud800"}'],
  ['high surrogate before a letter', '{"a":"\\ud83dx"}'],
  ['surrogate alone in a key', '{"\\ud800":1}'],
  ['duplicate key', '{"model":"a","model":"b"}'],
  ['duplicate by escape', '{"model":"a","m\\u006fdel":"b"}'],
  ['duplicate by case', '{"model":"a","MODEL":"b"}'],
  ['duplicate by long s', '{"messages":[],"meſſages":[]}'],
  ['duplicate by Kelvin sign', '{"key":1,"\\u212aey":1}'],
  ['duplicate inside', '{"a":[{"b":{"c":1,"d":2,"C":3}}]}'],
  ['duplicate empty key', '{"":1,"":2}'],
  ['a key of 1025 characters', `{"${'k'.repeat(1025)}":1}`],
  ['a key of 1025 escapes', `{"${'\\u006b'.repeat(1025)}":1}`],
  ['a key of 1025 wide characters', `{"${'漢'.repeat(1025)}":1}`],
]

t.test('readJson() refuses what parsers do not read alike', async (t) => {
  for (const [title, text] of REFUSED) t.equal(refusal(text)?.code, 'BODY_INVALID', title)
})

t.test('readJson() says where and what to do', async (t) => {
  const cases = [
    ['{"a":01}', 'a number with a leading zero at byte 5'],
    ['{"a":1,}', 'a key in double quotes is missing at byte 7. JSON has no trailing commas.'],
    ['{"a":1} {}', 'bytes after the JSON object at byte 8. Send exactly one object.'],
    ['{"a":1,"A":2}', 'a key that repeats another of its object, "A", at byte 7'],
    ['\ufeff{}', 'a byte order mark. Send UTF-8 without a byte order mark.'],
  ] as const
  for (const [text, detail] of cases) {
    t.equal(refusal(text)?.message, `The request body is not accepted: ${detail}`)
  }
})

t.test('readJson() accepts RFC 8259', async (t) => {
  const texts = [
    '{}',
    ' \t\r\n{ "a" : [ ] } \n',
    '{"a":[0,-0,1.5,-1e5,1E+5,2e-7,9007199254740993,1e400]}',
    '{"":1,"a":{"":2}}',
    '{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00😀\u007f"}',
    '{"a":true,"b":false,"c":null}',
    '{"__proto__":{"x":1},"constructor":{"prototype":{"isAdmin":true}}}',
    `{"${'k'.repeat(1024)}":1}`,
    `{"${'漢'.repeat(1024)}":1}`,
    `{"${'\\u006b'.repeat(1024)}":1}`,
    '{"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":1}]}',
  ]
  for (const text of texts) {
    t.equal(JSON.stringify(build(read(text))), JSON.stringify(JSON.parse(text)), text.slice(0, 60))
  }
  t.equal(Reflect.get({}, 'isAdmin'), undefined)
})

t.test('readJson() counts depth with the body as 1', async (t) => {
  t.equal(refusal(nested(64)), null)
  t.match(refusal(nested(65))?.message, /nested deeper than 64 at byte/)
  t.match(refusal(nested(100_000))?.message, /nested deeper than 64/)
})

t.test('readJson() refuses too many members and too many values', async (t) => {
  t.equal(refusal(members(100_000)), null)
  t.match(refusal(members(100_001))?.message, /more than 100000 object members/)
  t.match(refusal(members(1_000_000))?.message, /more than 100000 object members/)
  t.equal(refusal(`{"a":[0${',0'.repeat(499_997)}]}`), null)
  t.match(refusal(`{"a":[0${',0'.repeat(499_998)}]}`)?.message, /more than 500000 values/)
})

t.test('textInSteps() decodes as text() does, wherever it is cut', async (t) => {
  for (const unit of ['a\n', '😀\t', 'é"', '\\u0041']) {
    for (let lead = 0; lead < 14; lead++) {
      const text = 'x'.repeat(lead) + unit.repeat(50_000)
      const json = JSON.stringify({ a: text }).replaceAll('😀', '\\ud83d\\ude00')
      const doc = runSteps(readJson(Buffer.from(json), 64))
      const steps = doc.textInSteps(2)
      let turns = 0
      let step = steps.next()
      for (; step.done !== true; step = steps.next()) turns++
      if (step.value !== text || turns === 0) t.fail(`${unit} after ${lead}, ${turns} turns`)
    }
  }
})

t.test('readJsonNow() reads one text after the other', async (t) => {
  const first = readJsonNow(Buffer.from('{"a":["x"]}'), 64)
  t.equal(first.text(3), 'x')
  const large = readJsonNow(Buffer.from(`{"b":[0${',0'.repeat(20_000)}]}`), 64)
  t.equal(large.count, 20_004)
  t.equal(readJsonNow(Buffer.from('{"c":"y"}'), 64).text(2), 'y')
})

t.test('readJson() finds a duplicate at any place of a large object', async (t) => {
  for (const at of [0, 7, 8, 9, 500]) {
    const keys = Array.from({ length: 501 }, (_, index) => `key${index}`)
    const text = `{${[...keys, `KEY${at}`].map((key) => `"${key}":{"x":1}`).join()}}`
    t.match(refusal(text)?.message, /repeats another/, `key${at}`)
  }
})

t.test('readJson() agrees with JSON.parse on random trees', async (t) => {
  for (let seed = 0; seed < 400; seed++) {
    const random = new Random(seed)
    const tree = randomObject(random, 5, 4)
    const text = JSON.stringify(tree, null, random.pick([undefined, 1, '\t']))
    const doc = read(text)
    if (JSON.stringify(build(doc)) !== JSON.stringify(JSON.parse(text))) t.fail(`seed ${seed}`)
    for (let node = 0; node < doc.count; node++) {
      if (doc.kind(node) !== KIND.STRING) continue
      if (follow(tree, doc.pointer(node)) !== doc.text(node)) t.fail(`pointer, seed ${seed}`)
    }
  }
  t.pass('400 trees')
})

t.test(
  'readJson() throws only GovernorError on mutated bytes, and never accepts less',
  async (t) => {
    const random = new Random(7)
    let accepted = 0
    for (let round = 0; round < 4000; round++) {
      const bytes = Buffer.from(JSON.stringify(randomObject(random, 3, 3)))
      for (let edit = 0; edit <= random.below(3); edit++) {
        bytes[random.below(bytes.length)] = random.pick([
          ...Buffer.from('{}[]",:\\u0e-tn\u0001'),
          255,
        ])
      }
      if (refusal(bytes) !== null) continue
      accepted++
      t.strictSame(build(read(bytes)), JSON.parse(bytes.toString('utf8')))
    }
    t.ok(accepted > 0)
  },
)

t.test('readJson() reads the same in stretches as at once', async (t) => {
  const unit = { s: 'x\\"é😀'.repeat(37), n: [1, null, true, { deep: ['y'] }] }
  for (const shift of [0, 1, 2, 3, 5, 7, 11]) {
    const text = JSON.stringify({
      pad: 'p'.repeat(shift),
      units: Array.from({ length: 800 }, () => unit),
    })
    const doc = await inTurns(readJson(Buffer.from(text), 64))
    t.equal(JSON.stringify(build(doc)), text)
  }
})

t.test('a document is asked by member, type and place', async (t) => {
  const doc = read('{"a/b":[1,{"~":"é"}],"m\\u006fdel":"x","n":7,"z":null,"big":9007199254740993}')
  t.equal(doc.text(doc.member(0, 'model')), 'x')
  t.equal(doc.copy(doc.member(0, 'model')), 'x')
  t.equal(doc.member(0, 'missing'), -1)
  t.equal(doc.member(doc.member(0, 'n'), 'x'), -1)
  t.equal(doc.given(0, 'z'), -1)
  t.equal(doc.integer(doc.member(0, 'n')), 7)
  t.equal(doc.integer(doc.member(0, 'big')), null)
  t.equal(doc.integer(doc.member(0, 'z')), null)
  t.equal(doc.isString(doc.member(0, 'model'), 'x'), true)
  const inner = [...doc.children(doc.member(0, 'a/b'))][1] ?? -1
  t.equal(doc.pointer(doc.member(inner, '~')), '/a~1b/1/~0')
  t.equal(doc.pointer(0), '')
})
