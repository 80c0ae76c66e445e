import t from 'tap'

import { readJson } from '../../src/dialect/json.ts'
import { runSteps } from '../../src/dialect/steps.ts'
import { collectTexts } from '../../src/dialect/texts.ts'
import type { Collected } from '../../src/dialect/texts.ts'
import { Random, randomObject, randomString } from './random.ts'
import type { Tree } from './random.ts'

function collect(value: unknown): Collected {
  const doc = runSteps(readJson(Buffer.from(JSON.stringify(value)), 64))
  return runSteps(
    collectTexts(doc, {
      payloads: new Map(),
      prompts: [],
      withKeys: new Set(),
      runs: [],
      jsonDepth: 64,
    }),
  )
}

function listed({ texts }: Collected): string[] {
  return texts.values.map((value, index) => `${texts.pointer(index)} ${value}`)
}

function strings(tree: Tree): string[] {
  if (typeof tree === 'string') return [tree]
  if (Array.isArray(tree)) return tree.flatMap(strings)
  if (typeof tree !== 'object' || tree === null) return []
  return Object.entries(tree).flatMap(([key, value]) => [key, ...strings(value)])
}

t.test('collectTexts() lists keys and values in document order, with pointers', async (t) => {
  t.strictSame(listed(collect({ a: 'x', 'b/c': [1, { d: 'é' }] })), [
    '/a#key a',
    '/a x',
    '/b~1c#key b/c',
    '/b~1c/1/d#key d',
    '/b~1c/1/d é',
  ])
  t.throws(() => collect({}).texts.pointer(0), RangeError)
})

t.test('collectTexts() adds the decoded readings of JSON in a string', async (t) => {
  const { texts } = collect({ arguments: '{"q":"\\u005aEBRA\\n"}' })
  t.strictSame(texts.values, ['arguments', '{"q":"\\u005aEBRA\\n"}', '{"q":"ZEBRA\n"}'])
  t.equal(texts.pointer(2), '/arguments')
})

t.test('collectTexts() adds the parts of an array joined', async (t) => {
  const parts = [
    { type: 'text', text: 'ZEB' },
    { type: 'image_url', image_url: { url: 'u' } },
    { type: 'text', text: 'RA' },
  ]
  const { texts } = collect({ content: parts, stop: ['se', 'cret', 1], one: ['x'] })
  t.strictSame(texts.values.slice(-3), ['ZEBRA', 'ZEB\nRA\n\n', 'secret'])
  t.equal(texts.pointer(texts.values.length - 2), '/content')
  t.equal(texts.pointer(texts.values.length - 1), '/stop')
})

t.test('collectTexts() puts a line end between parts, with the words around it', async (t) => {
  const parts = ['old ', 'x', 'yes'.repeat(100), `one ${'word '.repeat(100)}two`, 'z']
  const { texts } = collect({ content: parts.map((text) => ({ text })) })
  const [first, second, third, ...others] = (texts.values.at(-1) ?? '').split('\n\n')
  t.equal(first, `x\n${'yes'.repeat(100).slice(0, 256)}`, 'a space is apart already')
  t.match(second, /^(?:yes|es|s).*yes\none (?:word )+word$/)
  t.match(third, /^ (?:word )+two\nz$/)
  t.strictSame(others, [''])
})

t.test('collectTexts() decodes what only the joined parts spell', async (t) => {
  t.equal(collect({ a: ['\\u00', '5aEBRA'] }).texts.values.at(-1), 'ZEBRA')
})

t.test('collectTexts() joins arrays of any size', async (t) => {
  const pieces = Array.from({ length: 40_000 }, (_, at) => String(at % 10))
  t.equal(collect({ a: pieces }).texts.values.at(-1), pieces.join(''))
  t.equal(collect({ a: Array(40_000).fill(1) }).texts.values.length, 1)
})

t.test('collectTexts() finds every string of random trees', async (t) => {
  for (let seed = 0; seed < 300; seed++) {
    const tree = randomObject(new Random(seed), 5, 4)
    const expected = strings(tree)
    const { values } = collect(tree).texts
    if (JSON.stringify(values.slice(0, expected.length)) !== JSON.stringify(expected)) {
      t.fail(`seed ${seed}`)
    }
  }
  t.pass('300 trees')
})

t.test('a planted word is found at any place, nesting and spelling', async (t) => {
  const random = new Random(42)
  for (let round = 0; round < 500; round++) {
    const escaped = Array.from('ZEBRA', (letter) =>
      random.below(2) === 0 ? letter : `\\u00${letter.charCodeAt(0).toString(16)}`,
    ).join('')
    let value = `{"q":"${JSON.stringify(randomString(random)).slice(1, -1)}${escaped}"}`
    for (let level = random.below(3); level > 0; level--) {
      value = JSON.stringify({ inner: value })
    }
    const tree = { a: randomObject(random, 2, 3), call: { arguments: value }, b: 1 }
    const found = collect(tree).texts.values.some((text) => text.includes('ZEBRA'))
    if (!found) t.fail(`round ${round}: ${value}`)
  }
  t.pass('500 plants')
})
